"""The sticky comment: found by its marker, edited in place, never a second one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from matrix.errors import OutsideError
from reports.github.content import MARKER
from reports.github.outcome import Outcome
from reports.github.posting import Comment
from reports.github.refusal import LostError, ask, refusal
from reports.github.request import Repository, Request, Send
from reports.github.state import Packed, release

_PAGE: Final = 100
_PAGES: Final = 30
"""Pages that are looked through: GitHub shows nobody an issue of more comments."""
_TRIES: Final = 3
_INSIDERS: Final = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
_WORD = re.compile(r"(\w+)=(\S+)")
_MISSING: Final = 404


class Sticky(NamedTuple):
    """A comment of ours that is there."""

    id: int
    hash: str
    at: str
    state: Packed | None
    url: str


def look(send: Send, repository: Repository, number: int, name: str) -> Sticky | None:
    """Find the comment: of several the one with the lowest id, which is the one that stays."""
    return next(_ours(send, repository, number, name), None)


def settle(send: Send, posting: Comment, there: Sticky | None) -> Outcome:
    """Let `posting` be the one comment; `there` is what was found before.

    Raises a MatrixError where GitHub refuses.
    """
    for _ in range(_TRIES):
        if there is not None:
            return _edit(send, posting, there)
        try:
            url = _create(send, posting)
        except LostError:
            there = look(send, posting.repository, posting.number, posting.name)
            continue
        return _alone(send, posting, url)
    raise LostError(f"{posting.place}: no answer came in {_TRIES} attempts")


def _edit(send: Send, posting: Comment, there: Sticky) -> Outcome:
    if there.hash == posting.hash:
        return Outcome(posting.place, "unchanged", there.url)
    if there.at > posting.at:
        return Outcome(posting.place, "newer", there.url)
    path = posting.repository.path("issues", "comments", there.id)
    request = Request(method="PATCH", path=path, body={"body": posting.body})
    answer = ask(send, "comment", request)
    return Outcome(posting.place, "changed", _url(answer.document) or there.url)


def _create(send: Send, posting: Comment) -> str:
    path = posting.repository.path("issues", posting.number, "comments")
    request = Request(method="POST", path=path, body={"body": posting.body}, again=False)
    return _url(ask(send, "comment", request).document)


def _alone(send: Send, posting: Comment, url: str) -> Outcome:
    """Look whether somebody posted at the same time; the lowest id stays, and says what is newest."""
    found = list(_ours(send, posting.repository, posting.number, posting.name))
    for other in found[1:]:
        path = posting.repository.path("issues", "comments", other.id)
        request = Request(method="DELETE", path=path)
        answer = send(request)
        if not answer.good and answer.status != _MISSING:  # the other one deleted it already
            raise refusal("comment", request, answer)
    if found and found[0].hash != posting.hash:
        return _edit(send, posting, found[0])
    return Outcome(posting.place, "created", found[0].url if found else url)


def _ours(send: Send, repository: Repository, number: int, name: str) -> Iterator[Sticky]:
    """Yield our comments, the oldest first, reading no more pages than are asked for."""
    me: str | None = None
    for page in range(1, _PAGES + 1):
        path = repository.path("issues", number, "comments", per_page=_PAGE, page=page)
        document = ask(send, "comment", Request(method="GET", path=path)).document
        if not isinstance(document, list):
            raise OutsideError(f"GitHub answers to GET {path} with something else than comments")
        listed = [each for each in document if isinstance(each, dict)]
        for each in sorted(listed, key=lambda each: each.get("id", 0)):
            if (sticky := _read(each, name)) is None:
                continue
            if not _inside(each):
                me = _login(send) if me is None else me
                if not me or _author(each).get("login") != me:
                    continue
            yield sticky
        if len(listed) < _PAGE:
            return


def _read(comment: Mapping[str, Any], name: str) -> Sticky | None:
    """Read a comment that opens with our marker; None for any other."""
    body = comment.get("body")
    if not isinstance(body, str) or not body.startswith(MARKER):
        return None
    head, ended, _ = body.removeprefix(MARKER).partition("-->")
    words = dict(_WORD.findall(head))
    if not ended or words.get("name") != name:
        return None
    return Sticky(
        id=int(comment.get("id") or 0),
        hash=words.get("hash", ""),
        at=words.get("at", ""),
        state=release(words.get("state", "")),
        url=_url(comment),
    )


def _inside(comment: Mapping[str, Any]) -> bool:
    """Whether a comment is of a bot, or of somebody who may write to the repository anyway.

    Anybody may write a marker: an outsider's comment is not edited and called ours, unless the token is his.
    """
    return _author(comment).get("type") == "Bot" or comment.get("author_association") in _INSIDERS


def _author(comment: Mapping[str, Any]) -> Mapping[str, Any]:
    user = comment.get("user")
    return user if isinstance(user, dict) else {}


def _login(send: Send) -> str:
    """Ask who posts; "" where the token is no person's."""
    document = send(Request(method="GET", path="/user")).document
    found = document.get("login") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""


def _url(document: Any) -> str:
    found = document.get("html_url") if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""
