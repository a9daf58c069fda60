"""From cells to what a workflow is handed: planning, who is there to take a job, chunks, and the JSON of it."""

from __future__ import annotations

import time
from collections import Counter
from typing import Final

import msgspec

from matrix.cell import Report
from matrix.chunk import chunks
from matrix.knowledge import Knowledge
from matrix.plan import plan
from matrix.planned import handed_on
from matrix.runner import Label, Runner, attendance
from tests.bench.figure import Aim, Findings, Table, Times, slope, told

SIZES: Final = (1_000, 2_000, 5_000, 10_000, 20_000, 50_000)
STATED: Final = 5_000
BOUND: Final = 1.0
REPEAT: Final = 15
_WHEN: Final = "2026-11-21T03:00:00Z"


def bench(*, rounds: int) -> Findings:
    """Time the whole way over the real report, repeated to more and more cells, and beside it the least that there is to do."""
    del rounds  # fifteen are steady, and quick
    real = Knowledge.load().report(generated="")
    reports = {size: _repeated(real, size) for size in SIZES}
    taken: dict[int, tuple[list[float], list[float]]] = {size: ([], []) for size in SIZES}
    for _ in range(REPEAT):
        # In turn, so that what else the machine does falls on every size and on both.
        for size, report in reports.items():
            for work, seconds in zip((_ours, _bare), taken[size], strict=True):
                began = time.perf_counter()
                work(report)
                seconds.append(time.perf_counter() - began)
    found = Findings()
    rows, least = [], []
    for size, report in reports.items():
        ours, bare = (Times(tuple(seconds)) for seconds in taken[size])
        jobs, parts, size_of = _made(report)
        ratio = ours.median / bare.median
        least.append(min(ours.seconds))
        rows.append(
            (
                f"{len(report.cells):,} cells",
                told(ours.median),
                ours.spread,
                told(bare.median),
                f"{ratio:.1f}",
                f"{jobs:,} jobs, {parts} chunks, {size_of / 1000:.0f} kB",
            )
        )
        if size == STATED:
            found.values["jobs_5000_s"] = ours.median
            found.values["jobs_5000_over_bare"] = ratio
            found.aims.append(Aim(f"planning {STATED:,} cells", ours.median, BOUND, "s"))
    steep = slope(SIZES, least)
    found.values["jobs_slope"] = steep
    found.aims.append(Aim(f"planning, slope over {SIZES[0]:,} to {SIZES[-1]:,}", steep, 1.1, ""))
    columns = ("planning", "median", "spread", "grouping alone", "x grouping", "makes")
    title = f"cells to a workflow's matrix: log-log slope {steep:.2f} (1 is linear)"
    found.tables.append(Table(title, columns, tuple(rows)))
    found.notes.append(
        "planning: plan, runners (one a target), chunks and the JSON of the plan and its outputs. "
        "grouping alone: one loop that puts cells under stack, target and machine, and the JSON of that. The report itself, which `bench --only show` times, is not in it."
    )
    return found


def _ours(report: Report) -> bytes:
    made = plan(report, controls={"sm90"})
    there = attendance(made.jobs, RUNNERS)
    why = {kind: (words, _WHEN) for kind, words in there.absent.items()}
    kept = msgspec.structs.replace(made, jobs=there.present)
    handed = handed_on(kept, when=_WHEN, away=there.away, why=why)
    return msgspec.json.encode(handed) + msgspec.json.encode(
        chunks(there.present, runners=there.online)
    )


def _bare(report: Report) -> bytes:
    groups: dict[tuple[str, str, str], list[tuple[str, str]]] = {}
    for cell in report.cells:
        place = (cell.stack, cell.target, cell.machine)
        groups.setdefault(place, []).append((cell.environment, cell.capability))
    return msgspec.json.encode([(*place, cells) for place, cells in groups.items()])


def _made(report: Report) -> tuple[int, int, int]:
    """How many jobs and chunks come of it, and how many bytes a workflow is handed."""
    made = plan(report, controls={"sm90"})
    there = attendance(made.jobs, RUNNERS)
    parts = chunks(there.present, runners=there.online)
    return len(there.present), len(parts), len(msgspec.json.encode(parts))


def _repeated(report: Report, size: int) -> Report:
    """Give a report of `size` cells: the real one again and again, with stacks of other names."""
    rename = msgspec.structs.replace
    cells, stacks = list(report.cells[:size]), list(report.stacks)
    again = 0
    while len(cells) < size:
        again += 1
        cells += [rename(c, stack=f"{c.stack}#{again}") for c in report.cells[: size - len(cells)]]
        stacks += [rename(s, name=f"{s.name}#{again}") for s in report.stacks]
    named = Counter(cell.stack for cell in cells)
    kept = tuple(stack for stack in stacks if stack.name in named)
    return rename(report, cells=tuple(cells), stacks=kept)


def _runner(target: str, machine: str) -> Runner:
    names = ("self-hosted", "Linux", machine, "gpu", target)
    return Runner(name=target, status="online", labels=tuple(Label(name) for name in names))


RUNNERS: Final = tuple(
    _runner(target, machine)
    for target in ("sm90", "sm100", "sm103", "sm110", "sm120", "sm121")
    for machine in ("X64", "ARM64")
)
"""One of each kind, so that every job is sent."""
