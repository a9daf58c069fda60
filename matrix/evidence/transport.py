"""HTTP: a session that honours the user's settings, and files read by range over it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, _basic_auth_str
from requests.utils import get_netrc_auth
from urllib3.util import Retry

from matrix.errors import DeliveryError, OutsideError
from matrix.evidence.reader import CHUNK, FileReader, Reader
from matrix.model import Model

TAIL: Final = 64 * 1024
"""Bytes fetched first from the end of a wheel: the zip directory's end and often all of it."""

ATTEMPTS: Final = 5
"""Times in a row that a cut transfer is taken up again without `PROGRESS` bytes in between."""

PROGRESS: Final = 1024 * 1024
"""Bytes after which a transfer that was cut counts as moving, so that its attempts start anew."""

_RETRIED: Final = (429, 500, 502, 503, 504)
_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_TROUBLE: Final = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class Connection(Model, frozen=True, kw_only=True):
    """How to reach the network. `timeout` and `backoff` in seconds, `retries` beyond the first try.

    `ca_bundle`: a PEM file or folder, "" for the certificates that requests brings.
    `client_certificate`: a PEM file with key and certificate. `proxy`: one URL for everything; "" leaves
    it to the environment. `trusted_hosts`: "host" or "host:port" whose certificate is not checked.
    `logins`: (netloc, user, password) that stood in the user's index URLs.
    """

    timeout: float = 15.0
    retries: int = 4
    backoff: float = 0.5
    ca_bundle: str = ""
    client_certificate: str = ""
    proxy: str = ""
    trusted_hosts: tuple[str, ...] = ()
    logins: tuple[tuple[str, str, str], ...] = ()


def redact(url: str) -> str:
    """Return `url` fit for a message: without credentials, query and fragment (both may hold tokens)."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def split_login(url: str) -> tuple[str, tuple[str, str, str] | None]:
    """Return `url` without its credentials, and those as (netloc, user, password)."""
    parts = urlsplit(url)
    login, at, netloc = parts.netloc.rpartition("@")
    if not at:
        return url, None
    user, _, password = login.partition(":")
    return urlunsplit(parts._replace(netloc=netloc)), (netloc, unquote(user), unquote(password))


def explain(error: BaseException) -> str:
    """Say in a few words why the network failed; requests' own text may hold credentials."""
    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return "its certificate is not accepted (see pip's --cert and --trusted-host)"
    if isinstance(error, requests.exceptions.ProxyError | urllib3.exceptions.ProxyError):
        return "the proxy cannot be reached"
    chain = f"{type(error).__name__} {error}"
    if isinstance(error, requests.Timeout) or "timed out" in chain.lower():
        return "no answer in time (see pip's --timeout)"
    if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.InvalidSchema):
        return "no URL that can be read"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "it redirects in a circle"
    return "cannot be reached, or cuts the connection"


class _Logins(AuthBase):
    """Credentials by host: those of the index URLs, then netrc."""

    def __init__(self, logins: tuple[tuple[str, str, str], ...]) -> None:
        self._logins = {netloc: (user, password) for netloc, user, password in logins}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        login = self._logins.get(urlsplit(url).netloc) or get_netrc_auth(url)
        if login:
            request.headers["Authorization"] = _basic_auth_str(*login)
        return request


class _TrustingAdapter(HTTPAdapter):
    """For hosts whose certificate the user told pip not to check."""

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # type: ignore[override]
        # Told by trusted-host; a redirect to another host gets the checking adapter again.
        return super().send(request, **{**options, "verify": False})


class Session:
    """A pool of connections under one set of settings; threads may share it."""

    def __init__(self, connection: Connection | None = None) -> None:
        self.connection = connection = connection or Connection()
        self._requests = requests.Session()
        self._requests.auth = _Logins(connection.logins)
        # No cookies: they are the one thing in a requests session that its answers change.
        self._requests.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._requests.cert = connection.client_certificate or None
        retry = Retry(
            total=connection.retries,
            # A server that hangs costs a whole timeout each time: ask it once more, not five times.
            read=min(1, connection.retries),
            status_forcelist=_RETRIED,
            allowed_methods=("GET", "HEAD"),
            backoff_factor=connection.backoff,
            raise_on_status=False,
            retry_after_max=60,
        )
        for scheme in ("http://", "https://"):
            self._requests.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=32))
        for host in connection.trusted_hosts:
            trusting = _TrustingAdapter(max_retries=retry, pool_maxsize=32)
            self._requests.mount(f"https://{host}/", trusting)
            if ":" not in host:
                self._requests.mount(f"https://{host}:", trusting)
        if connection.trusted_hosts:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)

    def get(self, url: str, **headers: str) -> requests.Response:
        """Start a GET and return its answer, body unread. Raises what requests raises.

        Keywords are headers, with `_` for `-`. Settings go with the request because requests lets the
        environment override a session's.
        """
        proxy = self.connection.proxy
        return self._requests.get(
            url,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            stream=True,
            timeout=self.connection.timeout,
            verify=self.connection.ca_bundle or True,
            proxies={"http": proxy, "https": proxy} if proxy else None,
        )

    def close(self) -> None:
        """Close the pooled connections."""
        self._requests.close()


