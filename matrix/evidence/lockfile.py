"""A lock as a file: what its lines pin, how it differs from what was judged, and writing it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from matrix.errors import ConfigurationError
from matrix.model import Model
from matrix.wholefile import special

_PINNED: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(.*)$")


class Lock(Model, frozen=True, kw_only=True):
    """A resolved tree in the form of requirements.txt. `glibc`: the oldest that its wheels run on."""

    text: str
    glibc: str

    @property
    def versions(self) -> dict[str, str]:
        """Package → version of every line."""
        return {name: version for name, version, _ in _entries(self.text)}

    @property
    def unhashed(self) -> tuple[str, ...]:
        """Packages without a hash, which pip would refuse."""
        return tuple(name for name, _, hashes in _entries(self.text) if not hashes)


def differences(locked: Mapping[str, str], pins: Mapping[str, str]) -> Iterator[str]:
    """Tell where a lock is not what the matrix judged: "torch 2.13.0+cpu, judged with 2.13.0"."""
    for package, version in pins.items():
        got = locked.get(package, "")
        if version and got != version:
            yield f"{package} {got or 'absent'}, judged with {version}"


def check_place(path: Path) -> None:
    """Raise ConfigurationError where `path` cannot be written: better before the resolving than after."""
    folder = path.absolute().parent
    try:
        if path.is_dir():
            raise ConfigurationError(f"{path}: is a folder; name a file")
        if not folder.is_dir():
            raise ConfigurationError(f"{path}: no folder to write that file into")
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    if not os.access(path if special(path) else folder, os.W_OK):
        raise ConfigurationError(f"{path}: it, or its folder, cannot be written to")


def _entries(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield (package, version, number of hashes) of every requirement in a lock."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if pinned := _PINNED.match(line):
            yield pinned[1].lower(), pinned[2], pinned[3].count("--hash=")
        elif line and line[0] not in " #":
            yield line.split()[0], "", 0  # of an unknown form, so nothing that pip should be given
