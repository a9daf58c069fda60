"""Carrying postings out: look, decide, settle; what fails is kept, and does not keep the rest from being posted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from matrix.errors import MatrixError
from reports.github import asset, branch, check, comment, status
from reports.github.outbox import Outbox
from reports.github.outcome import Outcome
from reports.github.posting import Asset, Branch, Check, Comment, Posting, Status
from reports.github.refusal import RefusedError
from reports.github.request import Repository, Send
from reports.github.wish import ASSET, Before, Kind, Matter, Wish, postings


class Done(NamedTuple):
    """What became of each posting: outcomes, and what failed, each with its error.

    `kept`: how many wait. `before`: what was posted last.
    """

    outcomes: tuple[Outcome, ...]
    failed: tuple[tuple[str, MatrixError], ...]
    kept: int
    before: Before


def publish(
    send: Send, wish: Wish, matter: Matter, page: Callable[[], str], outbox: Outbox
) -> Done:
    """Post what is wished for, then what an earlier run had to keep."""
    there: dict[Kind, Any] = {}
    failed: dict[Kind, MatrixError] = {}
    for kind in wish.kinds:
        try:
            there[kind] = _look(send, kind, wish)
        except MatrixError as error:
            failed[kind] = error
    tries = _Tries(outbox)
    before = _before(there, failed)
    new: list[Posting] = []
    for kind, posting in postings(wish, matter, before, page):
        new.append(posting)
        if kind in failed:
            tries.fail(posting, failed[kind])
        else:
            tries.settle(posting, partial(settle, send, posting, there[kind]))
    for posting in tuple(outbox.kept(wish.repository)):
        if not any(_same(posting, other) for other in new):
            tries.settle(posting, partial(_again, send, posting))
    return Done(tuple(tries.outcomes), tuple(tries.failed), tries.kept, before)


class _Tries:
    """One posting after the other, and what became of them."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.outcomes: list[Outcome] = []
        self.failed: list[tuple[str, MatrixError]] = []
        self.kept = 0

    def settle(self, posting: Posting, work: Callable[[], Outcome]) -> None:
        """Carry a posting out; it waits no longer if that is done."""
        try:
            self.outcomes.append(work())
        except MatrixError as error:
            self.fail(posting, error)
        else:
            self._outbox.drop(posting)

    def fail(self, posting: Posting, error: MatrixError) -> None:
        """Keep what may yet be posted; what GitHub refuses as it is would be refused again."""
        self.failed.append((posting.place, error))
        if isinstance(error, RefusedError) and not error.later:
            self._outbox.drop(posting)
        else:
            self._outbox.keep(posting)
            self.kept += 1


def look(send: Send, posting: Posting) -> Any:
    """Find what stands where `posting` is to stand."""
    match posting:
        case Comment(repository=repository, number=number, name=name):
            return comment.look(send, repository, number, name)
        case Check(repository=repository, commit=commit, name=name):
            return check.look(send, repository, commit, name)
        case Status(repository=repository, commit=commit, name=name):
            return status.look(send, repository, commit, name)
        case Branch(repository=repository, branch=named):
            return branch.look(send, repository, named)
        case Asset(repository=repository, tag=tag, file=file):
            return asset.look(send, repository, tag, file)


def settle(send: Send, posting: Posting, there: Any) -> Outcome:
    """Let `posting` stand in its place; `there` is what `look` found."""
    match posting:
        case Comment():
            return comment.settle(send, posting, there)
        case Check():
            return check.settle(send, posting, there)
        case Status():
            return status.settle(send, posting, there)
        case Branch():
            return branch.settle(send, posting, there)
        case Asset():
            return asset.settle(send, posting, there)


def _look(send: Send, kind: Kind, wish: Wish) -> Any:
    repository: Repository = wish.repository
    match kind:
        case "comment":
            return comment.look(send, repository, wish.number or 0, wish.name)
        case "check":
            return check.look(send, repository, wish.commit, wish.name)
        case "status":
            return status.look(send, repository, wish.commit, wish.name)
        case "branch":
            return branch.look(send, repository, wish.branch)
        case "asset":
            return asset.look(send, repository, wish.tag, ASSET)


def _before(there: dict[Kind, Any], failed: dict[Kind, MatrixError]) -> Before:
    tip, sticky = there.get("branch"), there.get("comment")
    standing = tip.standing if isinstance(tip, branch.Tip) and tip.standing.hash else None
    return Before(
        branch=standing.state if standing else None,
        comment=sticky.state if isinstance(sticky, comment.Sticky) else None,
        # A state that is too large for a comment's marker is not there.
        unread=bool({"branch", "comment"} & failed.keys() or isinstance(sticky, comment.Sticky)),
    )


def _again(send: Send, posting: Posting) -> Outcome:
    return settle(send, posting, look(send, posting))


def _same(one: Posting, other: Posting) -> bool:
    return type(one) is type(other) and (one.place, one.name) == (other.place, other.name)
