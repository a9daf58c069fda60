"""GitHub as the tracker asks it: whether upstream's threads are open, and pull requests that propose pins."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from matrix.errors import ConfigurationError, MatrixError
from reports.pullrequest import Ask, PullRequests, Threads

if TYPE_CHECKING:
    from matrix.tracking import State
    from reports.github.credential import Credential
    from reports.github.request import Method, Send

_PATIENCE: Final = 120.0
"""Seconds to wait for GitHub in all."""


def asking(send: Send) -> Ask:
    """Ask by what carries requests to GitHub, and is told which of them may not be sent twice."""
    from reports.github.request import Request  # noqa: PLC0415

    def ask(method: Method, path: str, body: Mapping[str, Any] | None = None, /) -> tuple[int, Any]:
        again = method != "POST"
        made = dict(body) if body is not None else None
        answer = send(Request(method=method, path=path, body=made, again=again))
        return answer.status, answer.document

    return ask


def sender(repository: str, who: Credential) -> Send:
    """Log in, for requests about a repository."""
    from reports.github.client import Client  # noqa: PLC0415
    from reports.github.job import job  # noqa: PLC0415
    from reports.github.job import repository as read  # noqa: PLC0415

    return Client(who, read(repository), api=job(os.environ).api, patience=_PATIENCE).send


class Known:
    """States of upstream's threads, as long as GitHub answers; the first time that it does not is told, and then nothing."""

    def __init__(self, log_in: Callable[[str], Send], tell: Callable[[str], None]) -> None:
        self._log_in = log_in
        self._tell = tell
        self._threads: Threads | None = None
        self.failed = False

    def state(self, repository: str, number: int) -> State | None:
        """Return the state that GitHub has; None where it is not known."""
        if self.failed:
            return None
        try:
            if self._threads is None:
                self._threads = Threads(asking(self._log_in(repository)))
            return self._threads.state(repository, number)
        except MatrixError as error:
            self.failed = True
            self._tell(f"what is open upstream is not known: {error}")
            return None


def known(tell: Callable[[str], None]) -> Known | None:
    """Return who knows what is open upstream; None without a token. An app knows its own repositories alone."""
    from reports.github.credential import Token, credential  # noqa: PLC0415

    who = credential(os.environ)
    return Known(lambda at: sender(at, who), tell) if isinstance(who, Token) else None


def proposer(repository: str, base: str) -> PullRequests:
    """Return who makes pull requests of a repository onto a branch of it. Raises ConfigurationError without a login."""
    from reports.github.credential import credential  # noqa: PLC0415

    who = credential(os.environ)
    if who is None:
        raise ConfigurationError(
            "no token: set GITHUB_TOKEN, with Contents and Pull requests: write"
        )
    return PullRequests(asking(sender(repository, who)), repository, base)
