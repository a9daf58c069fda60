"""What became of watched changes, as text: the answer first, then what it rests on."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from matrix.effect import Change
from matrix.landing import By
from matrix.tracking import NONE, Tracked
from matrix.watching import Source, WatchReport
from reports.text import plain

_NARROWEST: Final = 40
_MOST: Final = 12
"""Changes of evidence that are told one by one; `--json` has all."""
_BY: Final[dict[By, str]] = {
    "subject": "",
    "patch": ", by its patch",
    "message": ", by its message",
}
_WORDS: Final = {
    "unchanged": "our evidence did not change",
    "not_measured": "nothing here was measured on both sides of it",
    "not_released": "in no release yet",
}


def render(report: WatchReport, width: int = 80) -> str:
    """`report` as text of at most `width` columns (40 at least), with a final newline."""
    width = max(width, _NARROWEST)
    lines = _wrap(counted(report), width, "")
    for one in report.watched:
        lines += ["", *_wrap(f"{plain(one.watch)}  {headline(one)}", width, "", "  ")]
        lines += _wrap(plain(one.title), width, "    ")
        for told in _told(one):
            lines += _wrap(told, width, "    ", "      ")
    still = [one.watch for one in report.watched if one.evidence == "unchanged"]
    if still:
        lines += [
            "",
            *_wrap(
                f"Released, and our evidence did not change: {', '.join(still)}", width, "", "  "
            ),
        ]
    if report.sources:
        lines += ["", "Read:"]
        for source in report.sources:
            lines += _wrap(_source(source), width, "  ", "    ")
    return "\n".join(lines) + "\n"


def headline(one: Tracked) -> str:
    """Say in one line what became of a change: "merged, in 0.20.0, compiled turned yes on sm121"."""
    words: list[str] = [one.state]
    if one.first_release not in (NONE, "unknown"):
        at_latest = " at the latest" if one.at_latest else ""
        words.append(f"in {plain(one.first_release)}{at_latest}")
    if told := evidence(one):
        words.append(told)
    return ", ".join(words)


def evidence(one: Tracked) -> str:
    """Say what our evidence did; "" where nothing is known of it."""
    if one.evidence == "changed":
        return ", ".join(_turned(one.changes))
    return _WORDS.get(one.evidence, "")


def counted(report: WatchReport) -> str:
    """Count the changes by state."""
    states = Counter(one.state for one in report.watched)
    return f"{len(report.watched)} watched: " + ", ".join(
        f"{n} {state}" for state, n in states.most_common()
    )


def _turned(changes: Sequence[Change]) -> list[str]:
    """Tell the first change of each lamp that matters most: wheel before stack, verdict last."""
    found: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        found.setdefault((change.lamp, change.after), []).append(change.target)
    told = [
        f"{lamp} turned {after} on {' and '.join(dict.fromkeys(targets))}"
        for (lamp, after), targets in found.items()
    ]
    return told[:2]


def _told(one: Tracked) -> Iterator[str]:
    if one.merged:
        yield f"{one.merged[:12]} of {one.merged_day}; nightly {plain(one.first_nightly)}; image {plain(one.first_image)}"
    if one.releases:
        yield f"releases with it: {plain(', '.join(one.releases))}"
    for landed in one.landed:
        if landed.how != "merged":
            where = f" on {', '.join(landed.branches)}" if landed.branches else ""
            yield plain(
                f"{landed.how}: {landed.commit[:12]} of {landed.day}{where}{_BY[landed.by]}"
            )
    if told := list(_answers(one)):
        yield f"our stacks: {', '.join(told)}"
    if one.changes:
        yield plain(f"from {', '.join(one.before)} to {', '.join(one.after)}:")
        yield from _changes(one.changes)
    elif one.evidence == "unchanged":
        yield plain(f"the same: {', '.join(one.before)} and {', '.join(one.after)}")
    yield from map(plain, one.notes)


def _changes(changes: Sequence[Change]) -> Iterator[str]:
    for change in changes[:_MOST]:
        where = f" ({', '.join(change.environments)})" if change.environments else ""
        yield plain(
            f"- {change.capability} {change.lamp} was {change.before}, is {change.after}"
            f" on {change.target} {change.machine}{where}"
        )
    if len(changes) > _MOST:
        yield f"- and {len(changes) - _MOST} more; --json tells all"


def _answers(one: Tracked) -> Iterator[str]:
    for answer, word in (("yes", "have it"), ("no", "do not"), ("unknown", "unknown")):
        names = next((names for key, names in one.stacks.items() if key == answer), ())
        if names:
            yield f"{len(names)} {word}{_ends(names) if answer == 'yes' else ''}"


def _ends(names: Sequence[str]) -> str:
    """Name the oldest and the newest release; `names` are in the order of `show`, newest first."""
    releases = [name for name in names if "==" in name and "[" not in name] or list(names)
    ends = dict.fromkeys((releases[-1], releases[0]))
    return f" ({plain(' to '.join(ends))})"


def _source(source: Source) -> str:
    release = (
        f", newest release {source.newest_release}" if source.newest_release else ", no release tag"
    )
    shallow = ", shallow" if source.shallow else ""
    if source.untagged:
        shallow += f"; {source.untagged} published releases are newer, and it tells nothing of them"
    return plain(
        f"{source.repository} up to {source.day}{release}, {source.commits} commits{shallow}"
    )


def _wrap(text: str, width: int, first: str, rest: str | None = None) -> list[str]:
    wrapped = textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )
    return wrapped or [first]
