"""The figures that the project states, measured here and now: `nox -s bench`, or `python -m tests.bench`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table as Grid

from tests.bench import (
    auditing,
    building,
    jobs,
    planning,
    publishing,
    running,
    showing,
    starting,
    timing,
)
from tests.bench.figure import BenchError, Findings

NAMES = ("start", "show", "plan", "jobs", "build", "run", "audit", "publish", "timer")
WIDTH = 110
"""Columns that the tables need; a narrower terminal breaks the lines itself."""


@click.command()
@click.option("--only", "names", multiple=True, type=click.Choice(NAMES), help="Only these.")
@click.option(
    "--rounds", default=5, show_default=True, help="Of start (twice that), show and build."
)
@click.option("--audits", default=3, show_default=True, help="Of audit and by hand, in turn.")
@click.option("--disassemble", is_flag=True, help="By hand: disassemble as well, up to 30 min.")
@click.option("--all-wheels", is_flag=True, help="Read the largest wheel as well.")
@click.option("--json", "file", type=click.Path(dir_okay=False, path_type=Path), help="Figures.")
def main(
    *,
    names: tuple[str, ...],
    rounds: int,
    audits: int,
    disassemble: bool,
    all_wheels: bool,
    file: Path | None,
) -> None:
    """Measure what the project states. Prints figures and aims; ends with 0 whether they are met or not.

    Only `audit` needs the network: it reads a wheel of 336 MB, in part and whole, again and again.
    """
    benches: dict[str, Callable[[], Findings]] = {
        "start": partial(starting.bench, rounds=rounds),
        "show": partial(showing.bench, rounds=rounds),
        "plan": partial(planning.bench, rounds=rounds),
        "jobs": partial(jobs.bench, rounds=rounds),
        "build": partial(building.bench, rounds=rounds),
        "audit": partial(
            auditing.bench, rounds=audits, disassemble=disassemble, largest=all_wheels
        ),
        "publish": partial(publishing.bench, rounds=rounds),
        "timer": partial(timing.bench, rounds=rounds),
        "run": partial(running.bench, rounds=rounds),
    }
    console = Console(highlight=False, width=max(shutil.get_terminal_size().columns, WIDTH))
    console.print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start")
    found: dict[str, Findings] = {}
    failed = False
    for name in NAMES:
        if names and name not in names:
            continue
        try:
            found[name] = benches[name]()
        except BenchError as error:
            failed = True
            click.echo(f"bench {name}: {error}", err=True)
            continue
        tell(console, found[name])
    aims = [aim for each in found.values() for aim in each.aims]
    if aims:
        console.print()
        grid = Grid("aim", "figure", "at most", "", box=None, pad_edge=False, header_style="bold")
        for aim in aims:
            hoped = f" (hoped {aim.hoped:.3g})" if aim.hoped else ""
            figure, bound = f"{aim.figure:.3g} {aim.unit}", f"{aim.bound:.3g} {aim.unit}{hoped}"
            grid.add_row(aim.what, figure, bound, aim.word, style="" if aim.met else "bold red")
        console.print(grid)
    if file:
        values = {name: each.values for name, each in found.items()}
        file.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if failed else 0)


def tell(console: Console, found: Findings) -> None:
    """Print what one bench found."""
    for table in found.tables:
        console.print()
        console.print(table.title, style="bold")
        grid = Grid(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
        for number, column in enumerate(table.columns):
            grid.add_column(column, justify="right" if number else "left")
        for row in table.rows:
            grid.add_row(*row)
        console.print(grid)
    for note in found.notes:
        console.print(note, style="dim", soft_wrap=True)


if __name__ == "__main__":
    main()
