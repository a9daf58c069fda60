"""A distribution that pip installed, read through its RECORD as if it were the wheel."""

from __future__ import annotations

import csv
from collections.abc import Generator
from pathlib import Path

from packaging.utils import canonicalize_name

from matrix.errors import BrokenWheelError, MatrixError, NotFoundError
from matrix.evidence.archive import Member, objection
from matrix.evidence.reader import FileReader


class Installed:
    """The files below `site_packages` that belong to one distribution.

    Scripts and data, which pip puts outside `site_packages`, are left out, and so is what Python
    compiled since. Raises NotFoundError for what is not installed, BrokenWheelError for no RECORD.
    """

    failure: type[MatrixError] = BrokenWheelError
    bytes_fetched = 0

    def __init__(self, site_packages: Path, distribution: str) -> None:
        wanted = canonicalize_name(distribution)
        folders = [
            folder
            for folder in sorted(site_packages.glob("*.dist-info"))
            if canonicalize_name(folder.name.split("-", 1)[0]) == wanted
        ]
        if not folders:
            raise NotFoundError(f"{distribution} is not installed in {site_packages}")
        self._root = site_packages
        self.filename = str(folders[0])
        record = folders[0] / "RECORD"
        try:
            text = record.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise BrokenWheelError(f"{record}: {error.strerror}") from error
        self._members: dict[str, Member] = {}
        try:
            for row in csv.reader(text.splitlines()):
                name = row[0] if row else ""
                if objection(name) or name.endswith(".pyc"):
                    continue
                path = site_packages / name
                if path.is_file():  # a file that is gone is gone for whoever imports it, too
                    size = path.stat().st_size
                    self._members[name] = Member(name=name, size=size, compressed=size)
        except csv.Error as error:
            raise BrokenWheelError(f"{record}: cannot be read ({error})") from error
        except OSError as error:
            raise BrokenWheelError(f"{error.filename}: {error.strerror}") from error

    @property
    def bytes_total(self) -> int:
        """Bytes of all its files on disk."""
        return sum(member.size for member in self._members.values())

    def members(self) -> dict[str, Member]:
        """Return its files by name, in RECORD's order."""
        return self._members

    def chunks(self, name: str) -> Generator[bytes]:
        """Yield a file's bytes as they are on disk."""
        reader = FileReader(self._root / name)
        yield from reader.stream(0, reader.size)

    def close(self) -> None:
        """Do nothing: nothing stays open."""
