"""Selections that are kept: what a release said when it was asked, one file a release and machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from matrix import ledger
from matrix.errors import ConfigurationError, OutsideError
from matrix.selection import Selection
from matrix.wholefile import write

PACKAGES: Final = ("vllm", "torch", "flashinfer-python", "flashinfer-cubin", "flashinfer-jit-cache")
"""The packages that decide a choice: a stack with another of them is another stack."""


def place(version: str, machine: str, folder: Path | None = None) -> Path:
    """Return where the selection of a vLLM release on a machine is kept, in the ledger's folder."""
    return (folder or ledger.FOLDER) / "selected" / "vllm" / f"{version}-{machine}.json"


def compared(made: Selection, pins: Mapping[str, str]) -> Selection:
    """Return `made` with what differs from `pins`, which its release brings; none where that is unknown."""
    if not pins:
        return made
    found = {**made.installed, **made.packages}
    names = [*pins, *(package for package in PACKAGES if package in found and package not in pins)]
    differs = {
        name: pins.get(name, "") for name in names if found.get(name, "") != pins.get(name, "")
    }
    return msgspec.structs.replace(made, differs=differs)


def keep(made: Selection, pins: Mapping[str, str], folder: Path | None = None) -> Path:
    """Write a selection to its file, whole or not at all, and return where.

    Raises ConfigurationError, and writes nothing, where it is of no release that the ledger has, where
    what decides a choice is not what `pins`, the release's, say, or where nothing was answered;
    OutsideError where the disk refuses.
    """
    version = made.packages["vllm"]
    if not pins:
        raise ConfigurationError(
            f"not kept: vLLM {version} for {made.machine} is no release that the ledger has"
        )
    for package in PACKAGES:
        there = made.packages.get(package, "")
        if package in made.differs:
            raise ConfigurationError(
                f"not kept: {package} there is {there or 'not installed'}, "
                f"and vLLM {version} brings {made.differs[package] or 'none'}"
            )
    if not made.seconds:
        raise ConfigurationError(f"not kept: how vLLM {version} is asked is not known")
    path = place(version, made.machine, folder)
    text = msgspec.json.format(msgspec.json.encode(made), indent=1)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    write(path, text + b"\n")
    return path
