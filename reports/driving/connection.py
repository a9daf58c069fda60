"""GitHub, as the job of a workflow reaches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from matrix.errors import ConfigurationError
from reports.github.credential import credential
from reports.github.job import job
from reports.github.request import Repository, Send


class Connection(NamedTuple):
    """The repository that the job is of, how it is asked, and the address of the run."""

    send: Send
    repository: Repository
    link: str


def connect(environment: Mapping[str, str]) -> Connection | None:
    """Log in by the environment; None without a token. Raises ConfigurationError outside of a workflow."""
    here = job(environment)
    if here.repository is None:
        raise ConfigurationError("$GITHUB_REPOSITORY names no repository: is this a workflow?")
    who = credential(environment)
    if who is None:
        return None
    from reports.github.client import Client  # noqa: PLC0415 - github3 is heavy

    client = Client(who, here.repository, api=here.api)
    return Connection(client.send, here.repository, here.link)


def connected(environment: Mapping[str, str]) -> Connection:
    """Log in. Raises ConfigurationError without a token."""
    found = connect(environment)
    if found is None:
        raise ConfigurationError(
            "no token: set GITHUB_TOKEN (in a workflow, env: GITHUB_TOKEN: ${{ github.token }})"
        )
    return found
