"""What is said in each place on GitHub, within its limit: the diff first, then the matrix. Pure."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, NamedTuple

import msgspec

from matrix.cell import Report
from matrix.vocabulary import VERDICTS
from reports import markdown
from reports.github import difference
from reports.github.change import WORDS, Change, counts
from reports.github.posting import COMMENT, DESCRIPTION, FIELD
from reports.github.required import Required
from reports.github.state import Packed, fingerprint, squeeze, state_of
from reports.markdown import escape, inert
from reports.text import plain

_STEPS: Final = (difference.ALL, 100, 30, 10, 3, 0)
"""Lines of the diff a kind, until it is short enough."""

MARKER: Final = "<!-- nvfp4-matrix "
"""What a sticky comment opens with; then words `name=value`, and ` -->`."""

_TITLE: Final = 255
"""Characters of a check run's title."""

_UNREAD: Final = "**The last post could not be read: nothing is compared.**\n"

_STATE: Final = 16_000
"""Characters that a state may take of a comment."""


class Told(NamedTuple):
    """Everything that a text is made of.

    `compared`: when the last post was true; "" without one, None where it is of no interest.
    `unread`: whether there was one could not be found out.
    """

    report: Report
    required: Required = Required()
    changes: tuple[Change, ...] = ()
    compared: str | None = None
    link: str | None = None
    headline: tuple[str, ...] = ("gemm", "moe")
    unread: bool = False


def identity(told: Told) -> str:
    """Fingerprint what is said, but not when, nor since when, nor where the rest of it is."""
    dated = msgspec.structs.replace(told.report, generated="")
    whole = markdown.render(dated, limit=10**9, headline=told.headline)
    return fingerprint((whole, told.required.sentence, _failing(told, difference.ALL)))


def lead(told: Told, limit: int) -> str:
    """Say what was required and what changed, in at most `limit` characters if that can be."""
    text = ""
    for most in _STEPS:
        parts = (
            f"**Required:** {escape(told.required.sentence)}.\n" if told.required.words else "",
            _changed(told, most),
            _failing(told, most),
        )
        text = "\n".join(part for part in parts if part)
        if len(text) <= limit:
            break
    return text


def text(told: Told, limit: int) -> str:
    """Say all of it in at most `limit` characters: full, then summary and link, then counts and link."""
    return markdown.render(
        told.report,
        limit=limit,
        link=told.link,
        headline=told.headline,
        lead=lead(told, limit // 2),
    )


def comment(told: Told, name: str, state: Packed) -> str:
    """Write a sticky comment; the state goes along where it is small enough."""
    packed = squeeze(state)
    words = f"name={name} hash={identity(told)} at={_word(told.report.generated)}"
    if len(packed) <= _STATE:
        words += f" state={packed}"
    marker = f"{MARKER}{words} -->\n"
    return marker + text(told, COMMENT - len(marker))


def check(told: Told) -> tuple[str, str, str]:
    """Write title, summary and text of a check run: the diff is the summary, the matrix the text."""
    matrix = markdown.render(told.report, limit=FIELD, link=told.link, headline=told.headline)
    return title(told), lead(told, FIELD)[:FIELD], matrix


def title(told: Told) -> str:
    """Say in one line of plain words what was required and what changed."""
    changed = ", ".join(
        f"{number} {WORDS[kind]}"
        for kind, number in counts(told.changes).items()
        if kind in ("regressed", "missing", "fixed")
    )
    return _limited("; ".join(filter(None, (told.required.sentence, changed))), _TITLE)


def description(told: Told) -> str:
    """Say in one line what was required, and the verdicts: a commit status is told apart by its words alone.

    So it does not say what changed, which the same content published twice would change.
    """
    found = Counter(cell.verdict for cell in told.report.cells)
    verdicts = ", ".join(f"{found[each]} {each}" for each in VERDICTS if found[each])
    return _limited(f"{told.required.sentence}; {verdicts}", DESCRIPTION)


def _limited(said: str, limit: int) -> str:
    """`said` as plain words that name nobody, in at most `limit` characters."""
    room = limit
    while len(safe := inert(plain(said, limit=room))) > limit:
        room -= len(safe) - limit
    return safe


def _changed(told: Told, most: int) -> str:
    if told.unread:
        return _UNREAD
    if told.compared is None:
        return ""
    return difference.render(told.report, told.changes, compared=told.compared, most=most)


def _failing(told: Told, most: int) -> str:
    """List the required cells that do not work, and those of which it is not known."""
    required = told.required
    parts = []
    for what, cells in (("does not work", required.failing), ("is not known", required.unknown)):
        if cells:
            found = [Change("other", key, None, seen) for key, seen in state_of(cells).items()]
            title = f"#### Required, and {what}: {len(cells)}"
            parts.append(f"{title}\n\n{difference.listed(told.report, found, most)}\n")
    return "\n".join(parts)


def _word(text: str) -> str:
    """`text` as a word that cannot end an HTML comment."""
    return re.sub(r"[^0-9A-Za-z:.+-]|-(?=-)", "", text) or "?"
