"""What a Docker engine's troubles are told as: one line, with what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Final

import docker.errors
import requests
import urllib3

from matrix.errors import EngineError

TROUBLE: Final = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
)
"""What the engine's library raises, and what comes through it from below."""

_KNOWN: Final = {
    "could not select device driver": "the Docker engine has no NVIDIA runtime: install the NVIDIA container toolkit, "
    "then `nvidia-ctk runtime configure --runtime=docker`, and restart docker",
    "nvidia-container-cli: device error": "the Docker engine does not find that GPU; see whether nvidia-smi -L still names it",
    "bind source path does not exist": "the Docker engine does not see this machine's folders: run this where the engine runs",
}
"""What an engine says, and what that means to a user."""


@contextlib.contextmanager
def answering() -> Iterator[None]:
    """Raise EngineError for whatever goes wrong between us and the engine."""
    try:
        yield
    except TROUBLE as error:
        raise EngineError(said(error)) from error


def said(error: Exception) -> str:
    """Return what the engine said, in one line, and where we know better what to do."""
    told = getattr(error, "explanation", None) or str(error)
    for sign, words in _KNOWN.items():
        if sign in str(told):
            return words
    return " ".join(str(told).split())[:300]


def unreachable(host: str, error: BaseException) -> str:
    """Say why no engine answers, by what is at the bottom of it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, PermissionError):
            return f"no permission on {host}: add yourself to the group docker, or set DOCKER_HOST to a rootless engine"
        if isinstance(found, FileNotFoundError | ConnectionRefusedError):
            return f"no Docker engine answers at {host}: install docker and start it, or set DOCKER_HOST"
        if isinstance(found, urllib3.exceptions.NameResolutionError):
            return f"no Docker engine answers at {host}: there is no such host; see to DOCKER_HOST"
        found = found.__cause__ or found.__context__
    what = said(error) if isinstance(error, Exception) else ""
    return f"no Docker engine answers at {host}: {what}; see to DOCKER_HOST (unix://…, tcp://…)"
