"""The adapter to GitHub: the only module that knows github3.

github3's session gives address, headers, timeouts and the three kinds of login. Its objects are not used: each is
fetched before it is changed, needs fields that a write does not, and hides which requests are sent; here a request
is a value that was planned, printed and checked before.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import github3
import msgspec
import requests
import tenacity
from github3.exceptions import GitHubException
from github3.session import GitHubSession
from jwt import PyJWTError

from matrix.errors import ConfigurationError, OutsideError
from reports.github.credential import App, Credential, Token
from reports.github.etags import Etags
from reports.github.patience import ATTEMPTS, LONGEST, broken, limited, pause
from reports.github.redact import Redactor
from reports.github.refusal import LostError
from reports.github.request import Answer, Repository, Request
from reports.text import plain

API: Final = "https://api.github.com"
_ACCEPT: Final = "application/vnd.github+json"
_VERSION: Final = "2022-11-28"
_CONNECT: Final = 10.0
_READ: Final = 60.0
"""Seconds; github3's own 4 and 10 are short for a tree of some megabytes."""
_EARLY: Final = 120.0
"""Seconds before its end at which an installation's token is replaced."""
_UNCHANGED: Final = 304


class _WaitError(Exception):
    """A request is to be sent again; `answer` None: none came."""

    def __init__(self, answer: Answer | None, words: str) -> None:
        super().__init__(words)
        self.answer = answer


