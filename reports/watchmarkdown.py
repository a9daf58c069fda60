"""What became of watched changes as GitHub-flavoured Markdown, within a limit, without a reference to any thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from matrix.tracking import NONE, UNKNOWN, Tracked
from matrix.watching import WatchReport
from reports.markdown import LIMIT, escape, span
from reports.watchlist import counted, evidence

_HEAD: Final = ("change", "what", "state", "first release", "nightly", "image", "our evidence")


def render(report: WatchReport, limit: int = LIMIT) -> str:
    """`report` as a table of at most `limit` characters; what had to be left out is counted.

    Steps: everything; without what each change is; only those that are released and whose evidence did not change; counts.
    """
    head = f"## Watched upstream\n\n{escape(counted(report))}.\n"
    whole = list(report.watched)
    still = [one for one in whole if one.evidence == "unchanged"]
    for shown, columns in ((whole, len(_HEAD)), (whole, 0), (still, 0)):
        text = "\n".join(
            (head, _table(shown, titled=bool(columns)), _left(len(whole) - len(shown)))
        )
        if len(text) <= limit:
            return text
    text = f"{head}\n{_left(len(whole))}"
    return text if len(text) <= limit else text[:limit]


def _table(shown: Sequence[Tracked], *, titled: bool) -> str:
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_row, shown)]
    if not titled:
        rows = [(row[0], *row[2:]) for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _row(one: Tracked) -> tuple[str, ...]:
    builds = (one.first_release, one.first_nightly, one.first_image)
    names = (build if build in (NONE, UNKNOWN) else span(build) for build in builds)
    return (span(one.watch), escape(one.title), one.state, *names, escape(evidence(one)))


def _left(count: int) -> str:
    return f"**Left out: {count} changes.**\n" if count else ""
