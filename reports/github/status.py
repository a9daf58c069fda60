"""The commit status: one line, for tokens that cannot create check runs."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from reports.github.outcome import Outcome
from reports.github.posting import Status
from reports.github.refusal import ask
from reports.github.request import Repository, Request, Send

_PAGE: Final = 100


class Line(NamedTuple):
    """The newest status of a context on a commit."""

    state: str
    description: str


def look(send: Send, repository: Repository, commit: str, name: str) -> Line | None:
    """Find the newest status of that name; GitHub lists the newest first."""
    path = repository.path("commits", commit, "statuses", per_page=_PAGE)
    document = ask(send, "status", Request(method="GET", path=path)).document
    for each in document or ():
        if isinstance(each, dict) and each.get("context") == name:
            return Line(str(each.get("state")), str(each.get("description") or ""))
    return None


def settle(send: Send, posting: Status, there: Line | None) -> Outcome:
    """Let the status of that name be `posting`'s. Raises a MatrixError where GitHub refuses."""
    if there == Line(posting.state, posting.description):
        return Outcome(posting.place, "unchanged")
    body: dict[str, Any] = {
        "state": posting.state, "context": posting.name, "description": posting.description,
    }  # fmt: skip
    if posting.link:
        body["target_url"] = posting.link
    # Twice the same status is one line on the page: the newest of a context counts.
    path = posting.repository.path("statuses", posting.commit)
    ask(send, "status", Request(method="POST", path=path, body=body))
    return Outcome(posting.place, "changed" if there else "created")
