"""Rounds: everything in each, in an order of its own; and whether the timer can be believed."""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")

from probes.speed.contrast import Interval
from probes.speed.rounds import Length, agreement, disagrees, measured
from probes.speed.timer import HostTimer, Work
from tests.probes.speed.racing import World

pytestmark = pytest.mark.torch


def ran(length: Length, seed: int = 0) -> tuple[dict[str, list[float]], str]:
    world, order = World(), []

    def work(name: str, seconds: float) -> Work:
        def call() -> None:
            order.append(name)
            world.spend(seconds)

        return call

    works = {name: work(name, second) for name, second in (("a", 1.0), ("b", 2.0), ("c", 3.0))}
    found = measured(works, world.timer(), length, seed=seed)
    return dict(found), "".join(order)


def test_every_work_is_timed_once_a_round_in_an_order_that_changes() -> None:
    found, order = ran(Length(seconds=0, least=60, most=60))

    rounds = [order[i : i + 3] for i in range(0, len(order), 3)]
    assert found == {"a": [1.0] * 60, "b": [2.0] * 60, "c": [3.0] * 60}
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) == 6
    firsts = "".join(each[0] for each in rounds)
    assert min(map(firsts.count, "abc")) >= 10


def test_the_order_is_the_seeds() -> None:
    length = Length(seconds=0, least=20, most=20)

    assert ran(length, 1) == ran(length, 1)
    assert ran(length, 1)[1] != ran(length, 2)[1]


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (Length(seconds=30, least=2, most=100), 5),
        (Length(seconds=30, least=9, most=100), 9),
        (Length(seconds=30, least=2, most=3), 3),
    ],
)
def test_it_lasts_as_long_as_said_within_its_rounds(length: Length, expected: int) -> None:
    assert len(ran(length)[0]["a"]) == expected


def test_no_time_at_all_counts_as_the_clocks_tick() -> None:
    world = World()

    found = measured({"a": lambda: None}, world.timer(), Length(seconds=0, least=1, most=1), seed=0)

    assert found == {"a": [1e-9]}


def test_garbage_is_not_collected_while_it_is_timed() -> None:
    world, seen = World(), []

    measured(
        {"a": lambda: seen.append(gc.isenabled())},
        world.timer(),
        Length(seconds=0, least=2, most=2),
        seed=0,
    )

    assert seen == [False, False]
    assert gc.isenabled()


class Biased(HostTimer):
    """Adds a share to what each launch takes, as an event that is recorded too late would."""

    def __init__(self, world: World, share: float) -> None:
        super().__init__(world.nanoseconds, world.nanoseconds, world.spend)
        self.share = share

    def each(self, works: Sequence[Work], *, cold: bool = True) -> list[float]:
        return [(1 + self.share) * seconds for seconds in super().each(works, cold=cold)]


@pytest.mark.parametrize(
    ("share", "off"), [(0.0, False), (0.015, False), (-0.015, False), (0.03, True), (-0.03, True)]
)
@pytest.mark.parametrize("quiet", [True, False])
def test_a_timer_off_by_more_than_2_percent_is_found_out(
    share: float, off: bool, quiet: bool
) -> None:
    world = World()

    ratio = agreement(world.lasting(0.01), Biased(world, share), launches=5, seed=0)

    assert ratio.middle == pytest.approx(1 + share)
    assert disagrees(ratio, quiet=quiet) is off


def test_what_lasts_a_known_time_is_told_so_by_both_clocks() -> None:
    world = World()
    began = world.seconds

    ratio = agreement(world.lasting(0.01, noise=0.01), world.timer(), launches=4, seed=3)

    assert world.seconds - began == pytest.approx(15 * 2 * 4 * 0.01, rel=0.01)
    assert ratio.low <= 1 <= ratio.high
    assert not disagrees(ratio, quiet=True)


def test_on_a_cpu_with_neighbours_only_what_is_sure_is_held_against_the_timer() -> None:
    unsure = Interval(0.5, 1.1, 1.9)

    assert not disagrees(unsure, quiet=False)
    assert disagrees(unsure, quiet=True)
    assert disagrees(Interval(1.03, 1.1, math.inf), quiet=False)
    assert disagrees(Interval(0.1, 0.9, 0.97), quiet=False)
