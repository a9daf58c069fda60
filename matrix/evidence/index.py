"""The package index: which wheels a package has, in either of its two forms (PEP 691, PEP 503)."""

from __future__ import annotations

import difflib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus

import requests
from packaging.tags import Tag
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version
from pypi_simple import (
    ACCEPT_ANY,
    PYPI_SIMPLE_ENDPOINT,
    DistributionPackage,
    ProjectPage,
    UnsupportedContentTypeError,
)

from matrix.errors import IndexAnswerError, NotFoundError
from matrix.evidence.transport import Connection, Session, explain, redact, split_login
from matrix.vocabulary import MACHINES


@dataclass(frozen=True, kw_only=True)
class WheelFile:
    """A published wheel as the index lists it; `machine` is "any" for one that suits every machine."""

    package: str
    version: str
    build: tuple[int, str] | None
    tags: frozenset[Tag]
    machine: str
    filename: str
    url: str
    sha256: str
    yanked: bool

    @property
    def rank(self) -> tuple[Version, tuple[int, str]]:
        """Order by which pip prefers one of two wheels of the same tags."""
        return Version(self.version), self.build or (-1, "")


@cache
def pip_settings() -> Mapping[str, str]:
    """Read the user's pip configuration, environment and files together, as pip itself reads it."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    told = subprocess.run(  # noqa: S603 - this interpreter's pip
        command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    found: dict[str, str] = {}
    for scope in ("global.", "install.", "download.", ":env:."):  # later ones win
        for line in told.stdout.splitlines():
            key, separator, value = line.partition("=")
            if separator and key.startswith(scope):
                found[key.removeprefix(scope)] = value.strip("'\"")
    return found


def index_urls() -> tuple[str, ...]:
    """Addresses of the indexes that pip would ask, in its order."""
    settings = pip_settings()
    first = settings.get("index-url", PYPI_SIMPLE_ENDPOINT)
    extra = settings.get("extra-index-url", "").replace("\\n", " ").split()
    return (first, *(url for url in extra if url.startswith(("http://", "https://"))))


def connection() -> Connection:
    """Give pip's proxy, certificates and time limit (seconds)."""
    settings = pip_settings()
    return Connection(
        timeout=float(settings.get("timeout", "15")),
        proxy=settings.get("proxy", ""),
        ca_bundle=settings.get("cert") or os.environ.get("SSL_CERT_FILE", ""),
        client_certificate=settings.get("client-cert", ""),
        trusted_hosts=tuple(settings.get("trusted-host", "").replace("\\n", " ").split()),
        logins=tuple(login for url in index_urls() if (login := split_login(url)[1])),
    )


class Index:
    """The indexes that pip would use, asked through one session."""

    def __init__(self, session: Session, urls: Sequence[str]) -> None:
        self.session = session
        self._urls = [split_login(url)[0] for url in urls]

    @classmethod
    def from_environment(cls) -> Index:
        """Take indexes, proxy and certificates from the user's pip configuration."""
        return cls(Session(connection()), index_urls())

    def files(self, package: str) -> list[WheelFile]:
        """List every wheel for Linux, oldest release first.

        Raises NotFoundError when no index knows the package, IndexAnswerError when one does not answer.
        """
        known = False
        files: dict[str, WheelFile] = {}
        for url in self._urls:
            listed = self._page(url, package)
            known = known or listed is not None
            for entry in listed or ():
                if (wheel := _wheel(entry)) is not None:
                    files.setdefault(wheel.filename, wheel)
        if not known:
            raise NotFoundError(f"{package}: no such package in {redact(self._urls[0])}")
        return sorted(files.values(), key=lambda wheel: wheel.rank)

    def find(
        self, package: str, version: str, machine: str, pythons: Sequence[str] = ("cp312",)
    ) -> WheelFile:
        """Choose the wheel that pip would: the highest build tag, of the first Python tag that is there.

        Raises NotFoundError naming what there is instead.
        """
        wheels = self.files(package)
        wanted = Version(version)
        of_version = [wheel for wheel in wheels if Version(wheel.version) == wanted]
        if not of_version:
            versions = list(dict.fromkeys(wheel.version for wheel in wheels))
            near = difflib.get_close_matches(version, versions, n=3, cutoff=0.5) or versions[-3:]
            raise NotFoundError(f"{package} {version} is not in the index; near: {', '.join(near)}")
        fitting = [wheel for wheel in of_version if wheel.machine in (machine, "any")]
        if not fitting:
            others = ", ".join(sorted({wheel.machine for wheel in of_version}))
            raise NotFoundError(f"{package} {version} has no {machine} wheel; it has: {others}")
        return max(fitting, key=lambda wheel: (_preference(wheel, pythons), wheel.rank))

    def _page(self, url: str, package: str) -> Sequence[DistributionPackage] | None:
        address = f"{url.rstrip('/')}/{canonicalize_name(package)}/"
        shown = redact(address)
        try:
            with self.session.get(address, Accept=ACCEPT_ANY) as answer:
                if answer.status_code == HTTPStatus.NOT_FOUND:
                    return None
                answer.raise_for_status()
                page = ProjectPage.from_response(answer, package)
        except UnsupportedContentTypeError as error:
            raise IndexAnswerError(f"{shown}: answers in no form of an index") from error
        except requests.HTTPError as error:
            code = error.response.status_code
            raise IndexAnswerError(f"{shown}: answered {code}") from error
        except requests.RequestException as error:
            raise IndexAnswerError(f"{shown}: {explain(error)}") from error
        except ValueError as error:
            raise IndexAnswerError(f"{shown}: its page cannot be read") from error
        return page.packages


def _wheel(entry: DistributionPackage) -> WheelFile | None:
    """Read a listed file; None for an sdist and for other systems than Linux."""
    try:
        name, version, build, tags = parse_wheel_filename(entry.filename)
    except InvalidWheelFilename:
        return None
    platforms = {tag.platform for tag in tags}
    machine = "any" if platforms == {"any"} else ""
    for candidate in MACHINES:
        if any("linux" in platform and platform.endswith(candidate) for platform in platforms):
            machine = candidate
    if not machine:
        return None
    return WheelFile(
        package=canonicalize_name(name),
        version=str(version),
        build=build or None,
        tags=tags,
        machine=machine,
        filename=entry.filename,
        url=entry.url,
        sha256=entry.digests.get("sha256", ""),
        yanked=entry.is_yanked,
    )


def _preference(wheel: WheelFile, pythons: Sequence[str]) -> int:
    """Rank by Python tag: the wanted interpreters in their order, then abi3, then any Python 3."""
    interpreters = {tag.interpreter for tag in wheel.tags}
    for place, python in enumerate(pythons):
        if python in interpreters:
            return len(pythons) - place + 2
    if any(tag.abi == "abi3" for tag in wheel.tags):
        return 2
    return 1 if "py3" in interpreters else 0
