"""What the timer of the speed probes adds to what it times, and how far two equal works differ on this machine."""

from __future__ import annotations

import math
import statistics
import time
from typing import Final

from probes.speed import contrast
from tests.bench.figure import Aim, Findings, Table, Times, told

LAUNCHES: Final = 2000
BATCHES: Final = 15
ROUNDS: Final = 200
WORK: Final = 2e-4
"""Seconds of the work that is timed twice over: about a small kernel's."""
BOUND: Final = 2.0
"""Microseconds: 1 % of such a work."""


def bench(*, rounds: int) -> Findings:
    """Time nothing by the timer and by a bare loop, in turn; then one work twice over, as an A/A pair."""
    del rounds  # medians of so short times need many
    try:
        from probes.speed.rounds import Length, measured  # noqa: PLC0415 - torch
        from probes.speed.timer import HostTimer  # noqa: PLC0415
    except ImportError as error:
        return Findings(
            notes=[f"timer: left out, {error}; run it where torch is, as `nox -s reference`"]
        )
    timer, found = HostTimer(), Findings()
    empty = [_nothing] * LAUNCHES
    ours, bare, whole = [], [], []
    for _ in range(BATCHES):
        began = time.perf_counter()
        each = timer.each(empty, cold=False)
        whole.append((time.perf_counter() - began) / LAUNCHES)
        ours.append(statistics.median(each))
        bare.append(statistics.median(_bare()))
    plain = Times(tuple(bare)).median
    rows = [
        (name, told(times.median), times.spread, f"{times.median / plain:.2f}")
        for name, times in (
            ("two perf_counter calls, bare", Times(tuple(bare))),
            ("what the timer says of nothing", Times(tuple(ours))),
            ("what the timer takes for it", Times(tuple(whole))),
        )
    ]
    columns = ("an empty call", "median", "spread", "x bare")
    found.tables.append(Table(f"timer, {BATCHES} x {LAUNCHES} calls", columns, tuple(rows)))
    said = statistics.median(ours)
    found.values["timer_empty_us"] = said * 1e6
    found.values["timer_empty_over_bare"] = said / plain
    found.aims.append(Aim("timer, an empty call", said * 1e6, BOUND, "µs"))
    series = measured(
        {"one": _spin, "two": _spin}, timer, Length(seconds=0, least=ROUNDS, most=ROUNDS), seed=0
    )
    noise = math.expm1(contrast.margin(series["one"], series["two"]))
    found.values["aa_noise_percent"] = 100 * noise
    found.notes.append(
        f"Two equal works of {told(WORK)} differ by {100 * noise:.2f} % at most in {ROUNDS} rounds here and now (A/A)."
    )
    return found


def _nothing() -> None:
    """Do nothing: what is left is the timer's."""


def _spin() -> None:
    end = time.perf_counter() + WORK
    while time.perf_counter() < end:
        pass


def _bare() -> list[float]:
    """Time the empty call as one would by hand."""
    taken = []
    for _ in range(LAUNCHES):
        began = time.perf_counter()
        _nothing()
        taken.append(time.perf_counter() - began)
    return taken
