"""What is said in each place on GitHub, within its limit: the diff first, then the matrix. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from matrix.cell import Report
from reports import markdown
from reports.github import difference
from reports.github.change import WORDS, Change, counts
from reports.github.posting import COMMENT, DESCRIPTION, FIELD
from reports.github.required import Required
from reports.github.state import Packed, fingerprint, squeeze
from reports.markdown import escape, inert
from reports.marks import GLYPHS
from reports.text import plain

_STEPS: Final = (difference.ALL, 100, 30, 10, 3, 0)
"""Lines of the diff a kind, until it is short enough."""

MARKER: Final = "<!-- nvfp4-matrix "
"""What a sticky comment opens with; then words `name=value`, and ` -->`."""

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
    return fingerprint((whole, told.required.sentence, _failing(told.required, difference.ALL)))


def lead(told: Told, limit: int) -> str:
    """Say what was required and what changed, in at most `limit` characters if that can be."""
    text = ""
    for most in _STEPS:
        parts = (
            f"**Required:** {escape(told.required.sentence)}.\n" if told.required.words else "",
            _failing(told.required, most),
            _changed(told, most),
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
    return description(told, 255), lead(told, FIELD)[:FIELD], matrix


def description(told: Told, limit: int = DESCRIPTION) -> str:
    """Say it in one line of plain words."""
    changed = ", ".join(
        f"{number} {WORDS[kind]}"
        for kind, number in counts(told.changes).items()
        if kind in ("regressed", "missing", "fixed")
    )
    return plain(inert("; ".join(filter(None, (told.required.sentence, changed)))), limit=limit)


def _changed(told: Told, most: int) -> str:
    if told.unread:
        return _UNREAD
    if told.compared is None:
        return ""
    return difference.render(told.report, told.changes, compared=told.compared, most=most)


def _failing(required: Required, most: int) -> str:
    """List the required cells that do not work, and those of which it is not known."""
    lines = []
    for cell in (*required.failing, *required.unknown):
        reason = f" {markdown.span(cell.reason)}" if cell.reason else ""
        where = f"{cell.stack} on {cell.target}, {cell.machine}, {cell.environment}"
        verdict = f"{GLYPHS[cell.verdict]} {cell.verdict}"
        lines.append(f"- {verdict}{reason}: **{escape(cell.capability)}**, {markdown.span(where)}")
    return _cut(lines, most)


def _cut(lines: Sequence[str], most: int) -> str:
    left = len(lines) - most
    shown = [*lines[:most], *([f"- **Left out: {left} of {len(lines)}.**"] if left > 0 else [])]
    return "\n".join(shown) + "\n" if shown else ""


def _word(text: str) -> str:
    """`text` as a word that cannot end an HTML comment."""
    return re.sub(r"[^0-9A-Za-z:.+-]|-(?=-)", "", text) or "?"
