"""Stacks as released: which versions a leading wheel brings on one machine, by its own METADATA. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from matrix.evidence.record import WheelEvidence
from matrix.published import Published
from matrix.stack import Pin, Stack

PYTHON: Final = "3.12"
"""Python of a stack as released; every leading wheel is abi3 and admits it."""

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_ROUNDS: Final = 8


def environment(machine: str, extra: str = "") -> dict[str, str]:
    """Return the marker variables (PEP 508) of a Linux machine with the Python of the stacks."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{PYTHON}.0",
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{PYTHON}.0",
        "python_version": PYTHON,
        "sys_platform": "linux",
        "extra": extra,
    }


@lru_cache(maxsize=65536)
def _parsed(text: str) -> Requirement | None:
    try:
        return Requirement(text)
    except InvalidRequirement:
        return None


@lru_cache(maxsize=65536)
def _applies(text: str, machine: str, extras: tuple[str, ...]) -> bool:
    requirement = _parsed(text)
    if requirement is None:
        return False
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate(environment(machine, extra)) for extra in ("", *extras)
    )


def requirements(
    texts: Sequence[str], machine: str, extras: Collection[str], packages: Collection[str]
) -> Iterator[tuple[str, Requirement]]:
    """Yield (normalised name, requirement) of those in `packages` that apply on `machine` with `extras`.

    `texts` are Requires-Dist lines; one that cannot be read is passed over.
    """
    for text in texts:
        name = _NAME.match(text)
        if name is None or canonicalize_name(name[0]) not in packages:
            continue  # most lines are of no concern here, and parsing all of them is slow
        if _applies(text, machine, tuple(sorted(extras))) and (requirement := _parsed(text)):
            yield canonicalize_name(requirement.name), requirement


def adds(record: WheelEvidence, extra: str, packages: Collection[str]) -> bool:
    """Say whether an extra of a wheel brings a package of concern that the wheel alone does not."""
    if extra not in record.extras:
        return False
    plain, more = (
        {
            (name, str(requirement.specifier), *sorted(requirement.extras))
            for name, requirement in requirements(record.requires, record.machine, extras, packages)
        }
        for extras in ((), (extra,))
    )
    return more != plain


def derive(
    name: str,
    pins: Mapping[str, str],
    machine: str,
    published: Published,
    packages: Collection[str],
    *,
    extras: Sequence[str] = (),
    note: str = "",
) -> Stack:
    """Resolve a stack on one machine: `pins` (the first leads) and what they require among `packages`.

    A requirement with `==` is that version; a range is the newest release that all requirements admit, as
    pip would choose today. A package that nothing requires is absent. One that is required and has no
    release for the machine is a pin without version that says why. What stands in `pins` is not
    overruled by any requirement.
    """
    chosen: dict[str, str] = dict(pins)
    why: dict[str, str] = {}
    lead = next(iter(pins))
    for _ in range(_ROUNDS):
        wanted: dict[str, SpecifierSet] = {}
        asked: dict[str, set[str]] = {lead: set(extras)}
        queue = list(pins)
        done: set[str] = set()
        while queue:
            package = queue.pop(0)
            if package in done:
                continue
            done.add(package)
            record = published.record(package, chosen.get(package, ""), machine)
            if record is None:
                continue
            needed = requirements(record.requires, machine, asked.get(package, ()), packages)
            for required, requirement in needed:
                wanted[required] = wanted.get(required, SpecifierSet()) & requirement.specifier
                asked.setdefault(required, set()).update(requirement.extras)
                queue.append(required)
        fresh = {
            package: _version(package, specifiers, machine, published)
            for package, specifiers in wanted.items()
            if package not in pins
        }
        why = {
            package: f"no wheel for {machine} satisfies {wanted[package]}"
            for package, version in fresh.items()
            if not version
        }
        resolved = {**pins, **fresh}
        if resolved == chosen:
            break
        chosen = resolved
    listed = [
        Pin(package=package, version=version, why=why.get(package, ""))
        for package, version in chosen.items()
    ]
    return Stack(name=name, machine=machine, pins=tuple(listed), note=note)


def _version(package: str, wanted: SpecifierSet, machine: str, published: Published) -> str:
    exact = [
        published.spelled(package, s.version)
        for s in wanted
        if s.operator in ("==", "===") and "*" not in s.version
    ]
    if exact and (
        published.has_wheel(package, exact[0], machine) is not False
        or published.source_only(package, exact[0])
    ):
        # A version that was never listed is still what the wheel asks for; pip builds a source release.
        return exact[0] if wanted.contains(exact[0], prereleases=True) else ""
    return published.newest(package, wanted, machine) or ""
