"""Kept selections: what releases said when they were asked, one JSON a release and CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from matrix import ledger
from matrix.errors import ConfigurationError
from matrix.selection import Selection

FOLDER: Final = ledger.FOLDER / "selected"

_DECODER = msgspec.json.Decoder(Selection)


class Selections:
    """One folder of selections: `<package>/<version>-<machine>.json`.

    The folder is listed once, and a file is read when its release is asked for: no other costs anything.
    """

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._names = frozenset(f"{p.parent.name}/{p.name}" for p in folder.glob("*/*.json"))
        self._read: dict[str, Selection] = {}

    def find(self, package: str, version: str, machine: str) -> Selection | None:
        """Return what a release said on a CPU, or None where it was not asked there.

        Raises ConfigurationError naming a file that cannot be read, or is about another release.
        """
        name = f"{package}/{version}-{machine}.json"
        if name not in self._names:
            return None
        if name not in self._read:
            self._read[name] = self._load(name, package, version, machine)
        return self._read[name]

    def _load(self, name: str, package: str, version: str, machine: str) -> Selection:
        path = self.folder / name
        try:
            found = _DECODER.decode(path.read_bytes())
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise ConfigurationError(f"{path}: {error}; delete it and ask again") from error
        if (found.packages.get(package), found.machine) != (version, machine):
            raise ConfigurationError(f"{path}: is about another release; delete it and ask again")
        return found