class RangeReader(Reader):
    """A file behind a URL, read by ranged GETs; downloaded once where the server knows no ranges.

    Whether it does is decided by its answer to a ranged GET: HEAD and `accept-ranges` disagree with
    that on some indexes. Raises DeliveryError.
    """

    failure = DeliveryError

    def __init__(self, session: Session, url: str, *, sha256: str = "") -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._sha256 = sha256
        self.name = redact(url)
        self.size = -1
        self._validator: str | None = None
        self._whole: FileReader | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._fetched = 0
        self._lock = threading.Lock()
        self._tail = b""
        for wanted in (f"bytes=-{TAIL}", "bytes=0-0"):  # some servers refuse a suffix range
            if self._probe(wanted):
                break
        else:
            self._download()

    @property
    def bytes_fetched(self) -> int:
        """Bytes of bodies that came over the network so far, repeats included."""
        return self._fetched

    def _count(self, chunk: bytes) -> bytes:
        with self._lock:
            self._fetched += len(chunk)
        return chunk

    def _probe(self, wanted: str) -> bool:
        """Ask for a range and keep it as the file's tail. False where the server will not have it."""
        for attempt in range(ATTEMPTS):
            with self._ask(wanted) as answer:
                if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
                    if answer.status_code in (401, 403, 404, 410):
                        self.fail(f"the server answers {answer.status_code} {answer.reason}")
                    return False
                start, end, self.size = self._content_range(answer)
                self._validator = answer.headers.get("ETag")
                try:
                    self._tail = b"".join(self._body(answer))[: end - start]
                except _TROUBLE as error:
                    self._wait(attempt, error)
                    continue
                if end != self.size or len(self._tail) != end - start:
                    self._tail = b""  # an honest answer to 0-0, or a short one: read it when needed
                return True
        return False

    def _ask(self, wanted: str) -> contextlib.AbstractContextManager[requests.Response]:
        try:
            # identity: a compressed range could not be taken up again at an offset.
            answer = self._session.get(self._url, Range=wanted, Accept_Encoding="identity")
        except _TROUBLE as error:
            raise DeliveryError(f"{self.name}: {explain(error)}") from error
        return contextlib.closing(answer)

    def _content_range(self, answer: requests.Response) -> tuple[int, int, int]:
        """Return (start, end, total) of a 206, end excluded."""
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if found is None or answer.headers.get("Content-Encoding", "identity") != "identity":
            self.fail("the server answers a range that cannot be read")
        first, last, total = (int(group) for group in found.groups())
        if not first <= last < total:
            self.fail("the server answers a range that cannot be")
        return first, last + 1, total

    def _body(self, answer: requests.Response) -> Iterator[bytes]:
        for chunk in answer.raw.stream(CHUNK, decode_content=False):
            yield self._count(chunk)

    def _wait(self, attempt: int, error: BaseException) -> None:
        if attempt + 1 >= ATTEMPTS:
            raise DeliveryError(
                f"{self.name}: the transfer stopped {ATTEMPTS} times: {explain(error)}"
            ) from error
        time.sleep(self._session.connection.backoff * 2**attempt)

    def stream(self, start: int, end: int) -> Generator[bytes]:
        """Yield the bytes of a range; a cut connection is taken up where it stopped.

        Closing the generator early drops the connection: what was not yet sent is not fetched.
        """
        if self._whole is not None:
            yield from self._whole.stream(start, end)
            return
        tail_start = self.size - len(self._tail)
        cut, settled = 0, start
        while start < min(end, tail_start):
            problem: BaseException = EOFError("the answer is short")
            with self._ask(f"bytes={start}-{min(end, tail_start) - 1}") as answer:
                self._check(answer, start)
                try:
                    for chunk in self._body(answer):
                        kept = chunk[: min(end, tail_start) - start]
                        start += len(kept)
                        yield kept
                except _TROUBLE as error:
                    problem = error
            if start - settled >= PROGRESS:
                cut, settled = 0, start
            if start < min(end, tail_start):
                self._wait(cut, problem)
                cut += 1
        if start < end:
            yield self._tail[start - tail_start : end - tail_start]

    def _check(self, answer: requests.Response, start: int) -> None:
        """Refuse an answer to a ranged GET that is not the piece asked for of the file begun."""
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            self.fail(f"the server answers {answer.status_code} {answer.reason} to a range it knew")
        begins, _, total = self._content_range(answer)
        tag = answer.headers.get("ETag")
        if total != self.size or (tag and self._validator and tag != self._validator):
            self.fail("the file changed while it was read; try again")
        if begins != start:
            self.fail(f"the server answers from byte {begins}, asked from {start}")

    def _download(self) -> None:
        """Fetch the whole file, streamed, into a temporary folder that goes with this reader."""
        self._folder = tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")
        path = Path(self._folder.name, os.path.basename(urlsplit(self._url).path) or "wheel")  # noqa: PTH119 - of a URL
        for attempt in range(ATTEMPTS):
            digest = hashlib.sha256()
            try:
                with contextlib.closing(
                    self._session.get(self._url, Accept_Encoding="identity")
                ) as answer:
                    if answer.status_code != HTTPStatus.OK:
                        self.fail(f"the server answers {answer.status_code} {answer.reason}")
                    bodies = self._body(answer)
                    _write(bodies, path, digest)
            except _TROUBLE as error:
                self._wait(attempt, error)
                continue
            break
        if self._sha256 and digest.hexdigest() != self._sha256:
            self.fail("is not the file that the index promised (sha256 differs)")
        self._whole = FileReader(path, failure=DeliveryError)
        self._whole.name = self.name
        self.size = self._whole.size

    def close(self) -> None:
        """Remove what was downloaded, if anything."""
        if self._folder is not None:
            self._folder.cleanup()
        super().close()


def _write(bodies: Iterator[bytes], path: Path, digest: Any) -> None:
    """Write `bodies` to `path`. Raises OutsideError where the disk fails, not the network."""
    with path.open("wb") as file:
        for chunk in bodies:
            digest.update(chunk)
            try:
                file.write(chunk)
            except OSError as error:
                raise OutsideError(f"{path.parent}: cannot write: {error.strerror}") from error
