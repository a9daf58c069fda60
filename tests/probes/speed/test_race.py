"""A race from its rounds to its finding, in a world whose clock only the works move."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from matrix.result import Unit
from probes.speed import race
from probes.speed.clocks import Clocks, Reading
from probes.speed.entry import AGAIN, BAR, NATIVE, Field
from probes.speed.race import BURST, PLANS, SUSTAINED, Phase
from probes.speed.roofline import Cost
from probes.speed.timer import Work
from tests.probes.speed.racing import World

pytestmark = pytest.mark.torch

POWER = 0x4
RATES = {"fp4_tflops": 1.0, "memory_gb_s": 1.0}


def field(works: dict[str, Work], left_out: dict[str, str] | None = None) -> Field:
    zero = torch.zeros(1)
    return Field(works=works, cost=Cost(2e6, 1e3), got=zero, want=zero, left_out=left_out or {})


def entered(
    world: World, native: float, bar: float, *, noise: float = 0.02, seed: int = 0
) -> Field:
    lasting = {NATIVE: native, AGAIN: native, BAR: bar, "bf16": 4e-3}
    return field(
        {
            name: world.lasting(seconds, noise, seed + index)
            for index, (name, seconds) in enumerate(lasting.items())
        }
    )


def phase(native: float, bar: float, clock: float, mask: int, name: str = SUSTAINED) -> Phase:
    series = {NATIVE: [native] * 48, AGAIN: [native] * 48, BAR: [bar] * 48}
    return Phase(name=name, series=series, readings=[Reading(clock, mask, 1, 1)] * 9, seconds=1.0)


def run(world: World, entries: Field, seed: int = 0) -> list[Phase]:
    return race.race(entries, world.timer(), Clocks(None, None), PLANS["small"], seed=seed)


def test_equal_kernels_are_never_slow_in_either_phase() -> None:
    reasons = set()
    for seed in range(40):
        world = World()
        phases = run(world, entered(world, 2e-3, 2e-3, seed=10 * seed), seed)
        reasons.add(race.loss(phases)[0])

    assert reasons == {""}


def test_a_loss_of_a_tenth_is_slow_and_says_against_what_and_by_how_much() -> None:
    world = World()
    phases = run(world, entered(world, 2.2e-3, 2e-3))

    reason, said = race.loss(phases)

    assert reason == "slower_than_baseline"
    assert "0.9" in said
    assert BAR in said
    assert "A/A" in said


def test_the_burst_begins_from_rest_and_the_later_half_of_the_sustained_phase_counts() -> None:
    world = World()
    plan = replace(PLANS["full"], sustained=replace(PLANS["full"].sustained, least=100, most=100))
    events: list[float] = []

    def native() -> None:
        events.append(world.seconds)
        world.spend(1e-3)

    burst, sustained = race.race(
        field({NATIVE: native, AGAIN: world.lasting(1e-3)}),
        world.timer(),
        Clocks(None, None),
        plan,
        seed=0,
    )

    assert events[1] - events[0] > plan.idle  # the first call is no part of it
    assert burst.seconds == pytest.approx(0.1, rel=0.05)
    assert (burst.name, sustained.name) == (BURST, SUSTAINED)
    assert len(sustained.series[NATIVE]) == 50
    assert len(burst.series[NATIVE]) == len(burst.series[AGAIN]) >= 48


def test_every_figure_has_a_unit_of_results_and_a_finite_number() -> None:
    world = World()
    entries = entered(world, 2e-3, 3e-3)
    found = race.metrics(entries, run(world, entries), RATES)

    assert {unit for _, unit in found.values()} <= set(Unit.__args__)  # type: ignore[attr-defined]
    assert all(math.isfinite(value) for value, _ in found.values())
    assert found["burst_native"][0] == pytest.approx(2000, rel=0.02)
    assert found["burst_speed_over_w4a16"][0] == pytest.approx(1.5, rel=0.03)
    assert found["sustained_speed_over_bf16"][0] == pytest.approx(2, rel=0.03)
    assert found["sustained_noise"][0] < 5
    assert found["speed_ratio"][0] == min(
        found[f"{name}_speed_over_w4a16"][0] for name in (BURST, SUSTAINED)
    )
    # 2 million operations at 10^12 a second are 2 us of the 2 ms.
    assert found["burst_roofline"][0] == pytest.approx(0.1, rel=0.02)
    assert found["burst_tflop_s"][0] == pytest.approx(1e-3, rel=0.02)


def test_without_the_targets_rates_there_is_no_roofline() -> None:
    world = World()
    entries = entered(world, 2e-3, 3e-3)

    found = race.metrics(entries, run(world, entries), {"fp4_tflops": None, "memory_gb_s": None})

    assert not [name for name in found if "roofline" in name]


def test_clocks_explain_a_loss_that_they_are_as_large_as() -> None:
    # The burst ran at 2000 MHz and won; sustained, at 1600, it is at 0.9 of the baseline: 0.9 x 2000/1600 > 1.
    cool, hot = phase(1.0, 1.1, 2000, 0, BURST), phase(1.0, 0.9, 1600, POWER)

    assert race.loss([cool, hot])[0] == "throttled"
    assert "sw_power_cap" in race.loss([cool, hot])[1]


@pytest.mark.parametrize(
    "hot",
    [
        phase(1.0, 0.9, 1900, POWER),  # a clock 5 % lower does not take 10 %
        phase(1.0, 0.9, 1600, 0),  # a lower clock that neither heat nor power brought about
        phase(1.0, 0.9, 1600, 0x2),  # somebody's setting
    ],
)
def test_clocks_do_not_excuse_what_they_do_not_explain(hot: Phase) -> None:
    assert race.loss([phase(1.0, 1.1, 2000, 0, BURST), hot])[0] == "slower_than_baseline"


def test_a_loss_that_is_not_explained_outweighs_one_that_is() -> None:
    cold, hot = phase(1.0, 0.9, 2000, 0, BURST), phase(1.0, 0.9, 1600, POWER)

    assert race.loss([cold, hot])[0] == "slower_than_baseline"
    assert race.loss([hot, cold])[0] == "slower_than_baseline"


@pytest.mark.parametrize(
    ("native", "bar", "left_out", "barred", "status", "reason"),
    [
        (1.0, 1.1, {}, True, "pass", ""),
        (1.1, 1.0, {}, True, "slow", "slower_than_baseline"),
        (1.0, None, {BAR: "w4a16_gemm is not offered"}, True, "skip", "no_baseline"),
        (1.0, None, {}, False, "pass", ""),
    ],
)
def test_the_finding_is_about_the_bar(  # noqa: PLR0917 - one row of the table above
    native: float,
    bar: float | None,
    left_out: dict[str, str],
    barred: bool,
    status: str,
    reason: str,
) -> None:
    world = World()
    works: dict[str, Work] = {NATIVE: world.lasting(native), AGAIN: world.lasting(native)}
    if bar:
        works[BAR] = world.lasting(bar)
    entries = field(works, left_out)
    phases = run(world, entries)

    found = race.finding(
        entries, phases, race.metrics(entries, phases, {}), kernels=("nvfp4_gemm",), marks=(),
        seed=7, barred=barred,
    )  # fmt: skip

    assert (found.status, found.reason) == (status, reason)
    assert found.seeds == (7,)
    assert set(found.durations) == {BURST, SUSTAINED}
    assert (found.metrics.get("speed_ratio", (2, ""))[0] < 1) is (status == "slow")
    assert all(why in found.text for why in left_out.values())
