"""How far the reading of wheels is: bars on a terminal, one line a wheel anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import click

from matrix.measurement import Outcome, Progress, Watch
from reports.text import plain

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from matrix.evidence.wheelfile import WheelFile

_MEGABYTE: Final = 1e6
_WAITING: Final = "another refresh of this ledger is running; waiting for it"


def told(file: WheelFile, outcome: Outcome) -> str:
    """Say in one line what became of a wheel."""
    name = plain(file.filename)
    if isinstance(outcome, Exception):
        return f"{name}: failed: {plain(str(outcome)) or type(outcome).__name__}"
    fetched, total = outcome.bytes_fetched / _MEGABYTE, outcome.bytes_total / _MEGABYTE
    return f"{name}: {fetched:.0f} of {total:.0f} MB read"


class Lines(Progress):
    """One plain line on stderr for each wheel that is done."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._count = 0

    def waiting(self) -> None:
        """Say so."""
        click.echo(_WAITING, err=True)

    def done(self, file: WheelFile, outcome: Outcome) -> None:
        """Print the line, with its number."""
        self._count += 1
        click.echo(f"[{self._count}/{self._total}] {told(file, outcome)}", err=True)


class Bars(Progress):
    """One bar for each wheel in work, and one for all of them where there are several."""

    def __init__(self, bar: Bar, total: int) -> None:
        self._bar = bar
        self._total = total
        self._count = 0
        self._all = bar.add_task("wheels", total=total, what=f"0 of {total}", visible=total > 1)
        self._tasks: dict[str, TaskID] = {}

    def waiting(self) -> None:
        """Say so above the bars."""
        self._bar.console.print(_WAITING, markup=False, highlight=False)

    def reading(self, file: WheelFile, watch: Watch) -> None:
        """Move the wheel's bar; what must be fetched of a wheel is not known before the end."""
        if file.filename not in self._tasks:
            self._tasks[file.filename] = self._bar.add_task(
                plain(file.filename), total=None, what=""
            )
        what = f"{watch.fetched / _MEGABYTE:.0f} MB"
        self._bar.update(self._tasks[file.filename], what=what)

    def done(self, file: WheelFile, outcome: Outcome) -> None:
        """Put a line in the place of the bar."""
        if file.filename in self._tasks:
            self._bar.remove_task(self._tasks.pop(file.filename))
        self._count += 1
        self._bar.update(self._all, completed=self._count, what=f"{self._count} of {self._total}")
        if self._total > 1:
            self._bar.console.print(told(file, outcome), markup=False, highlight=False)


@contextlib.contextmanager
def progress(total: int) -> Iterator[Progress]:
    """Give bars where stderr is a terminal, lines where it is not and there are several wheels."""
    if not sys.stderr.isatty():
        yield Lines(total) if total > 1 else Progress()
        return
    from rich.console import Console  # noqa: PLC0415 - takes as long as the rest of the command
    from rich.progress import BarColumn, SpinnerColumn, TextColumn  # noqa: PLC0415
    from rich.progress import Progress as Bar  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415

    name = Column(ratio=1, no_wrap=True, overflow="ellipsis")
    with Bar(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False, table_column=name),
        BarColumn(bar_width=12),
        TextColumn("{task.fields[what]}", markup=False, table_column=Column(no_wrap=True)),
        console=Console(stderr=True),
        transient=True,
    ) as bar:
        yield Bars(bar, total)
