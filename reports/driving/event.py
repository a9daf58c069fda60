"""Events of GitHub, as a workflow finds them in a file: what of them matters here, and no more."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from matrix.errors import ConfigurationError

Kind = TypeVar("Kind", bound=msgspec.Struct)


class User(msgspec.Struct, frozen=True):
    """Somebody. `type`: `User`, `Bot`, `Organization`."""

    login: str
    type: str = "User"


class Words(msgspec.Struct, frozen=True):
    """A comment."""

    id: int
    body: str
    user: User


class Number(msgspec.Struct, frozen=True):
    """An issue or a pull request."""

    number: int


class Commented(msgspec.Struct, frozen=True):
    """The event `issue_comment`. `sender` did it, which need not be who wrote the comment: it may be an edit."""

    action: str
    comment: Words
    issue: Number
    sender: User


class Label(msgspec.Struct, frozen=True):
    """A label, by its name."""

    name: str


class Source(msgspec.Struct, frozen=True):
    """The repository that a pull request comes from; `pushed_at`: when somebody last pushed to it."""

    pushed_at: str | None = None


class Head(msgspec.Struct, frozen=True):
    """What a pull request would merge; no `repo`: the fork is gone."""

    sha: str
    repo: Source | None = None


class Pull(msgspec.Struct, frozen=True):
    """A pull request. `updated_at` is when it was labelled, where that is what happened."""

    number: int
    head: Head
    updated_at: str
    labels: tuple[Label, ...] = ()


class Pulled(msgspec.Struct, frozen=True):
    """The event `pull_request_target`. `label`: the one that was put on or taken off."""

    action: str
    pull_request: Pull
    sender: User
    label: Label | None = None


def read(environment: Mapping[str, str], kind: type[Kind]) -> Kind:
    """Read the event that started the workflow. Raises ConfigurationError where it is none of that kind."""
    name = environment.get("GITHUB_EVENT_PATH", "")
    if not name:
        raise ConfigurationError("$GITHUB_EVENT_PATH names no event: is this a workflow?")
    try:
        return msgspec.json.decode(Path(name).read_bytes(), type=kind)
    except OSError as error:
        raise ConfigurationError(f"{name}: {error.strerror}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigurationError(f"{name}: is no event for this command ({error})") from error
