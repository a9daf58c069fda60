"""`nvfp4-matrix plan`: jobs for GPU runners, and what is not worth one."""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from matrix.errors import ConfigurationError, NotFoundError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment
from reports.executed import kept

if TYPE_CHECKING:
    from matrix.cell import Report, StackSummary
    from matrix.knowledge import Knowledge
    from matrix.plan import Plan
    from matrix.target import Target

GITHUB_JOBS: Final = 256
"""Most jobs that GitHub Actions makes of one matrix (GitHub's documentation, "Usage limits")."""

EXAMPLES = """\b
Examples:
  nvfp4-matrix plan                                  the newest stack, every GPU with FP4
  nvfp4-matrix plan --target sm121 --capability gemm --capability moe
  nvfp4-matrix plan --stack 'vllm>=0.20' --machine aarch64 --environment devel
  nvfp4-matrix plan --target sm90                    the control, only when asked for
  nvfp4-matrix plan --json > plan.json

\b
In a workflow, with the JSON as output `plan` of an earlier job:
  strategy:
    matrix:
      include: ${{ fromJSON(needs.plan.outputs.plan).include }}
  runs-on: ${{ matrix.runs_on }}
"""


@click.command(epilog=EXAMPLES)
@click.option("--stack", "stacks", multiple=True, metavar="STACK", help="Name, or a range of them.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="sm120, sm121, …")
@click.option("--machine", "machines", multiple=True, type=click.Choice(MACHINES), help="CPU.")
@click.option(
    "--capability", "capabilities", multiple=True, metavar="CAPABILITY", help="gemm, moe, …"
)
@click.option(
    "--environment",
    "environments",
    multiple=True,
    type=click.Choice(ENVIRONMENTS),
    help="slim: what pip installs; devel: plus nvcc and ninja.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was executed, if not from the default folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    *,
    stacks: tuple[str, ...],
    targets: tuple[str, ...],
    machines: tuple[str, ...],
    capabilities: tuple[str, ...],
    environments: tuple[Environment, ...],
    folder: Path | None,
    as_json: bool,
) -> None:
    """Plan jobs for GPU runners: stack x target x machine, and what to probe in each.

    What is known to be incomplete is not sent to a runner; the plan says why. Without --stack it is for the
    newest one; without --target for every GPU that has FP4 hardware.
    """
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.plan import plan as planned  # noqa: PLC0415

    knowledge = Knowledge.load()
    gpus = _gpus(knowledge, targets, machines)
    chosen = stacks or (_newest(knowledge),)
    report = knowledge.report(
        generated="",
        stacks=chosen,
        targets=[gpu.name for gpu in gpus],
        machines=machines,
        environments=environments,
        capabilities=capabilities,
        executed=kept(folder),
    )
    if not stacks:
        click.echo(f"planning {chosen[0]}, the newest stack; --stack chooses others", err=True)
    made = planned(report, controls={gpu.name for gpu in gpus if not gpu.fp4})
    click.echo(_json(made) if as_json else _text(made, report), nl=False)
    count = len(made.jobs)
    if not count:
        click.echo("nvfp4-matrix: no job: every cell is pruned", err=True)
    if count > GITHUB_JOBS:
        click.echo(
            f"nvfp4-matrix: {count} jobs, and GitHub runs {GITHUB_JOBS} of one matrix at most: "
            "narrow the plan with --stack, --target or --machine",
            err=True,
        )


def _newest(knowledge: Knowledge) -> str:
    """Name the newest stack. Raises NotFoundError where there is none."""
    if not knowledge.stacks:
        raise NotFoundError("there is no stack to plan for: the ledger holds no wheel of one")
    return knowledge.stacks[0].name


def _gpus(knowledge: Knowledge, asked: Sequence[str], machines: Sequence[str]) -> list[Target]:
    """Pick the targets that are planned for. Raises ConfigurationError where no machine fits one."""
    configuration = knowledge.configuration
    if asked:
        gpus = [configuration.target(name) for name in dict.fromkeys(asked)]
    else:
        gpus = [gpu for gpu in configuration.targets if gpu.fp4]
    if machines and not any(machine in gpu.machines for gpu in gpus for machine in machines):
        exist = "; ".join(f"{gpu.name} exists with {' and '.join(gpu.machines)}" for gpu in gpus)
        raise ConfigurationError(f"no such machine: {exist} only")
    return gpus


def _json(made: Plan) -> str:
    """Tell the plan as one object: `include` is what GitHub takes, one entry a job."""
    import msgspec  # noqa: PLC0415

    from matrix.plan import labels  # noqa: PLC0415

    include = [
        {
            "stack": job.stack,
            "target": job.target,
            "machine": job.machine,
            "environments": list(job.cells),
            "capabilities": list(dict.fromkeys(n for names in job.cells.values() for n in names)),
            "cells": job.cells,
            "runs_on": labels(job),
        }
        for job in made.jobs
    ]
    return msgspec.json.encode({"include": include, "pruned": made.pruned}).decode() + "\n"


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


def _text(made: Plan, report: Report) -> str:
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
        Text(f"{jobs} job{'s' * (jobs != 1)}, {sent} of {cells} cells to probe", style="bold")
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
        console.print(Text(f"Not sent to a runner: {len(made.pruned)} cells", style="bold"))
    for (verdict, reason), places in _by_reason(made).items():
        console.print()
        console.print(Text(f"{verdict}: {reason or 'no reason is known'}", style="bold"))
        table(_lines(report.stacks, places), "cells")
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    if (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8":
        text = text.translate(ASCII).encode("ascii", "replace").decode("ascii")
    return text


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
