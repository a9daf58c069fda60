"""Race contenders in a burst from idle and back to back, and say what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from probes.finding import Finding, Metrics
from probes.speed import clocks, contrast
from probes.speed.clocks import Clocks, Reading
from probes.speed.contrast import Contrast
from probes.speed.entry import AGAIN, BAR, LAYER, NATIVE, Field
from probes.speed.rounds import Length, Series, measured
from probes.speed.timer import Timer

BURST: Final = "burst"
SUSTAINED: Final = "sustained"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How long to race: `idle` seconds of rest, a `burst` from there, then `sustained`, whose later half counts."""

    idle: float
    burst: Length
    sustained: Length


PLANS: Final[Mapping[str, Plan]] = {
    "full": Plan(
        idle=1.0,
        burst=Length(seconds=0.1, least=48, most=400),
        sustained=Length(seconds=3.0, least=96, most=20_000),
    ),
    "small": Plan(
        idle=0.0,
        burst=Length(seconds=0.1, least=40, most=40),
        sustained=Length(seconds=0.2, least=80, most=80),
    ),
}
"""By a request's scale; how many rounds find what, `contrast` says."""


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase: seconds of every contender by rounds, the clocks meanwhile, how long it took."""

    name: str
    series: Series
    readings: Sequence[Reading]
    seconds: float

    @property
    def against_bar(self) -> Contrast | None:
        """Native against the bar; None where that is not in the race."""
        return self.against(BAR)

    def against(self, name: str) -> Contrast | None:
        """Native against another contender; None where that is not in the race."""
        if name not in self.series:
            return None
        return contrast.contrast(self.series[NATIVE], self.series[AGAIN], self.series[name])


def race(field: Field, timer: Timer, watch: Clocks, plan: Plan, *, seed: int) -> list[Phase]:
    """Race a field, every contender in every round of both phases."""
    for work in field.works.values():  # what a first timed call pays for once
        timer.each([work])
    timer.rest(plan.idle)
    watch.take()
    phases: list[Phase] = []
    for name, length in ((BURST, plan.burst), (SUSTAINED, plan.sustained)):
        began = timer.now()
        series = measured(field.works, timer, length, seed=seed + len(phases))
        readings = watch.take()
        if name == SUSTAINED:
            series = {each: taken[len(taken) // 2 :] for each, taken in series.items()}
            readings = readings[len(readings) // 2 :]
        phases.append(
            Phase(name=name, series=series, readings=readings, seconds=timer.now() - began)
        )
    return phases


def metrics(field: Field, phases: Sequence[Phase], rates: Mapping[str, Any]) -> Metrics:
    """Return the figures of a race; those of a phase begin with its name.

    Medians in us, their spread (10th to 90th percentile over the median), native's speed over each other's, the A/A noise, %
    of the roofline, clocks, and why they were no higher. `speed_ratio`: against the bar, of the phase in which
    it is the lower.
    """
    found: dict[str, tuple[float, str]] = {}
    bound = field.cost.bound(rates)
    for phase in phases:
        told: dict[str, tuple[float, str]] = {}
        for name, taken in phase.series.items():
            told[name] = (median(taken) * 1e6, "us")
            told[f"{name}_spread"] = (100 * contrast.spread(taken), "percent")
            if (held := phase.against(name)) and name not in (NATIVE, AGAIN):
                told[f"speed_over_{name}"] = (held.ratio, "ratio")
        if LAYER in phase.series and BAR in phase.series:
            paid = median(contrast.pairs(phase.series[BAR], phase.series[LAYER]))
            told["layer_over_w4a16"] = (math.exp(paid), "ratio")
        seconds = median(phase.series[NATIVE])
        told["rounds"] = (len(phase.series[NATIVE]), "1")
        told |= {"gb_s": (field.cost.moved / seconds / 1e9, "GB/s")}
        if field.cost.flops:
            told["tflop_s"] = (field.cost.flops / seconds / 1e12, "TFLOP/s")
        if bound:
            told["roofline"] = (100 * bound / seconds, "percent")
        noise = math.expm1(contrast.margin(phase.series[NATIVE], phase.series[AGAIN]))
        told["noise"] = (100 * noise, "percent")
        told |= clocks.told(phase.readings)
        found |= {f"{phase.name}_{name}": value for name, value in told.items()}
    if ratios := [held.ratio for phase in phases if (held := phase.against_bar)]:
        found["speed_ratio"] = (min(ratios), "ratio")
    return found


def loss(phases: Sequence[Phase], bar: str = BAR) -> tuple[str, str]:
    """Return why native is slow and a sentence on it; "" and what can be said where it is not. `bar`: who sets it.

    `throttled` where it loses while heat or power hold the clock down, by no more than the clock lost against the
    fastest that was seen in this race: the lower clock then explains all of it.
    """
    fastest = max((r.sm_clock for phase in phases for r in phase.readings), default=0.0)
    said, reasons = [], []
    for phase in phases:
        held = phase.against_bar
        if held is None:
            continue
        said.append(
            f"{held.ratio:.3f} of the speed of {bar} ({phase.name}; A/A {100 * held.noise:.1f} %)"
        )
        if held.slower:
            why = clocks.throttles(phase.readings)
            enough = held.ratio * clocks.slowdown(phase.readings, fastest) >= 1
            reasons.append("throttled" if why and enough else "slower_than_baseline")
            said.extend(f"clocks held down by {each}" for each in why)
    worst = min(reasons, default="")  # slower_than_baseline before throttled
    return worst, "; ".join(said)


def finding(
    field: Field,
    phases: Sequence[Phase],
    found: Metrics,
    *,
    kernels: tuple[str, ...],
    marks: tuple[str, ...],
    seed: int,
    barred: bool,
) -> Finding:
    """Say what a race comes to. `barred`: whether the operation has a bar, which W4A16 sets."""
    durations = {phase.name: phase.seconds for phase in phases}
    reason, said = loss(phases, field.bar)
    status = "slow" if reason else "pass"
    if barred and BAR in field.left_out:
        status, reason = "skip", "no_baseline"
    missing = [f"without {name}: {why}" for name, why in field.left_out.items()]
    return Finding(
        status=status,
        reason=reason,
        text="; ".join(filter(None, (said, *missing))),
        kernels=kernels,
        marks=marks,
        metrics=found,
        seeds=(seed,),
        durations=durations,
    )
