"""Wheels that no index listed: behind a URL, on disk, or installed in an environment."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from packaging.utils import canonicalize_name

from matrix.errors import ConfigurationError, NotFoundError
from matrix.evidence.transport import printable, redact
from matrix.evidence.wheel import Wheel
from matrix.evidence.wheelfile import WheelFile, parse_wheel

_ASKED: Final = (
    "import sysconfig as s; print(s.get_path('platlib'), s.get_path('purelib'), sep='\\n')"
)
_PATIENCE: Final = 30.0
_SHA256: Final = re.compile(r"^[0-9a-f]{64}$")


def from_url(url: str) -> WheelFile:
    """Read what a wheel's URL says; its SHA-256 where the fragment states it, as pip writes it.

    Raises ConfigurationError for a URL that names no wheel for GNU/Linux.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigurationError("the URL cannot be read: see to its host") from error
    if parts.scheme not in ("http", "https", "file"):
        raise ConfigurationError(f"{redact(url)}: is no http, https or file URL")
    stated = parse_qs(parts.fragment).get("sha256", [""])[0].lower()
    return _named(
        PurePosixPath(unquote(parts.path)).name,
        url,
        shown=redact(url),
        sha256=stated if _SHA256.match(stated) else "",
    )


def from_path(path: Path) -> WheelFile:
    """Read what a local wheel's name says. Raises ConfigurationError for what is no wheel's name."""
    return _named(path.name, path.absolute().as_uri(), shown=str(path), sha256="")


def _named(filename: str, url: str, *, shown: str, sha256: str) -> WheelFile:
    file = parse_wheel(filename, url, sha256=sha256)
    if file is None:
        raise ConfigurationError(
            f"{printable(shown)}: {printable(filename) or 'nothing'} is no name of a wheel for GNU/Linux "
            "(such as vllm-0.33.0-cp38-abi3-manylinux_2_31_x86_64.whl)"
        )
    return file


def site_packages(place: Path, distribution: str) -> Path:
    """Find the folder in which `distribution` is installed.

    `place` is a Python interpreter, which is asked, an environment's folder, or the folder itself.
    Raises ConfigurationError for anything else and NotFoundError where it is not installed.
    """
    folders = list(_folders(place))
    if not folders:
        raise ConfigurationError(f"{place}: is no Python, no environment and no site-packages")
    wanted = canonicalize_name(distribution)
    for folder in folders:
        for entry in folder.glob("*.dist-info"):
            if canonicalize_name(entry.name.partition("-")[0]) == wanted:
                return folder
    raise NotFoundError(f"{distribution} is not installed in {', '.join(map(str, folders))}")


def _folders(place: Path) -> Iterator[Path]:
    if place.is_dir():
        if any(place.glob("*.dist-info")):
            yield place
        yield from sorted(place.glob("lib*/python3*/*-packages"))
    elif place.is_file():
        yield from dict.fromkeys(filter(Path.is_dir, _asked(place)))
    else:
        raise ConfigurationError(f"{place}: no such file or folder")


def _asked(python: Path) -> list[Path]:
    """Ask an interpreter where its packages are: conda, Debian and venv each have their own way."""
    try:
        told = subprocess.run(  # noqa: S603 - the interpreter that the user named
            # Not resolved: a virtual environment's interpreter is a link to another one's.
            [str(python.absolute()), "-I", "-c", _ASKED],
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigurationError(f"{python}: cannot be run as a Python interpreter") from error
    return [Path(line) for line in told.stdout.splitlines()]


def installed(wheel: Wheel, folder: Path) -> WheelFile:
    """Say of which wheel an installed distribution was, by its METADATA and WHEEL. Its hash is gone.

    Raises ConfigurationError for one of another system.
    """
    metadata = wheel.metadata()
    name, version = metadata.get("Name", ""), metadata.get("Version", "")
    stated = Parser().parsestr(wheel.read(f"{wheel.dist_info}/WHEEL").decode("utf-8", "replace"))
    build = stated.get("Build", "")
    stem = f"{canonicalize_name(name).replace('-', '_')}-{version}" + (f"-{build}" if build else "")
    tags = stated.get_all("Tag", [])
    file = next((f for tag in tags if (f := parse_wheel(f"{stem}-{tag}.whl", ""))), None)
    if file is None:
        raise ConfigurationError(f"{folder / wheel.dist_info}: is of no wheel for GNU/Linux")
    return file
