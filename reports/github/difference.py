"""What changed, as Markdown: the part of a post that people read first. Cells that changed alike are one line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple, cast

from matrix.cell import Report, StackSummary
from matrix.vocabulary import Verdict
from reports.fold import WRITTEN, series, span
from reports.github.change import KINDS, WORDS, Change, Kind, counts
from reports.github.state import Seen
from reports.markdown import escape
from reports.markdown import span as code
from reports.marks import GLYPHS

ALL: Final = 1_000_000
"""As many lines as there are."""

_QUIET: Final[frozenset[Kind]] = frozenset({"still", "new", "other"})
"""Kinds that are told in a part that opens on a click."""


class Line(NamedTuple):
    """Cells that changed alike: where, what it was and is, and how many they are."""

    text: str
    cells: int


def render(report: Report, found: Sequence[Change], *, compared: str, most: int = ALL) -> str:
    """Tell `found` in at most `most` lines a kind; what that leaves out is counted.

    `compared` says when the last post was true; "" is: there was none.
    """
    if not compared:
        return "**First post: there is nothing to compare with yet.**\n"
    counted = counts(found)
    since = f"since {code(compared)}"
    if not counted:
        return f"**Nothing changed {since}.**\n"
    told = ", ".join(f"{number} {WORDS[kind]}" for kind, number in counted.items())
    parts = [f"**{told}** {since}.\n"]
    for kind in KINDS:
        if kind in counted:
            same = [change for change in found if change.kind == kind]
            parts.append(_part(kind, counted[kind], listed(report, same, most)))
    return "\n".join(parts)


def listed(report: Report, found: Sequence[Change], most: int) -> str:
    """List changes in at most `most` lines, and how many lines and cells that leaves out."""
    lines = _lines(report, found)
    shown = [f"- {line.text}" for line in lines[:most]]
    left = lines[most:]
    if left:
        cells = sum(line.cells for line in left)
        number = "1 line" if len(left) == 1 else f"{len(left)} lines"
        shown.append(f"- **Left out: {number} ({cells} {'cell' if cells == 1 else 'cells'}).**")
    return "\n".join(shown)


def _part(kind: Kind, number: int, text: str) -> str:
    if kind not in _QUIET:
        return f"#### {WORDS[kind].capitalize()}: {number}\n\n{text}\n"
    title = f"{WORDS[kind].capitalize()}: {number}"
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>\n"


def _lines(report: Report, found: Sequence[Change]) -> list[Line]:
    """Fold changes: those of one capability from and to the same are joined, by stacks and by places."""
    alike: dict[tuple[str, str], list[Change]] = {}
    for change in found:
        alike.setdefault((change.key.capability, _became(change)), []).append(change)
    lines = []
    for (capability, became), members in alike.items():
        where = "; ".join(_where(report, members))
        cells = f"{len(members)} cells" if len(members) > 1 else "1 cell"
        lines.append(Line(f"**{escape(capability)}** {became}: {where} ({cells})", len(members)))
    return lines


def _became(change: Change) -> str:
    """`● likely → ✗ broken`, with the reason of what is now."""
    if change.after is None:
        return f"{_seen(change.before)} → gone from the matrix"
    reason = f" {code(change.after.reason)}" if change.after.reason else ""
    if change.before is None or change.before.verdict == change.after.verdict:
        ran = change.before and change.before.executed != change.after.executed
        became = f", ran: {_ran(change.before)} → {_ran(change.after)}" if ran else ""
        return f"{_seen(change.after)}{reason}{became}"
    return f"{_seen(change.before)} → {_seen(change.after)}{reason}"


def _seen(seen: Seen | None) -> str:
    if seen is None:
        return ""
    # A state may have been kept by another release, and be edited by hand.
    return f"{GLYPHS.get(cast('Verdict', seen.verdict), '')} {escape(seen.verdict)}".strip()


def _ran(seen: Seen | None) -> str:
    return escape(seen.executed) if seen else ""


def _where(report: Report, members: Sequence[Change]) -> Iterator[str]:
    """Name stacks and places; stacks that changed in the same places are joined to ranges."""
    places: dict[str, set[tuple[str, str, str]]] = {}
    for change in members:
        places.setdefault(change.key.stack, set()).add(change.key[1:4])
    joined: dict[frozenset[tuple[str, str, str]], list[str]] = {}
    for stack, held in places.items():
        joined.setdefault(frozenset(held), []).append(stack)
    for where, stacks in joined.items():
        yield f"{', '.join(_names(report.stacks, stacks))} on {_places(report, where)}"


def _names(stacks: Sequence[StackSummary], named: Sequence[str]) -> Iterator[str]:
    """Write runs of consecutive releases as ranges; what the matrix no longer has by its name."""
    known = {stack.name for stack in stacks}
    for lead, members in _families(stacks).items():
        ranks = [(at, each) for at, each in enumerate(members) if each.name in named]
        for _, run in groupby(enumerate(ranks), key=lambda pair: pair[1][0] - pair[0]):
            same = [each for _, (_, each) in run]
            yield code(same[0].name if lead == WRITTEN else f"{lead} {span(same)}")
            if lead == WRITTEN:
                yield from (code(each.name) for each in same[1:])
    yield from (code(name) for name in named if name not in known)


def _families(stacks: Sequence[StackSummary]) -> dict[str, list[StackSummary]]:
    found: dict[str, list[StackSummary]] = {}
    for stack in stacks:
        found.setdefault(series(stack), []).append(stack)
    return found


def _places(report: Report, held: frozenset[tuple[str, str, str]]) -> str:
    """`sm120, sm121 (devel), sm100 (aarch64)`: machine and environment where it is one of two."""
    environments = {cell.environment for cell in report.cells}
    named = []
    for target in report.targets:
        here = {place[1:] for place in held if place[0] == target.name}
        if not here:
            continue
        machines = [m for m in target.machines if any(m == place[0] for place in here)]
        seen = {place[1] for place in here}
        whole = len(here) == len(machines) * len(seen)
        only = [] if len(machines) == len(target.machines) and whole else machines
        if whole:
            only += sorted(seen) if seen != environments else []
        else:
            only = sorted(f"{machine} {environment}" for machine, environment in here)
        named.append(escape(target.name) + (f" ({escape(', '.join(only))})" if only else ""))
    known = {target.name for target in report.targets}
    named += sorted({escape(place[0]) for place in held if place[0] not in known})
    return ", ".join(named)