class Client:
    """Sends requests as one `credential`, waits as GitHub asks, up to `patience` seconds in all."""

    def __init__(
        self,
        credential: Credential,
        repository: Repository,
        *,
        api: str = API,
        etags: Etags | None = None,
        redactor: Redactor | None = None,
        patience: float = LONGEST,
        sleep: Callable[[float], None] = time.sleep,
        timeouts: tuple[float, float] = (_CONNECT, _READ),
    ) -> None:
        self._credential = credential
        self._repository = repository
        self._etags = etags or Etags()
        self._redactor = redactor or Redactor()
        self._left = patience
        self._sleep = sleep
        self._session = GitHubSession(*timeouts)
        self._session.base_url = api.rstrip("/")
        self._session.headers.update({"Accept": _ACCEPT, "X-GitHub-Api-Version": _VERSION})
        self._session.headers["User-Agent"] = "nvfp4-matrix"
        self._installation = ""
        self._until = 0.0
        self._lost = 0
        self.sent = 0
        """Requests so far, those that were sent again and those for logins included."""
        match credential:
            case Token(token=token):
                self._redactor.learn(token)
                self._session.token_auth(token)
            case App(key=key, installation=installation):
                self._redactor.learn(key)
                self._installation = installation

    def send(self, request: Request) -> Answer:
        """Carry a request out; a refusal is an answer, too.

        Raises LostError where it may have been carried out without an answer, OutsideError where it was not.
        """
        if isinstance(self._credential, App):
            self._login(self._credential)
        return self._patiently(request)

    def close(self) -> None:
        """Keep what was read for the next run, and hang up."""
        self._etags.save()
        self._session.close()

    def _patiently(self, request: Request) -> Answer:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_WaitError),
            stop=self._enough,
            wait=self._pause,
            sleep=self._rest,
            reraise=True,
        )
        try:
            return attempts(self._once, request)
        except _WaitError as error:
            if error.answer is not None and limited(error.answer):
                raise OutsideError(f"{error}; {self._when(error.answer)}") from None
            raise OutsideError(str(error)) from None

    def _once(self, request: Request) -> Answer:
        url = self._url(request.path)
        kept = self._etags.get(url) if not request.writes else None
        headers = {"If-None-Match": kept.etag} if kept else {}
        data: dict[str, Any] = {}
        if request.body is not None:
            data["data"] = msgspec.json.encode(request.body)
        elif request.writes:
            data["data"] = request.content
            headers["Content-Type"] = request.kind
        asked = f"{request.method} {plain(request.path, limit=200)}"
        try:
            self.sent += 1
            got = self._session.request(
                request.method, url, headers=headers, allow_redirects=not request.writes, **data
            )
        except requests.RequestException as error:
            words = f"no answer to {asked} ({self._words(error)})"
            if not request.again and not _unsent(error):
                raise self._lose(words, None) from None
            raise _WaitError(None, words) from None
        answer = Answer(
            status=got.status_code,
            headers={name.lower(): value for name, value in got.headers.items()},
            content=got.content,
        )
        if answer.status == _UNCHANGED and kept:
            return kept.answer
        words = f"GitHub answers {answer.status} to {asked}"
        if limited(answer):
            raise _WaitError(answer, f"{words}: rate limit")
        if broken(answer):
            if not request.again:
                raise self._lose(words, answer)
            raise _WaitError(answer, words)
        if not request.writes and answer.good and (etag := answer.headers.get("etag")):
            self._etags.put(url, etag, answer)
        return answer

    def _lose(self, words: str, answer: Answer | None) -> LostError:
        """Wait before it is looked for, and perhaps sent once more: longer each time, as for any other request."""
        self._lost += 1
        seconds = pause(answer, self._lost, time.time())
        if seconds <= self._left:
            self._rest(seconds)
        return LostError(words)

    def _url(self, path: str) -> str:
        """Give the whole URL. The token goes to the API and to its own host for uploads, nowhere else."""
        if path.startswith("/"):
            return f"{self._session.base_url}{path}"
        api, given = urlsplit(self._session.base_url), urlsplit(path)
        domain = api.netloc.removeprefix("api.")
        if given.scheme == api.scheme and given.netloc in (api.netloc, f"uploads.{domain}"):
            return path
        raise OutsideError(f"GitHub names {given.netloc} for uploads, which is not its own host")

    def _pause(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        answer = error.answer if isinstance(error, _WaitError) else None
        asked = pause(answer, state.attempt_number, time.time())
        # Runners that failed together do not come back together.
        return asked + random.uniform(0, 0.25) * min(asked, 10.0)  # noqa: S311 - no secret

    def _enough(self, state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= ATTEMPTS or state.upcoming_sleep > self._left

    def _rest(self, seconds: float) -> None:
        self._left -= seconds
        self._sleep(seconds)

    def _when(self, answer: Answer) -> str:
        seconds = pause(answer, 1, time.time())
        return f"it takes about {seconds / 60:.0f} min, and {self._left:.0f} s are left to wait"

    def _words(self, error: Exception) -> str:
        return plain(self._redactor.text(type(error).__name__))

    def _login(self, app: App) -> None:
        """Get a token of the app's installation, and another one before that ends."""
        if time.time() < self._until - _EARLY:
            return
        hub = github3.GitHub(session=self._session)
        key = app.key.encode()
        try:
            if not self._installation:
                # PyJWT refuses a number, and github3 hands over what it is given.
                hub.login_as_app(key, str(app.id), expire_in=300)
                asked = Request(method="GET", path=self._repository.path("installation"))
                answer = self._patiently(asked)
                found = answer.document
                if not answer.good or not isinstance(found, dict) or "id" not in found:
                    owner = f"{self._repository.owner}/{self._repository.name}"
                    raise ConfigurationError(
                        f"GitHub answers {answer.status} to {asked.path}: the app {app.id} is not installed on {owner}"
                    )
                self._installation = str(found["id"])
            self.sent += 1
            hub.login_as_app_installation(key, str(app.id), self._installation, expire_in=300)
        except (PyJWTError, ValueError, TypeError) as error:
            raise ConfigurationError(
                f"the app's private key is no RSA key in PEM form ({type(error).__name__})"
            ) from None
        except GitHubException as error:
            if getattr(error, "code", 0) >= 500:  # noqa: PLR2004 - RFC 9110, 15.6
                raise OutsideError(f"GitHub fails at the app's login ({error.code})") from None
            raise ConfigurationError(
                f"GitHub refuses the app {app.id} or its installation {self._installation} ({type(error).__name__}): "
                "look at the app's id, its key, where it is installed, and at this machine's clock"
            ) from None
        except requests.RequestException as error:
            raise OutsideError(f"no answer to the app's login ({self._words(error)})") from None
        login = self._session.auth
        self._redactor.learn(login.token)
        self._until = login.expires_at.timestamp()


def _unsent(error: requests.RequestException) -> bool:
    """Whether the request never reached GitHub."""
    if isinstance(error, requests.ConnectTimeout):
        return True
    return "NewConnectionError" in repr(error) or "NameResolutionError" in repr(error)
