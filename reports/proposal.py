"""A proposal of a new pin as people get it: a pull request's text, with what our evidence says of it, and its files."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from matrix.effect import Change
from matrix.newpin import NewPin
from matrix.tracking import Tracked
from reports.markdown import LIMIT, escape, span
from reports.watchlist import headline

_MOST: Final = 200
_HEAD: Final = ("capability", "evidence", "before", "after", "where")


class Proposal(NamedTuple):
    """A branch with `files` (path and content) changed, and the text of the pull request that asks for it.

    `before`: what those files were made from; one that is not in it is new.
    """

    pin: NewPin
    branch: str
    title: str
    body: str
    files: Mapping[str, str]
    before: Mapping[str, str]


class Proposer(Protocol):
    """Who carries a proposal to where people look: a branch and a pull request."""

    def propose(self, proposal: Proposal) -> str:
        """Let there be that branch and one pull request of it, and return where; asked twice it changes nothing."""


def body(
    pin: NewPin,
    changes: Sequence[Change],
    tracked: Sequence[Tracked],
    notes: Sequence[str] = (),
    limit: int = LIMIT,
) -> str:
    """Tell what is proposed, why, and what our evidence says of it, in at most `limit` characters of Markdown.

    No line mentions anybody or refers to an upstream thread.
    """
    head = [
        f"{span(pin.stack)}: {span(pin.package)} {span(pin.before)} becomes {span(pin.after)}.",
        "",
        "It brings, by upstream's history:",
        "",
        *(
            f"- {span(one.watch)}: {escape(one.title)} ({escape(headline(one))})"
            for one in tracked
            if one.watch in pin.watches
        ),
        "",
    ]
    tail = ["", *(f"- {escape(note)}" for note in notes)] if notes else []
    if not changes:
        return _cut(
            "\n".join([*head, "No lamp and no verdict of this stack changes with it.", *tail])
            + "\n",
            limit,
        )
    rows = _rows(changes)
    for most in (_MOST, 40, 10, 0):
        left = len(rows) - most
        table = [
            f"What our evidence says of this stack, before and after ({len(changes)} changes):",
            "",
            f"| {' | '.join(_HEAD)} |",
            f"| {' | '.join('---' for _ in _HEAD)} |",
            *rows[:most],
            *(["", f"Left out: {left} of {len(rows)} rows."] if left > 0 else []),
        ]
        text = "\n".join([*head, *table, *tail]) + "\n"
        if len(text) <= limit:
            return text
    return _cut(text, limit)


def told(proposal: Proposal) -> str:
    """Write out what would be sent: branch, title, the change of each file and the text."""
    lines = [f"branch {proposal.branch}", f"title  {proposal.title}", ""]
    for path, content in proposal.files.items():
        lines += difflib.unified_diff(
            proposal.before.get(path, "").splitlines(),
            content.splitlines(),
            f"a/{path}",
            f"b/{path}",
            lineterm="",
        )
    return "\n".join([*lines, "", proposal.body])


def _rows(changes: Sequence[Change]) -> list[str]:
    """Write a row for what turns alike, verdicts first: on which targets, machines and environments."""
    places: dict[tuple[str, str, str, str], list[str]] = {}
    for change in sorted(changes, key=lambda change: change.lamp != "verdict"):
        where = f"{change.target} {change.machine}"
        if len(change.environments) == 1:
            where += f" {change.environments[0]}"
        key = (change.capability, change.lamp, change.before, change.after)
        places.setdefault(key, []).append(where)
    return [
        f"| {' | '.join(escape(word) for word in (*key, ', '.join(where)))} |"
        for key, where in places.items()
    ]


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: max(limit - 2, 0)] + "…\n"
