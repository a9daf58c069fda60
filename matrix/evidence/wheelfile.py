"""A published file, known by its name alone, and which of several pip would take."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from matrix.errors import ConfigurationError, NotFoundError
from matrix.model import Model
from matrix.vocabulary import MACHINES

_NAME: Final = re.compile(r"[A-Za-z0-9_.!+-]{1,250}\.whl")
"""What the binary distribution format leaves for a file name, and a folder or a terminal can take."""

_NEWEST_GLIBC: Final = 50
"""2.NN: which glibc the user's machine has is not known here, so every manylinux wheel is taken as
installable and the newest is preferred, as pip does on a machine that can run all of them."""

_OLD_MANYLINUX: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}  # PEP 600

_NEIGHBOURS: Final = 3
"""Versions named on either side of one that does not exist."""


class WheelFile(Model, frozen=True, kw_only=True):
    """A wheel as an index lists it.

    `build` is the build tag ("1"; "" without). `machine` is "x86_64", "aarch64", or "any" for one that
    is the same everywhere. `url` holds no credentials (the session has them). `sha256` is "" and
    `size` (bytes) None where the index does not say.
    """

    package: str
    version: str
    build: str = ""
    tags: frozenset[Tag]
    machine: str
    filename: str
    url: str
    sha256: str = ""
    size: int | None = None
    requires_python: str = ""
    yanked: bool = False

    @property
    def python(self) -> str:
        """The Python tag as it stands in the file's name ("cp38", "py2.py3")."""
        return self.filename.removesuffix(".whl").split("-")[-3]

    @property
    def abi(self) -> str:
        """The ABI tag as it stands in the file's name ("abi3", "none")."""
        return self.filename.removesuffix(".whl").split("-")[-2]

    @property
    def platforms(self) -> tuple[str, ...]:
        """The platform tags, in the order of the file's name."""
        return tuple(self.filename.removesuffix(".whl").split("-")[-1].split("."))


class SdistFile(Model, frozen=True, kw_only=True):
    """A source distribution as an index lists it."""

    package: str
    version: str
    filename: str
    url: str
    sha256: str = ""
    size: int | None = None
    yanked: bool = False


def parse_wheel(
    filename: str,
    url: str,
    *,
    sha256: str = "",
    size: int | None = None,
    requires_python: str = "",
    yanked: bool = False,
) -> WheelFile | None:
    """Read a wheel's file name; None for what is no wheel, or one for another system than GNU/Linux.

    Nor is one whose name no build makes: with a path, a control character, a space, a bar.
    """
    if not _NAME.fullmatch(filename):
        return None
    try:
        name, version, build, tags = parse_wheel_filename(filename)
    except (InvalidWheelFilename, InvalidVersion):
        return None
    machine = _machine({tag.platform for tag in tags})
    if not machine:
        return None
    return WheelFile(
        package=canonicalize_name(name),
        version=str(version),
        build="".join(str(part) for part in build),
        tags=tags,
        machine=machine,
        filename=filename,
        url=url,
        sha256=sha256,
        size=size,
        requires_python=requires_python,
        yanked=yanked,
    )


def parse_sdist(
    filename: str, url: str, *, sha256: str = "", size: int | None = None, yanked: bool = False
) -> SdistFile | None:
    """Read an sdist's file name; None for what is none."""
    try:
        name, version = parse_sdist_filename(filename)
    except (InvalidSdistFilename, InvalidVersion):
        return None
    return SdistFile(
        package=canonicalize_name(name),
        version=str(version),
        filename=filename,
        url=url,
        sha256=sha256,
        size=size,
        yanked=yanked,
    )


