"""One comment on an issue or a pull request that says what is so now: edited in place, never a second one."""

from __future__ import annotations

from reports.clock import now
from reports.driving.connection import Connection
from reports.driving.reply import marked
from reports.github import comment
from reports.github.posting import Comment


def say(there: Connection, number: int, name: str, text: str) -> str:
    """Let the comment of that name say `text`; tell what was done, in a line. Raises a MatrixError where GitHub refuses."""
    when = now()
    body, made = marked(name, text, when)
    posting = Comment(
        repository=there.repository, name=name, hash=made, at=when, number=number, body=body
    )
    found = comment.look(there.send, there.repository, number, name)
    outcome = comment.settle(there.send, posting, found)
    return f"{outcome.place}: {outcome.what}"
