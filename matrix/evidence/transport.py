"""HTTP: a session that honours the user's settings, and what of it a message may say."""

from __future__ import annotations

from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final
from urllib.parse import unquote, urlsplit, urlunsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, _basic_auth_str
from requests.utils import get_netrc_auth
from urllib3.util import Retry

from matrix.model import Model

_RETRIED: Final = (429, 500, 502, 503, 504)
TROUBLE: Final = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
"""What a request, or reading its answer, raises when the network is at fault; `explain` words it."""


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


def printable(text: str | None) -> str:
    """Leave out of a server's text what a terminal would obey."""
    return "".join(filter(str.isprintable, text or ""))


def redact(url: str) -> str:
    """Return `url` fit for a message: without credentials, query and fragment (both may hold tokens).

    What a terminal would obey is left out too: an index may state any URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    shown = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
    return printable(shown)


def split_login(url: str) -> tuple[str, tuple[str, str, str] | None]:
    """Return `url` without its credentials, and those as (netloc, user, password).

    One that is no URL ("https://[x/") comes back as it is: `Session.get` refuses it.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, None
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
    if isinstance(
        error,
        requests.exceptions.InvalidURL
        | requests.exceptions.InvalidSchema
        | requests.exceptions.MissingSchema,
    ):
        return "no URL that can be read"
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return "it redirects in a circle"
    return "cannot be reached, or cuts the connection"


class _Logins(AuthBase):
    """Credentials by host: those of the index URLs, then netrc."""

    def __init__(self, logins: tuple[tuple[str, str, str], ...]) -> None:
        self.by_host = {netloc: (user, password) for netloc, user, password in logins}

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = request.url or ""
        login = self.by_host.get(urlsplit(url).netloc) or get_netrc_auth(url)
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
        self._logins = _Logins(connection.logins)
        self._requests.auth = self._logins
        # No cookies: they are the one thing in a requests session that its answers change.
        self._requests.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._requests.cert = connection.client_certificate or None
        retry = Retry(
            total=connection.retries,
            connect=min(2, connection.retries),
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

    def login(self, netloc: str, user: str, password: str) -> None:
        """Use these credentials for "host" or "host:port" from now on."""
        self._logins.by_host[netloc] = (user, password)

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