def in_folder(folder: Path) -> list[WheelFile]:
    """List the wheels that lie in a folder. Raises ConfigurationError where it cannot be read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise ConfigurationError(f"{folder}: {error.strerror}") from error
    return [
        wheel
        for path in paths
        if (
            wheel := parse_wheel(
                path.name,
                path.absolute().as_uri(),
                size=path.stat().st_size if path.is_file() else 0,
            )
        )
    ]


def choose(
    files: Iterable[WheelFile],
    package: str,
    version: str,
    machine: str,
    python_tags: Sequence[str] = ("cp312",),
) -> WheelFile:
    """Return the wheel that pip would take for `package==version` on `machine`.

    pip's order: not yanked, version (a local one such as +cu130 above none), the best supported tag,
    the highest build tag. `python_tags` ("cp312") are tried in their order. Raises NotFoundError,
    naming what there is instead.
    """
    named = canonicalize_name(package)
    files = [file for file in files if file.package == named]
    try:
        wanted = Specifier(f"=={version}", prereleases=True)
    except InvalidSpecifier as error:
        raise ConfigurationError(f"{version!r} is no version (write for example 0.12.0)") from error
    released = [file for file in files if wanted.contains(file.version)]
    if not released:
        raise NotFoundError(_no_version(package, version, machine, files))
    fitting = [file for file in released if file.machine in (machine, "any")]
    if not fitting:
        there = ", ".join(sorted({file.machine for file in released}))
        raise NotFoundError(f"{package} {version} has no {machine} wheel; it has {there}")
    for python in python_tags:
        order = _supported(python, machine)
        ranked = [
            (not file.yanked, Version(file.version), -place, _build_key(file.build), file.filename)
            for file in fitting
            if _admits(file.requires_python, python)
            and (place := min(order.get(tag, len(order)) for tag in file.tags)) < len(order)
        ]
        if ranked:
            best = max(ranked)[-1]
            return next(file for file in fitting if file.filename == best)
    there = ", ".join(sorted({f"{file.python}-{file.abi}" for file in fitting}))
    raise NotFoundError(
        f"{package} {version} has no {machine} wheel for {', '.join(python_tags)}; it has {there}"
    )


def _machine(platforms: set[str]) -> str:
    if "any" in platforms:
        return "any"
    for machine in MACHINES:
        # musllinux is left out: no GPU stack of NVIDIA's runs on musl.
        if any(
            each.startswith(("manylinux", "linux_")) and each.endswith(f"_{machine}")
            for each in platforms
        ):
            return machine
    return ""


def _supported(python: str, machine: str) -> dict[Tag, int]:
    """Return the tags that pip accepts on GNU/Linux, each with its place: 0 is the best."""
    digits = python.removeprefix("cp")
    if not (python.startswith("cp") and digits.isdigit() and len(digits) > 1):
        raise ConfigurationError(f"{python!r} is no Python tag (write for example cp312)")
    version = (int(digits[0]), int(digits[1:]))
    platforms: list[str] = []
    for minor in range(_NEWEST_GLIBC, 4, -1):
        platforms.append(f"manylinux_2_{minor}_{machine}")
        if minor in _OLD_MANYLINUX:
            platforms.append(f"{_OLD_MANYLINUX[minor]}_{machine}")
    platforms.append(f"linux_{machine}")
    tags = [
        *cpython_tags(version, [python], platforms),
        *compatible_tags(version, python, platforms),
    ]
    return {tag: place for place, tag in reversed(list(enumerate(tags)))}


def _admits(requires_python: str, python: str) -> bool:
    """Tell whether Requires-Python admits a Python; one that cannot be read admits all, as in pip."""
    try:
        # The micro release is not known: a bound such as >=3.12.3 is met by the newest.
        newest = f"{python.removeprefix('cp')[0]}.{python.removeprefix('cp')[1:]}.99"
        return SpecifierSet(requires_python).contains(newest, prereleases=True)
    except InvalidSpecifier:
        return True


def _build_key(build: str) -> tuple[int, str]:
    digits = build[: len(build) - len(build.lstrip("0123456789"))]
    return (int(digits), build[len(digits) :]) if digits else (-1, "")


def _no_version(package: str, version: str, machine: str, files: Sequence[WheelFile]) -> str:
    """Name the releases next to one that does not exist, those with a wheel for the machine."""
    usable = [
        file for file in files if file.machine in (machine, "any") and not file.yanked
    ] or files
    known = sorted({Version(file.version) for file in usable})
    if not known:
        return f"{package} has no wheel for Linux"
    try:
        place = sum(each < Version(version) for each in known)
    except InvalidVersion:  # "0.12.*": a specifier, and no version
        place = len(known)
    near = known[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS]
    return f"{package} {version} is not there; the nearest: {', '.join(map(str, near))}"
