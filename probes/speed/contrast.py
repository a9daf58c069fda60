"""Tell whether one thing is slower than another: by pairs of times taken side by side, and without believing in a distribution.

Each round times every contender once, in an order drawn at random. Were two of them the same, either would be the slower one of a
round with probability 1/2, whatever the clocks, the neighbours and the rounds before it did to both: the signs of the
log ratios are fair coins, and the order statistics of the ratios bound their median exactly (the sign test; Conover,
Practical Nonparametric Statistics, 3.4). Outliers count as one sign each, however far out they are.

The rule: `slower` where, for both of two independent series of the native kernel, the median log ratio to the baseline is above
zero by its lower bound, and itself above the margin, which is the farther bound of the median log ratio of those two series
to each other (A/A). A bound is wrong with probability ALPHA / 2 at most, so that is how often two equal kernels are called
slower, in one phase; the margin makes it rarer. What the A/A cannot tell apart is so never a difference. A loss of a tenth is
found with probability 0.95 at least in 48 rounds of 3 % noise with a tenth of outliers (tests/probes/speed/test_contrast.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from statistics import median
from typing import Final

ALPHA: Final = 2e-4
"""How often the interval of a median misses it, both sides together. Intervals are infinite under 14 rounds."""

_LOW: Final = 0.1
_HIGH: Final = 0.9


@dataclass(frozen=True)
class Interval:
    """A median with its bounds; infinite where there are too few values for any."""

    low: float
    middle: float
    high: float

    @property
    def reach(self) -> float:
        """How far from zero it may be."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True)
class Contrast:
    """Native (two series) against one baseline.

    `ratio`: native's speed over the baseline's, the median of all pairs; above 1 where native is faster. `noise`: by how much of a
    factor, less 1, the two native series may differ. `slower`: whether native loses beyond it.
    """

    ratio: float
    noise: float
    slower: bool


def interval(values: Sequence[float], alpha: float = ALPHA) -> Interval:
    """Bound the median of `values` by their order statistics. Raises ValueError for none.

    Each bound is wrong with probability alpha / 2 at most.
    """
    if not values:
        raise ValueError("no values have no median")
    ordered, k = sorted(values), rank(len(values), alpha)
    if not k:
        return Interval(-math.inf, median(ordered), math.inf)
    return Interval(ordered[k - 1], median(ordered), ordered[-k])


@cache
def rank(count: int, alpha: float) -> int:
    """Return the largest k for which fewer than k of `count` fair coins fall heads with probability alpha / 2 at most."""
    # Whole numbers: 2**count is beyond any float from 1024 rounds on.
    most = Fraction(alpha) / 2 * 2**count
    ways, below, k = 1, 0, 0
    while (below := below + ways) <= most:
        ways = ways * (count - k) // (k + 1)
        k += 1
    return k


def pairs(left: Sequence[float], right: Sequence[float]) -> list[float]:
    """Return the log ratio of each round. Raises ValueError where the series are not of one length."""
    return [math.log(a / b) for a, b in zip(left, right, strict=True)]


def margin(native: Sequence[float], again: Sequence[float], alpha: float = ALPHA) -> float:
    """Return how far apart two series of one kernel may be, as a log ratio."""
    return interval(pairs(native, again), alpha).reach


def contrast(
    native: Sequence[float],
    again: Sequence[float],
    baseline: Sequence[float],
    alpha: float = ALPHA,
) -> Contrast:
    """Hold two series of a kernel against a baseline: seconds of each round, in the order of the rounds."""
    first, second = pairs(native, baseline), pairs(again, baseline)
    losses = interval(first, alpha), interval(second, alpha)
    noise = margin(native, again, alpha)
    return Contrast(
        ratio=math.exp(-median(first + second)),
        noise=math.expm1(noise) if noise < math.inf else math.inf,
        slower=all(loss.low > 0 and loss.middle > noise for loss in losses),
    )


def spread(values: Sequence[float]) -> float:
    """Return the distance from the 10th to the 90th percentile, over the median."""
    ordered = sorted(values)
    last = len(ordered) - 1
    low, high = ordered[round(_LOW * last)], ordered[round(_HIGH * last)]
    return (high - low) / median(ordered)
