"""Who may start work on somebody's GPU: who can write to the repository, as GitHub itself answers."""

from __future__ import annotations

from typing import Final

from matrix.errors import OutsideError
from reports.github.request import Repository, Request, Send
from reports.text import plain

WRITERS: Final = frozenset({"admin", "write"})
"""GitHub's words; `maintain` is told as `write`, `triage` as `read` (REST, "Get repository permissions for a user")."""

_NOBODY: Final = 404


def may_write(send: Send, repository: Repository, login: str) -> bool:
    """Ask GitHub whether `login` has write access today. What an event says of somebody's role is not enough.

    Raises OutsideError where GitHub does not say it: then nobody may.
    """
    request = Request(method="GET", path=repository.path("collaborators", login, "permission"))
    answer = send(request)
    if answer.status == _NOBODY:
        return False
    document = answer.document
    if not answer.good or not isinstance(document, dict):
        said = plain(answer.message, limit=200)
        raise OutsideError(
            f"GitHub answers {answer.status}{f' ({said})' if said else ''} when asked what {plain(login, limit=40)} may do"
        )
    return document.get("permission") in WRITERS
