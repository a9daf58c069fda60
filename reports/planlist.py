"""A plan as text: jobs and what is not sent to a runner, neighbouring releases folded into one line."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from matrix.vocabulary import Environment
from reports import duration

if TYPE_CHECKING:
    from matrix.cell import Report, StackSummary
    from matrix.plan import Job, Plan, Pruned

What = frozenset[tuple[Environment, str]]
"""Capabilities by environment, of one place."""

Places = dict[tuple[str, str], set[tuple[Environment, str]]]
"""(target, machine) → what is meant there."""


class Line(NamedTuple):
    """One line of a table: neighbouring releases of which the same is to be told.

    `places`: how many stacks on how many machines that is.
    """

    label: str
    target: str
    machines: tuple[str, ...]
    places: int
    what: What


def text(made: Plan, report: Report) -> str:
    """Return the plan as tables for a terminal, as wide as it is."""
    from io import StringIO  # noqa: PLC0415

    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from reports.console import coloured, text_console  # noqa: PLC0415
    from reports.marks import ASCII  # noqa: PLC0415

    out = StringIO()
    columns = shutil.get_terminal_size((80, 24)).columns
    console = text_console(out, width=columns, colour=coloured())
    environments = tuple(dict.fromkeys(cell.environment for cell in report.cells))

    def table(lines: Iterable[Line], unit: str) -> None:
        grid = Table(
            box=None,
            pad_edge=False,
            padding=(0, 2, 0, 0),
            header_style="bold",
            show_header=unit == "jobs",
        )
        for heading in ("stack", "target", "machine"):
            grid.add_column(heading, overflow="fold")
        grid.add_column(unit, justify="right")
        grid.add_column("what", overflow="fold", ratio=1)
        before = ""
        for line in lines:
            grid.add_row(
                Text("" if line.label == before else line.label),
                Text(line.target),
                Text(", ".join(line.machines)),
                Text(str(line.places if unit == "jobs" else line.places * len(line.what))),
                Text(_words(line.what, environments)),
            )
            before = line.label
        console.print(grid)

    cells = len(report.cells)
    sent = cells - len(made.pruned)
    jobs = len(made.jobs)
    console.print(
        Text(
            f"{jobs} job{'s' * (jobs != 1)}, {sent} of {cells} cells to probe"
            + _minutes(made.jobs, "about {} of GPUs"),
            style="bold",
        )
    )
    if made.jobs:
        table(_lines(report.stacks, _of_jobs(made)), "jobs")
        console.print(
            Text(
                "A runner needs the labels self-hosted, linux, x64 or arm64, gpu, and the target.",
                style="dim",
            )
        )
    if made.pruned:
        console.print()
        saved = _minutes(made.pruned, "about {} of GPUs saved")
        console.print(
            Text(
                f"Not sent to a runner: {len(made.pruned)} cell{'s' * (len(made.pruned) != 1)}{saved}",
                style="bold",
            )
        )
    for (verdict, reason), places in _by_reason(made).items():
        console.print()
        console.print(Text(f"{verdict}: {reason or 'no reason is known'}", style="bold"))
        table(_lines(report.stacks, places), "cells")
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    if (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8":
        text = text.translate(ASCII).encode("ascii", "replace").decode("ascii")
    return text


def _minutes(of: Iterable[Job | Pruned], words: str) -> str:
    """Tell what earlier runs took for the same; "" where none tells anything."""
    seconds = sum(one.seconds for one in of)
    return ", " + words.format(duration.told(seconds)) if seconds else ""


def _of_jobs(made: Plan) -> dict[str, Places]:
    """Tell what is probed where, by stack."""
    found: dict[str, Places] = {}
    for job in made.jobs:
        found.setdefault(job.stack, {})[job.target, job.machine] = {
            (environment, name) for environment, names in job.cells.items() for name in names
        }
    return found


def _by_reason(made: Plan) -> dict[tuple[str, str], dict[str, Places]]:
    """Tell what is pruned where, by verdict and reason, then by stack; the commonest reason first."""
    found: dict[tuple[str, str], dict[str, Places]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for one in made.pruned:
        key = (one.verdict, one.reason)
        places = found.setdefault(key, {}).setdefault(one.stack, {})
        places.setdefault((one.target, one.machine), set()).add((one.environment, one.capability))
        counts[key] += 1
    return {key: found[key] for key in sorted(found, key=lambda key: (-counts[key], key))}


def _lines(stacks: Sequence[StackSummary], told: Mapping[str, Places]) -> Iterator[Line]:
    """Fold neighbouring releases of one series with the same places, and machines that say the same."""
    from reports.fold import WRITTEN, Row, series  # noqa: PLC0415
    from reports.text import plain  # noqa: PLC0415

    def shared(stack: StackSummary) -> tuple[Places | None, str]:
        # A stack with a name by hand is no release, and shares nothing with its neighbour.
        return told.get(stack.name), stack.name if series(stack) == WRITTEN else ""

    families: dict[str, list[StackSummary]] = {}
    for stack in stacks:
        families.setdefault(series(stack), []).append(stack)
    for name, members in families.items():
        for (places, _), run in groupby(members, shared):
            if not places:
                continue
            row = Row(name, tuple(run), {})
            together: dict[tuple[str, What], list[str]] = {}
            for (target, machine), what in places.items():
                together.setdefault((target, frozenset(what)), []).append(machine)
            for (target, found), machines in together.items():
                count = len(row.stacks) * len(machines)
                yield Line(plain(row.title), plain(target), tuple(machines), count, found)


def _words(what: What, environments: Sequence[Environment]) -> str:
    """Name capabilities; last, and behind their environment, those that are not meant in all of them."""
    where: dict[str, list[str]] = {}
    for name in sorted({capability for _, capability in what}):
        inside = [environment for environment in environments if (environment, name) in what]
        everywhere = len(inside) == len(environments)
        where.setdefault("" if everywhere else ", ".join(inside), []).append(name)
    return "; ".join(
        f"{inside}: {', '.join(names)}" if inside else ", ".join(names)
        for inside, names in sorted(where.items())
    )
