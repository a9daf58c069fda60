"""How the pure functions grow: the plan, the verdict and the judging of whole situations."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from itertools import cycle, islice
from typing import Any, Final
from unittest.mock import patch

import msgspec

from matrix import assess, verdict
from matrix.cell import Report
from matrix.knowledge import Knowledge
from matrix.plan import plan
from tests.bench.figure import Aim, BenchError, Findings, Table, Times, slope, told

SIZES: Final = (1_000, 10_000, 100_000, 300_000)
STATED: Final = 100_000
STATED_OF: Final = ("plan", "verdict")
"""What the project states a bound for."""
BOUND: Final = 2.0
REPEAT: Final = {1_000: 9, 10_000: 5}
"""How often a size is measured; a larger one three times."""

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """The real report, and what its functions were asked while it was folded."""

    report: Report
    verdicts: list[Call]
    situations: list[Call]
    """Calls of `assess`; `judged` cells came of each."""
    judged: list[int]


def bench(*, rounds: int) -> Findings:
    """Time each function over the real report, repeated to more and more cells."""
    del rounds  # the sizes say how often
    asked = _asked()
    found = Findings()
    base: dict[int, float] = {}
    for name, make in (
        ("counting cells", _counting),
        ("plan", _planning),
        ("verdict", _verdicts),
        ("assess", _assessing),
    ):
        rows, least = [], []
        for size in SIZES:
            cells, work = make(asked, size)
            times = _timed(work, REPEAT.get(size, 3))
            base.setdefault(size, times.median / cells)
            each = times.median / cells
            least.append(min(times.seconds))
            rows.append(
                (
                    f"{cells:,} cells",
                    told(times.median),
                    times.spread,
                    told(each),
                    f"{each / base[size]:.1f}",
                )
            )
            if size == STATED and name != "counting cells":
                found.values[f"{name}_{size}_s"] = times.median
                if name in STATED_OF:
                    found.aims.append(Aim(f"{name}, {size:,} cells", times.median, BOUND, "s"))
        steep = slope(SIZES, least)
        found.values[f"{name}_slope"] = steep
        columns = (name, "median", "spread", "a cell", "x counting")
        title = f"{name}: log-log slope {steep:.2f} (1 is linear)"
        found.tables.append(Table(title, columns, tuple(rows)))
        if name != "counting cells":
            found.aims.append(
                Aim(f"{name}, slope over {SIZES[0]:,} to {SIZES[-1]:,}", steep, 1.1, "")
            )
    found.notes.append(
        "slope: of the quickest run of each size. counting: a loop that counts verdicts, the least that a pass over cells costs here. "
        "assess, for information: situations without any answer kept, folded to cells with their evidence."
    )
    return found


def _asked() -> Asked:
    """Fold the real report, and write down what its functions were called with."""
    verdicts: list[Call] = []
    situations: list[Call] = []
    judged: list[int] = []
    real_verdict, real_assess = verdict.verdict, assess.assess

    def noted(*args: Any, **kwargs: Any) -> Any:
        verdicts.append((args, kwargs))
        return real_verdict(*args, **kwargs)

    def assessed(*args: Any, **kwargs: Any) -> Any:
        made = real_assess(*args, **kwargs)
        situations.append((args, kwargs))
        judged.append(len(made))
        return made

    with patch("matrix.assess.verdict", noted), patch("matrix.knowledge.assess", assessed):
        report = Knowledge.load().report(generated="")
    if not (verdicts and situations):
        raise BenchError("no situation was judged: the ledger holds no stack")
    return Asked(report, verdicts, situations, judged)


def _timed(work: Callable[[], object], times: int) -> Times:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return Times(tuple(seconds))


def _repeated(report: Report, size: int) -> Report:
    """Give a report of `size` cells: the real one again and again, with stacks of other names."""
    rename = msgspec.structs.replace
    cells, stacks = list(report.cells[:size]), list(report.stacks)
    again = 0
    while len(cells) < size:
        again += 1
        left = size - len(cells)
        cells += [rename(c, stack=f"{c.stack}#{again}") for c in report.cells[:left]]
        stacks += [rename(s, name=f"{s.name}#{again}") for s in report.stacks]
    return rename(report, cells=tuple(cells), stacks=tuple(stacks))


Made = tuple[int, Callable[[], object]]
"""How many cells it is about, and what is timed."""


def _counting(asked: Asked, size: int) -> Made:
    cells = _repeated(asked.report, size).cells

    def count() -> Counter[str]:
        seen: Counter[str] = Counter()
        for cell in cells:
            seen[cell.verdict] += 1
        return seen

    return len(cells), count


def _planning(asked: Asked, size: int) -> Made:
    report = _repeated(asked.report, size)
    return len(report.cells), lambda: plan(report, controls={"sm90"})


def _verdicts(asked: Asked, size: int) -> Made:
    calls = list(islice(cycle(asked.verdicts), size))

    def judge() -> None:
        for args, kwargs in calls:
            verdict.verdict(*args, **kwargs)

    return len(calls), judge


def _assessing(asked: Asked, size: int) -> Made:
    chosen: list[Call] = []
    cells = 0
    for number in cycle(range(len(asked.situations))):
        if cells >= size:
            break
        chosen.append(asked.situations[number])
        cells += asked.judged[number]

    def judge() -> None:
        for args, kwargs in _fresh(chosen):
            assess.assess(*args, **kwargs)

    return cells, judge


def _fresh(calls: Sequence[Call]) -> Iterator[Call]:
    """Forget the answers that a situation keeps."""
    for args, kwargs in calls:
        situation, *rest = args
        kept = {
            f.name: f.default_factory()
            for f in fields(situation)
            if f.name.startswith("_") and f.default_factory is not MISSING
        }
        yield (replace(situation, **kept), *rest), kwargs
