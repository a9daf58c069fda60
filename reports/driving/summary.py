"""What a run's summary says first: what came back, and what is missing and why. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from matrix.result import Result
from matrix.returned import Taken
from reports.markdown import escape, span

_MOST = 20
"""Places that are told one by one."""


def text(taken: Taken, lost: Sequence[Result], refused: Sequence[str]) -> str:
    """Write it as Markdown; what is missing is told by runner, with the number of its cells."""
    results = sum(isinstance(line, Result) for lines in taken.runs.values() for line in lines)
    parts = [f"## What came back\n\n{results} results of {len(taken.runs)} runs.\n"]
    places = Counter((r.target, r.machine, r.text) for r in lost)
    if places:
        parts.append(f"**{len(lost)} cells are missing:**\n\n")
        parts += [
            f"- {span(target)} {machine}: {escape(why)} ({count} cells)\n"
            for (target, machine, why), count in places.most_common(_MOST)
        ]
        if len(places) > _MOST:
            parts.append(f"- and {len(places) - _MOST} more\n")
    if refused:
        parts.append(
            f"\n{len(refused)} lines or files were left out; the log of this step names them.\n"
        )
    return "\n".join(parts[:1]) + "\n" + "".join(parts[1:])
