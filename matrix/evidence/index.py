"""The package index: which files a package has, in either of its forms (PEP 691, PEP 503, folders)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from packaging.utils import canonicalize_name
from pypi_simple import (
    ACCEPT_ANY,
    PYPI_SIMPLE_ENDPOINT,
    DistributionPackage,
    ProjectPage,
    UnsupportedContentTypeError,
    UnsupportedRepoVersionError,
)

from matrix.errors import ConfigurationError, IndexAnswerError, NotFoundError
from matrix.evidence.pipconfig import PipConfig, read_pip_config
from matrix.evidence.transport import TROUBLE, Session, explain, redact, split_login
from matrix.evidence.wheelfile import (
    SdistFile,
    WheelFile,
    choose,
    parse_sdist,
    parse_wheel,
)

__all__ = ("Index", "SdistFile", "WheelFile")

_LARGEST_PAGE: Final = 64 * 1024 * 1024
"""Bytes of an index page. The longest of those read here is torch's, under 2 MB."""

_KNOWN: Final = (
    "flashinfer-cubin",
    "flashinfer-jit-cache",
    "flashinfer-python",
    "nvidia-cudnn-cu13",
    "nvidia-cutlass-dsl",
    "torch",
    "vllm",
)
"""Packages that the matrix speaks of: an index cannot be asked for names like one."""


