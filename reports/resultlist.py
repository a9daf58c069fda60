"""Results on a terminal: one paragraph each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from matrix.result import SPEED, Metric, Result
from reports.text import plain

_FIRST = (SPEED, "repeat_spread", "output_throughput", "baseline_output_throughput", "median_time")
_LOAD = ("requests", "failed_requests", "input_tokens", "output_tokens")
_MOST = 6


def render(results: Sequence[Result], *, width: int = 80) -> str:
    """`results` as text of at most `width` columns (40 at least), with a final newline."""
    return "\n".join(_paragraph(result, max(width, 40)) for result in results)


def _paragraph(result: Result, width: int) -> str:
    where = f"{result.stack}  {result.target} {result.machine}  {result.environment}"
    why = f" ({result.reason})" if result.reason else ""
    head = f"{where.strip()}  {result.capability}  {result.status}{why}"
    lines = [plain(head)]
    told = [result.text, " ".join((result.backend, *result.load))]
    told += ["; ".join(_numbers(result.metrics)), ", ".join(result.marks)]
    told.append("read: " + ", ".join(f"{one.role} {one.name}" for one in result.source))
    for each in told:
        lines += textwrap.wrap(plain(each), width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines) + "\n"


def _numbers(metrics: dict[str, Metric]) -> Iterator[str]:
    names: Iterable[str] = (
        *(name for name in _FIRST if name in metrics),
        *(name for name in metrics if name not in (*_FIRST, *_LOAD)),
    )
    for name in list(names)[:_MOST]:
        metric = metrics[name]
        unit = "" if metric.unit == "ratio" else f" {metric.unit}"
        yield f"{name} {metric.value:g}{unit}"
