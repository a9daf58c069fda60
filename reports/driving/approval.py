"""A maintainer's label on a pull request approves one head commit, once. Pure."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from reports.driving.event import Pulled

LABEL: Final = "probe"
"""The label; docs/driving.md names it, too."""

_APART: Final = timedelta(seconds=60)
"""A label that follows a push sooner than this was put on a commit that nobody can have read."""
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


class Approval(NamedTuple):
    """What an event means. `commit`: the one that is approved, "" for none. `remove`: the label has to go.

    `who` put it on, and has to be asked for; `why` it approves nothing, in words.
    """

    commit: str = ""
    remove: bool = False
    who: str = ""
    why: str = ""


def approval(event: Pulled) -> Approval:
    """Say what a label, or a push after it, approves.

    The commit is the event's own: what is pushed later is another one, which a new label would have to approve. The
    label goes in any case: it has been used, or it is of a commit of before.
    """
    there = any(label.name == LABEL for label in event.pull_request.labels)
    if event.action != "labeled":
        return Approval(remove=there, why="a push approves nothing, and ends what was approved")
    if event.label is None or event.label.name != LABEL:
        return Approval(why="it is another label")
    try:
        _check(event)
    except ValueError as error:
        return Approval(remove=True, why=str(error))
    return Approval(commit=event.pull_request.head.sha, remove=True, who=event.sender.login)


def _check(event: Pulled) -> None:
    """Raise ValueError where the label cannot approve the commit."""
    head = event.pull_request.head
    if not _COMMIT.fullmatch(head.sha):
        raise ValueError("the event names no commit")
    if event.sender.type != "User":
        raise ValueError("a person approves, not a program")
    if head.repo is None or head.repo.pushed_at is None:
        raise ValueError("the repository that it comes from is gone")
    apart = _time(event.pull_request.updated_at) - _time(head.repo.pushed_at)
    if apart < _APART:
        seconds = int(_APART.total_seconds())
        raise ValueError(
            f"somebody pushed less than {seconds} s before the label: look at {head.sha[:12]}, and put it on again"
        )


def _time(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError("a time without its zone")
    return found