class Index:
    """The indexes and folders that pip would use, asked through one session.

    Raises IndexAnswerError where one is unreachable or answers no index page, NotFoundError where
    none has the package.
    """

    def __init__(
        self, session: Session, urls: Sequence[str], find_links: Sequence[str] = ()
    ) -> None:
        self.session = session
        self._urls = tuple(self._without_login(url or PYPI_SIMPLE_ENDPOINT) for url in urls)
        self._find_links = tuple(self._without_login(place) for place in find_links)
        self._pages: dict[str, tuple[DistributionPackage, ...]] = {}

    @classmethod
    def from_environment(cls, config: PipConfig | None = None) -> Index:
        """Use what the user told pip. Raises ConfigurationError where that cannot be read."""
        config = config or read_pip_config()
        return cls(Session(config.connection), config.indexes, config.find_links)

    def _without_login(self, url: str) -> str:
        """Hand the credentials in a URL to the session: the files' URLs go into reports."""
        url, login = split_login(url)
        if login:
            self.session.login(*login)
        return url

    def files(self, package: str) -> list[WheelFile]:
        """List the wheels of a package for GNU/Linux, in the order of the indexes."""
        found: dict[str, WheelFile] = {}
        for listed in self._listed(package):
            wheel = parse_wheel(
                listed.filename,
                split_login(listed.url)[0],
                sha256=listed.digests.get("sha256", ""),
                size=listed.size,
                requires_python=listed.requires_python or "",
                yanked=listed.is_yanked,
            )
            if wheel and wheel.package == canonicalize_name(package):
                found.setdefault(wheel.filename, wheel)
        return list(found.values())

    def sdists(self, package: str) -> list[SdistFile]:
        """List the source distributions of a package, in the order of the indexes."""
        found: dict[str, SdistFile] = {}
        for listed in self._listed(package):
            sdist = parse_sdist(
                listed.filename,
                split_login(listed.url)[0],
                sha256=listed.digests.get("sha256", ""),
                size=listed.size,
                yanked=listed.is_yanked,
            )
            if sdist and sdist.package == canonicalize_name(package):
                found.setdefault(sdist.filename, sdist)
        return list(found.values())

    def find(
        self, package: str, version: str, machine: str, python_tags: Sequence[str] = ("cp312",)
    ) -> WheelFile:
        """Return the wheel that pip would take. Raises NotFoundError naming what there is instead."""
        return choose(self.files(package), package, version, machine, python_tags)

    def _listed(self, package: str) -> tuple[DistributionPackage, ...]:
        """Return all files of a package; each index is asked once in this object's life."""
        name = canonicalize_name(package)
        if name not in self._pages:
            pages = [page for url in self._urls if (page := self._project(url, name)) is not None]
            linked = [
                file
                for place in self._find_links
                for file in self._linked(place, name)
                if _is_of(file.filename, name)
            ]
            if not pages and not linked:
                raise NotFoundError(self._unknown(package, name))
            self._pages[name] = (*(file for page in pages for file in page), *linked)
        return self._pages[name]

    def _unknown(self, package: str, name: str) -> str:
        asked = ", ".join(redact(url) for url in self._urls) or "the folders of find-links"
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{package} is not in {asked}{hint}"

    def _project(self, url: str, name: str) -> Iterable[DistributionPackage] | None:
        """Return what one index lists of a project; None where it does not have it."""
        url = f"{url.rstrip('/')}/{name}/"
        if _scheme(url) == "file":
            page = Path(url2pathname(urlsplit(url).path), "index.html")
            return self._html_file(page, name) if page.is_file() else None
        answer = self._answer(url)
        return None if answer is None else _parse(answer, name).packages

    def _linked(self, place: str, name: str) -> Iterator[DistributionPackage]:
        """Yield the files behind one entry of find-links (folder, HTML file or page), of any project."""
        if _scheme(place) in ("http", "https"):
            answer = self._answer(place)
            if answer is not None:
                yield from _parse(answer, name).packages
            return
        file_url = _scheme(place) == "file"
        path = Path(url2pathname(urlsplit(place).path) if file_url else place).expanduser()
        if path.is_file():
            yield from self._html_file(path, name)
            return
        try:
            entries = sorted(path.iterdir()) if path.exists() else []  # pip passes over it as well
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        for entry in entries:
            yield DistributionPackage(
                filename=entry.name,
                url=entry.absolute().as_uri(),
                project=name,
                version=None,
                package_type=None,
                digests={},
                requires_python=None,
                has_sig=None,
                size=entry.stat().st_size,
            )

    def _html_file(self, path: Path, name: str) -> Iterable[DistributionPackage]:
        try:
            text = path.read_bytes()
            return ProjectPage.from_html(name, text, path.absolute().as_uri()).packages
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error
        except (ValueError, UnsupportedRepoVersionError) as error:
            raise IndexAnswerError(f"{path}: is no index page") from error

    def _answer(self, url: str) -> requests.Response | None:
        """Return the page at `url`, read; None where there is none."""
        shown = redact(url)
        try:
            with self.session.get(url, Accept=ACCEPT_ANY) as answer:
                if answer.status_code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
                    return None
                if answer.status_code != HTTPStatus.OK:
                    raise IndexAnswerError(f"{shown}: answers {answer.status_code} {answer.reason}")
                content = b""
                for chunk in answer.iter_content(1 << 16):
                    content += chunk
                    if len(content) > _LARGEST_PAGE:
                        raise IndexAnswerError(f"{shown}: answers more than any index page has")
                answer._content = content  # noqa: SLF001 - requests has no bounded read
                return answer
        except TROUBLE as error:
            raise IndexAnswerError(f"{shown}: {explain(error)}") from error


def _is_of(filename: str, name: str) -> bool:
    file = parse_wheel(filename, "") or parse_sdist(filename, "")
    return file is not None and file.package == name


def _parse(answer: requests.Response, name: str) -> ProjectPage:
    """Read a page in whichever form it came."""
    shown = redact(answer.url)
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":  # mirrors that know PEP 691 and not its media type
            page = ProjectPage.from_json_data(answer.json(), answer.url)
        else:
            page = ProjectPage.from_response(answer, name)
    except (UnsupportedContentTypeError, UnsupportedRepoVersionError) as error:
        raise IndexAnswerError(f"{shown}: answers in no form of an index ({kind})") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise IndexAnswerError(f"{shown}: answers no index page ({kind})") from error
    # A portal's log-in page is HTML too; an index's page of a project names files or says what it is.
    if "html" in kind and not page.packages and not page.repository_version:
        raise IndexAnswerError(f"{shown}: answers HTML that lists no files")
    return page


def _scheme(url: str) -> str:
    """Return a URL's scheme; "" for what is none, such as "http://[x", which the request refuses."""
    try:
        return urlsplit(url).scheme
    except ValueError:
        return ""
