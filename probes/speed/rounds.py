"""Measure several works in turn, in rounds of a random order each, so that what drifts hits all of them alike."""

from __future__ import annotations

import gc
import random
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from probes.speed.contrast import Interval, interval
from probes.speed.timer import Timer, Work

if TYPE_CHECKING:
    from collections.abc import Iterator

Series = Mapping[str, list[float]]
"""Seconds by work, one for each round, in order."""

TOLERANCE: Final = 0.02
"""How far the timer may be off an independent measurement."""

_TICK: Final = 1e-9
"""Seconds that stand for none: a ratio needs more than zero, and no clock here is finer."""

_CHECKS: Final = 15
"""Comparisons of the timer with the host's clock: one more than the fewest that bound a median."""


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long to measure: `seconds`, but `least` rounds at least and `most` at most."""

    seconds: float
    least: int
    most: int


def measured(works: Mapping[str, Work], timer: Timer, length: Length, *, seed: int) -> Series:
    """Time every work once a round, each round in an order of its own, until `length` is over."""
    order = random.Random(seed)  # noqa: S311 - an order, no secret
    names = list(works)
    found: dict[str, list[float]] = {name: [] for name in names}
    began, count = timer.now(), 0
    with _undisturbed():
        while count < length.least or (
            count < length.most and timer.now() - began < length.seconds
        ):
            order.shuffle(names)
            taken = timer.each([works[name] for name in names])
            for name, seconds in zip(names, taken, strict=True):
                found[name].append(max(seconds, _TICK))
            count += 1
    return found


def agreement(work: Work, timer: Timer, *, launches: int, seed: int) -> Interval:
    """Hold the timer against the host's clock: the ratio of what both say of `launches` of one work, L2 warm in both.

    Batches take turns in random order: in one each launch is timed by itself, and the sum counts; in the other the host's
    clock runs from before the first to the end of the last.
    """
    order = random.Random(seed)  # noqa: S311 - an order, no secret
    batch, ratios = [work] * launches, []
    with _undisturbed():
        for _ in range(_CHECKS):
            if order.random() < 1 / 2:
                alone = sum(timer.each(batch, cold=False))
                host = timer.together(batch)
            else:
                host = timer.together(batch)
                alone = sum(timer.each(batch, cold=False))
            ratios.append(alone / host)
    return interval(ratios)


def disagrees(ratio: Interval, *, quiet: bool) -> bool:
    """Say whether the timer is off by more than TOLERANCE.

    On a `quiet` device (a GPU of one's own) by the median. On a CPU, where neighbours may slow either batch, only where the whole
    interval lies outside.
    """
    if quiet:
        return abs(ratio.middle - 1) > TOLERANCE
    return ratio.low > 1 + TOLERANCE or ratio.high < 1 - TOLERANCE


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep Python's garbage collector from running inside what is timed."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
