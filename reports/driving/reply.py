"""What is answered under an issue or a pull request: that it began, and what came of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from matrix.executed import Executed, Spot
from matrix.journal import Reading
from matrix.planned import PlanOutput, spots
from matrix.proberun import ProbeRun
from matrix.vocabulary import Environment
from reports.driving.asked import USAGE, Asked
from reports.github.content import MARKER
from reports.github.posting import COMMENT
from reports.github.redact import Redactor
from reports.github.state import fingerprint
from reports.markdown import escape, span

_SIGNS: Final = {"pass": "✓", "fail": "✗", "slow": "◔", "fallback": "◑"}
_MOST: Final = 300
"""Cells that are told one by one; a plan of one target and stack has a tenth."""


class Row(NamedTuple):
    """What became of one cell."""

    stack: str
    place: str
    capability: str
    status: str
    why: str


def began(asked: Asked, link: str) -> str:
    """Say that a run was started."""
    stack = span(asked.stack) if asked.stack else "the newest stack"
    return f"Probing {stack} on {span(asked.target)}. {_see(link)}\n"


def unclear(why: str) -> str:
    """Say what was not understood."""
    return f"Nothing was started: {escape(why)}. {USAGE}\n"


def ended(plan: PlanOutput | None, read: Reading, link: str) -> str:
    """Say what came of a run, a line a cell; without a plan it ended before it had one."""
    if plan is None:
        return f"The run ended before it had planned anything. {_see(link)}\n"
    found = rows(plan, read)
    if not found:
        return f"Nothing was worth a GPU: {len(plan.pruned)} cells cannot work, and it is known why. {_see(link)}\n"
    lines = [
        f"| {span(row.stack)} | {escape(row.place)} | {escape(row.capability)} "
        f"| {_SIGNS.get(row.status, '?')} {escape(row.status)} | {escape(row.why)} |"
        for row in found[:_MOST]
    ]
    head = "| stack | where | capability | result | why |\n| --- | --- | --- | --- | --- |\n"
    left = f"\n{len(found) - _MOST} more cells. " if len(found) > _MOST else "\n"
    text = f"{_counted(found)}\n\n{head}" + "\n".join(lines) + f"\n{left}{_see(link)}\n"
    if len(text) > COMMENT - 1000:
        text = f"{_counted(found)} {_see(link)}\n"
    return text


def rows(plan: PlanOutput, read: Reading) -> tuple[Row, ...]:
    """Tell every cell that was planned, by what came back since."""
    results = [result for result in read.results if result.when >= plan.when]
    ran = Executed(results, read.runs)
    runs = [run for run in read.runs if run.when >= plan.when]
    found = []
    for spot in spots((*plan.include, *plan.missing)):
        stack, target, machine, environment, capability = spot
        row = ran.at(Spot(stack, target, machine, capability), _environment(environment))  # type: ignore[arg-type]
        if row is not None:
            told = next((result.text for result in row.results if result.text), "")
            why = Redactor().text(": ".join(filter(None, (row.reason, told))))
            status = str(row.status)
        else:
            status, why = _left_out(spot, runs)
        found.append(Row(stack, f"{target} {machine} {environment}", capability, status, why))
    return tuple(found)


def marked(name: str, text: str, when: str) -> tuple[str, str]:
    """Return a comment's body with the mark by which it is found again, and its hash."""
    made = fingerprint((text,))
    return f"{MARKER}name={name} hash={made} at={when} -->\n{text}", made


def _left_out(spot: tuple[str, ...], runs: Sequence[ProbeRun]) -> tuple[str, str]:
    """Say why a run has no result of a cell."""
    for run in runs:
        if (run.stack, run.target, run.machine, run.environment) == spot[:4]:
            for skipped in run.skipped:
                if skipped.capability == spot[4]:
                    return "skip", skipped.why or f"what run {skipped.run} found still holds"
            return "skip", "the suite has no probe of it there"
    return "missing", "nothing came back"


def _environment(word: str) -> Environment:
    return "devel" if word == "devel" else "slim"


def _counted(found: Sequence[Row]) -> str:
    counts: dict[str, int] = {}
    for row in found:
        counts[row.status] = counts.get(row.status, 0) + 1
    return (
        f"{len(found)} cells: "
        + ", ".join(f"{n} {word}" for word, n in sorted(counts.items()))
        + "."
    )


def _see(link: str) -> str:
    return f"[The run]({link})." if link else ""
