"""News: releases that upstream has published and that stacks are made of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Protocol

from packaging.requirements import Requirement
from packaging.version import Version

from matrix.stack import StacksFile


class _Wheel(Protocol):
    @property
    def package(self) -> str: ...
    @property
    def version(self) -> str: ...


def news(
    wheels: Iterable[_Wheel], stacks: StacksFile, *, probed: Collection[str] = ()
) -> tuple[str, ...]:
    """Name the stacks that wheels nobody has read yet make, as released; the newest first.

    `probed`: those that have results already. The ledger may lack a release for days, and it is news once.
    """
    ranges = [Requirement(entry.range) for entry in stacks.as_released]
    found = {
        (wheel.package, Version(wheel.version))
        for wheel in wheels
        for wanted in ranges
        if wheel.package == wanted.name
        and wanted.specifier.contains(wheel.version, prereleases=False)
    }
    newest = sorted(found, key=lambda each: (each[0], each[1]), reverse=True)
    names = (f"{package}=={version}" for package, version in newest)
    return tuple(name for name in names if name not in probed)
