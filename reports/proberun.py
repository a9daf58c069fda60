"""A probe run as it goes: a bar or a line for each check, and what it all came to."""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import click
import msgspec

from matrix.proberun import ProbeRun, identity, last_words, missing, settled
from matrix.result import Result
from reports.text import plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_GOOD: Final = ("pass", "skip")
_WIDTH: Final = 110
"""Columns where no terminal says how many."""
_NARROWEST: Final = 5
"""Columns of a count in the table, at least."""
_BEAT: Final = 30.0
"""Seconds without a result after which a line says that it goes on."""
_SOON: Final = 2.0
_ORDER: Final = ("pass", "fallback", "slow", "fail", "error", "missing", "skip")


class Watcher:
    """Tells of each line of a run on stderr as it comes, and sums up at the end on stdout.

    `before`, `opening`: results of an earlier attempt, which count as well, and what it planned. With `as_json`, stdout has each result as a line
    of JSON, and nothing else. `earlier`: what other runs found and still holds; it is not told of, and counts at the end.
    """

    def __init__(
        self,
        before: Iterable[Result] = (),
        opening: ProbeRun | None = None,
        *,
        as_json: bool = False,
    ) -> None:
        self.results = list(before)
        self.earlier: list[Result] = []
        self.opening = opening
        self._json = as_json
        self._width = shutil.get_terminal_size((_WIDTH, 24)).columns
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._since = self._told = time.monotonic()

    def __enter__(self) -> Self:
        if sys.stderr is not None and sys.stderr.isatty():
            from rich.console import Console  # noqa: PLC0415 - takes as long as the rest of the command
            from rich.progress import (  # noqa: PLC0415
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
            )
            from rich.table import Column  # noqa: PLC0415

            what = Column(ratio=1, no_wrap=True, overflow="ellipsis")
            self._bar = Progress(
                TextColumn("{task.description}", markup=False, table_column=what),
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task("starting", total=None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if not self._json:
            for line in self.summary():
                click.echo(line)

    def tell(self, line: Result | ProbeRun) -> None:
        """Take one line of the run."""
        self._since = self._told = time.monotonic()
        if isinstance(line, ProbeRun):
            self.opening = line
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, total=len(line.planned))
            return
        self.results.append(line)
        if self._json:
            click.echo(msgspec.json.encode(line).decode())
        if self._bar is not None and self._task is not None:
            told = described(line, self._width)
            self._bar.update(self._task, completed=len(self.results), description=told)
            if line.status not in _GOOD:
                self._bar.console.print(told, markup=False, highlight=False)
        else:
            total = f"/{len(self.opening.planned)}" if self.opening else ""
            count = f"[{len(self.results)}{total}] "
            click.echo(count + described(line, self._width - len(count)), err=True)

    def beat(self) -> None:
        """Show that it goes on: what runs, and for how long; where there is no terminal as a line now and then."""
        now = time.monotonic()
        if self._bar is None and now - self._told < _BEAT:
            return
        doing = f"{self._doing()}, for {now - self._since:.0f} s"
        if self._bar is None:
            self._told = now
            click.echo(plain(f"still {doing}", limit=self._width), err=True)
        elif self._task is not None and now - self._since > _SOON:
            self._bar.update(self._task, description=plain(doing, limit=self._width))

    def _doing(self) -> str:
        """Say which check runs: the first that is planned and has not come back."""
        if self.opening is None:
            return "starting"
        done = settled(self.results)
        one = next((each for each in self.opening.planned if identity(each) not in done), None)
        return "ending" if one is None else " ".join((one.probe.name, one.backend, *one.load))

    def summary(self) -> Iterator[str]:
        """Yield a table of statuses by probe, then what did not pass and why, most frequent first."""
        every = [*self._last(), *(missing(self.opening, self.results) if self.opening else ())]
        if not every:
            return
        yield from _table(every)
        why = Counter(
            (r.status, r.reason, r.probe.name, r.backend) for r in every if r.status not in _GOOD
        )
        for (status, reason, name, backend), count in why.most_common(20):
            yield plain(f"{status} ({reason})  {name} {backend}  x{count}", limit=self._width)

    def _last(self) -> tuple[Result, ...]:
        return last_words(self.results)

    @property
    def exit_code(self) -> int:
        """1 where a check of what the stack chooses by itself did not work, or did not come back; else 0."""
        every = (*self._last(), *last_words(self.earlier))
        required = [result for result in every if "one-kernel" not in result.marks]
        lost = self.opening is not None and any(missing(self.opening, self.results))
        return 1 if lost or any(result.status not in _GOOD for result in required) else 0


def described(result: Result, width: int = _WIDTH) -> str:
    """Say in one line what a check found."""
    why = f" ({result.reason})" if result.reason else ""
    told = f": {result.text}" if result.text and result.status not in _GOOD else ""
    name = " ".join((result.probe.name, result.backend, *result.load))
    return plain(f"{result.status}{why}  {name}{told}", limit=width)


def _table(results: Iterable[Result]) -> Iterator[str]:
    counts: dict[str, Counter[str]] = {}
    for result in results:
        counts.setdefault(result.probe.name, Counter())[result.status] += 1
    shown = [status for status in _ORDER if any(row[status] for row in counts.values())]
    wide = max(len(name) for name in counts)
    yield f"{'':{wide}}  {'  '.join(f'{status:>{_NARROWEST}}' for status in shown)}"
    for name, row in counts.items():
        cells = "  ".join(
            f"{row[status] or '·':>{max(len(status), _NARROWEST)}}" for status in shown
        )
        yield f"{name:{wide}}  {cells}"
