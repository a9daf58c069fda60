"""A distribution that is installed in an image, read as if it were the wheel: only the files that somebody asks for."""

from __future__ import annotations

import csv
import io
import tarfile
from collections.abc import Generator, Iterable, Iterator
from typing import IO, Any, Final, Protocol

from matrix.errors import BrokenWheelError, MatrixError
from matrix.evidence.archive import Member, objection

_STEP: Final = 1024 * 1024


class _Archives(Protocol):
    """What it is read from: a file by its path, as a tar."""

    def archive(self, path: str) -> Generator[bytes]: ...


class Contained:
    """The files below `site_packages` that RECORD names, as `matrix.evidence.installed.Installed` has them.

    Sizes are RECORD's. Raises BrokenWheelError for a RECORD that cannot be read, or a file that is no file,
    NotFoundError for one that is gone.
    """

    failure: type[MatrixError] = BrokenWheelError
    bytes_fetched = 0

    def __init__(self, source: _Archives, site_packages: str, dist_info: str) -> None:
        self._source = source
        self._root = site_packages
        self.filename = f"{site_packages}/{dist_info}"
        record = f"{dist_info}/RECORD"
        text = b"".join(self.chunks(record))
        self._members = {record: Member(name=record, size=len(text), compressed=len(text))}
        try:
            for row in csv.reader(text.decode("utf-8", "replace").splitlines()):
                name, size = (row[0], row[2]) if len(row) > 2 else ("", "")  # noqa: PLR2004 - RECORD's columns
                if objection(name) or name.endswith(".pyc") or not size.isdecimal():
                    continue
                self._members[name] = Member(name=name, size=int(size), compressed=int(size))
        except csv.Error as error:
            raise BrokenWheelError(f"{self.filename}: RECORD cannot be read ({error})") from error

    @property
    def bytes_total(self) -> int:
        """Bytes of all its files."""
        return sum(member.size for member in self._members.values())

    def members(self) -> dict[str, Member]:
        """Return its files by name, RECORD first."""
        return self._members

    def chunks(self, name: str) -> Generator[bytes]:
        """Yield a file's bytes as they are in the image."""
        return file_in(self._source.archive(f"{self._root}/{name}"), f"{self._root}/{name}")

    def close(self) -> None:
        """Do nothing: nothing stays open."""


def file_in(archive: Iterable[bytes], path: str) -> Generator[bytes]:
    """Yield the bytes of the one file in a tar that comes in chunks. Raises BrokenWheelError for anything else."""
    try:
        with opened_tar(archive) as opened:
            entry = opened.next()
            held = opened.extractfile(entry) if entry is not None and entry.isreg() else None
            if held is None:
                raise BrokenWheelError(f"{path}: is no file in the image")
            yield from _pieces(held)
    except tarfile.TarError as error:
        raise BrokenWheelError(f"{path}: came damaged out of the image ({error})") from error


def opened_tar(archive: Iterable[bytes]) -> tarfile.TarFile:
    """Open a tar that comes in chunks, to be read from front to back."""
    return tarfile.open(fileobj=io.BufferedReader(_Stream(archive), _STEP), mode="r|")


def _pieces(held: IO[bytes]) -> Iterator[bytes]:
    while piece := held.read(_STEP):
        yield piece


class _Stream(io.RawIOBase):
    """Chunks as the file that `tarfile` reads from front to back."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def readable(self) -> bool:
        """Say so."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what comes next, as far as one chunk goes; 0 at the end."""
        while not self._held:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._held = chunk
        count = min(len(buffer), len(self._held))
        buffer[:count], self._held = self._held[:count], self._held[count:]
        return count
