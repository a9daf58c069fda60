"""Which is slower: exact bounds, few false alarms whatever the noise, and a loss that is there is found."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.speed import contrast

ROUNDS = 48
RUNS = 1000

times = st.lists(st.floats(1e-6, 1e3), min_size=20, max_size=60)


def heavy(rng: random.Random) -> float:
    """One time of about 1 s: 3 % of log-normal noise, and a tenth of the times up to a hundred times as long."""
    scale = rng.paretovariate(1.2) if rng.random() < 0.1 else 1.0
    return math.exp(rng.gauss(0, 0.03)) * min(scale, 100.0)


def two_speeds(rng: random.Random) -> float:
    """One time of a device that has two clocks."""
    return rng.choice((1.0, 1.3)) * math.exp(rng.gauss(0, 0.002))


def coarse(rng: random.Random) -> float:
    """One time by a clock with a tick of 10 %."""
    return round(math.exp(rng.gauss(0, 0.05)), 1)


NOISES = (heavy, two_speeds, coarse)


def drift(rng: random.Random) -> list[float]:
    """What a machine that warms up and is disturbed does to all of a round alike."""
    level, found = 1.0, []
    for _ in range(ROUNDS):
        level *= math.exp(rng.gauss(0.01, 0.05))
        found.append(level)
    return found


def raced(
    noise: Callable[[random.Random], float], seed: int, loss: float = 1.0
) -> tuple[list[float], list[float], list[float]]:
    rng = random.Random(seed)
    levels = drift(rng)
    native, again, baseline = ([level * noise(rng) for level in levels] for _ in range(3))
    return [loss * each for each in native], [loss * each for each in again], baseline


def alarms(noise: Callable[[random.Random], float], alpha: float) -> int:
    return sum(contrast.contrast(*raced(noise, seed), alpha).slower for seed in range(RUNS))


@pytest.mark.parametrize("noise", NOISES)
def test_equal_kernels_are_called_slower_no_oftener_than_stated(
    noise: Callable[[random.Random], float],
) -> None:
    assert alarms(noise, contrast.ALPHA) <= 1  # one in 10,000 is stated
    assert alarms(noise, 0.2) <= 0.1 * RUNS


@pytest.mark.parametrize("noise", NOISES)
def test_a_bound_of_a_median_is_wrong_no_oftener_than_stated(
    noise: Callable[[random.Random], float],
) -> None:
    # Without the margin, and so exact: the bound alone, at a rate that a thousand runs can show.
    wrong = 0
    for seed in range(RUNS):
        native, _, baseline = raced(noise, seed)
        wrong += contrast.interval(contrast.pairs(native, baseline), 0.2).low > 0

    assert wrong <= 0.1 * RUNS + 3 * math.sqrt(0.1 * 0.9 * RUNS)


def test_a_loss_of_a_tenth_is_found_through_heavy_tails_nearly_always() -> None:
    found = sum(contrast.contrast(*raced(heavy, seed, 1.1)).slower for seed in range(RUNS))

    assert found >= 0.95 * RUNS


def test_a_gain_is_never_a_loss() -> None:
    assert not any(contrast.contrast(*raced(heavy, seed, 0.9)).slower for seed in range(100))


def test_what_the_native_series_differ_by_among_themselves_is_no_loss() -> None:
    native, again, baseline = raced(two_speeds, 1, 1.1)
    there = contrast.contrast([1.0] * 48, [1.0] * 48, [0.9] * 48)
    hidden = contrast.contrast([1.0] * 48, [1.2] * 48, [0.9] * 48)

    assert there.slower
    assert not hidden.slower
    assert hidden.noise == pytest.approx(0.2)
    assert len(native) == len(again) == len(baseline)


def test_both_native_series_have_to_lose() -> None:
    # One series is as fast as the baseline: there is no loss, whatever the other one met with.
    assert not contrast.contrast([1.5] * 48, [1.0] * 48, [1.0] * 48).slower


@given(times)
def test_an_interval_holds_its_median_and_values_of_the_series(values: list[float]) -> None:
    found = contrast.interval(values)

    assert found.low <= found.middle <= found.high
    assert {found.low, found.high} <= set(values)
    assert found.reach >= abs(found.middle)


@pytest.mark.parametrize(("count", "expected"), [(0, 0), (13, 0), (14, 1), (24, 3), (48, 11)])
def test_the_rank_is_the_largest_that_the_rate_allows(count: int, expected: int) -> None:
    k = contrast.rank(count, contrast.ALPHA)

    assert k == expected
    below = sum(math.comb(count, i) for i in range(k)) / 2**count
    assert below <= contrast.ALPHA / 2 < below + math.comb(count, k) / 2**count


def test_thousands_of_rounds_have_a_rank_as_well() -> None:
    # The normal approximation is within one of the binomial there: n/2 - 3.719 * sqrt(n)/2.
    assert contrast.rank(10_000, 2e-4) == pytest.approx(5000 - 3.719 * 50, abs=1.5)
    assert contrast.contrast([1.1] * 2500, [1.1] * 2500, [1.0] * 2500).slower


def test_too_few_rounds_bound_nothing_and_accuse_nobody() -> None:
    found = contrast.contrast([2.0] * 13, [2.0] * 13, [1.0] * 13)

    assert (found.slower, found.noise) == (False, math.inf)
    assert found.ratio == pytest.approx(0.5)


@given(times, st.floats(1e-3, 1e3))
def test_only_the_ratio_of_a_round_counts(values: Sequence[float], factor: float) -> None:
    slow = [2 * each for each in values]

    found = contrast.contrast(slow, slow, values)
    scaled = contrast.contrast(
        [factor * each for each in slow], [factor * each for each in slow],
        [factor * each for each in values],
    )  # fmt: skip

    assert found.slower
    assert scaled.slower
    assert found.ratio == pytest.approx(0.5)
    assert scaled.ratio == pytest.approx(0.5)


@given(times, times)
def test_what_is_called_slower_has_a_ratio_under_one(
    native: Sequence[float], baseline: Sequence[float]
) -> None:
    count = min(len(native), len(baseline))
    found = contrast.contrast(native[:count], native[:count], baseline[:count])

    assert not found.slower or found.ratio < 1


def test_series_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        contrast.pairs([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="median"):
        contrast.interval([])


def test_the_spread_leaves_a_tenth_out_on_either_side() -> None:
    assert contrast.spread([*range(1, 101), 10_000]) == pytest.approx((91 - 11) / 51)
    assert contrast.spread([3.0]) == 0
