"""Compare NVFP4 runs with those of another format under the same load, and say what that shows. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

from matrix.result import SPEED, Metric
from matrix.runs.enginelog import fallback
from matrix.runs.run import Run
from matrix.verdict import Status
from matrix.vocabulary import Mark, Reason

BAR: Final = 0.05
"""The loss against the baseline that is called slow, where repeats do not show that equal runs differ by more."""


@dataclass(frozen=True)
class Finding:
    """What NVFP4 runs of one load and backend show; `runs` are those it was made from, the native ones first."""

    status: Status
    reason: Reason
    text: str
    runs: tuple[Run, ...]
    metrics: dict[str, Metric] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()
    kernels: tuple[str, ...] = ()

    @property
    def native(self) -> Run:
        """The run whose numbers it has: of repeats the one in the middle."""
        return self.runs[0]


def compare(runs: Sequence[Run], kernels: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Judge every native run in `runs`; `kernels` are those that vLLM named in the native runs' logs.

    Runs pair where their loads are equal. Of repeats the one in the middle counts, and of several
    baselines the fastest backend's. The rule, in order:
    1. A run with trouble is an error: it says nothing of the product.
    2. Kernels that are weight-only or emulated fall back, however fast they are.
    3. Without a baseline of its load it is skipped: nothing says how fast is fast enough.
    4. Slower by more than BAR, or than repeats of one load differ where that is more, is slow.
    5. Else it passes the speed bar, and no more than that: see the marks.
    """
    native = [run for run in runs if run.role == "native"]
    baseline: dict[str, list[Run]] = {}
    equal: dict[tuple[str, tuple[str, ...]], list[Run]] = {}
    for run in runs:
        if run.role == "baseline":
            baseline.setdefault(run.capability, []).append(run)
            if run.load and not run.trouble:
                equal.setdefault((run.capability, run.load), []).append(run)
    found = [
        Finding(status="error", reason=run.trouble, text=run.text, runs=(run,), metrics=run.metrics)
        for run in native
        if run.trouble
    ]
    for same in _alike([run for run in native if not run.trouble]):
        used = tuple(dict.fromkeys((*kernels, *same[0].kernels)))
        first = same[0]
        pair = equal.get((first.capability, first.load), [])
        found.append(_judge(same, baseline.get(first.capability, []), pair, used))
    return tuple(found)


def _judge(
    same: Sequence[Run], others: Sequence[Run], equal: Sequence[Run], kernels: tuple[str, ...]
) -> Finding:
    """Judge repeats against `equal`, the baselines of their load; `others` are those of any load."""
    native = _middle(same)
    metrics = dict(native.metrics)
    marks: list[Mark] = [] if kernels else ["kernels-unproven"]
    marks.append("numbers-unchecked")
    if native.alone:
        marks.append("one-kernel")
    status, reason, text = _unpaired(native, others)
    runs = (native, *(run for run in same if run is not native))
    if equal and native.figure:
        against = max(_alike(equal), key=lambda repeats: _middle(repeats).speed)
        other = _middle(against)
        runs += (other, *(run for run in against if run is not other))
        ratio = native.speed / other.speed
        metrics[f"baseline_{other.figure}"] = other.metrics[other.figure]
        metrics[SPEED] = Metric(value=round(ratio, 4), unit="ratio")
        spread = max(_spread(same), _spread(against))
        if max(len(same), len(against)) > 1:
            metrics["repeat_spread"] = Metric(value=round(spread, 4), unit="ratio")
        else:
            marks.insert(0, "single-run")
        status, reason = "pass", ""
        if metrics[SPEED].value < 1 - max(BAR, spread):
            status, reason = "slow", "slower_than_baseline"
        text = f"{ratio:.3f} of the baseline's speed"
    if because := fallback(kernels):
        status, reason = "fallback", because
        text = f"ran {', '.join(kernels)}; {text}"
    return Finding(
        status=status,
        reason=reason,
        text=text,
        runs=runs,
        metrics=metrics,
        marks=tuple(marks),
        kernels=kernels,
    )


def _unpaired(native: Run, others: Sequence[Run]) -> tuple[Status, Reason, str]:
    """Say why a run has nothing to be compared with."""
    if not others:
        return "skip", "no_baseline", "nothing to compare it with"
    if all(run.trouble for run in others):
        first = others[0]
        return (
            "skip",
            "no_baseline",
            f"the baseline cannot be used ({first.source.name}: {first.trouble})",
        )
    if not native.load:
        return "skip", "different_load", "it does not say which load it was"
    return "skip", "different_load", "no baseline is of the same load"


def _alike(runs: Sequence[Run]) -> Iterator[list[Run]]:
    """Yield repeats together: the same capability, load and backend. What has no load repeats nothing."""
    known = [run for run in runs if run.load]
    known.sort(key=_key)
    for _, same in groupby(known, key=_key):
        yield list(same)
    for run in runs:
        if not run.load:
            yield [run]


def _key(run: Run) -> tuple[str, tuple[str, ...], str]:
    return run.capability, run.load, run.backend


def _middle(same: Sequence[Run]) -> Run:
    """Pick the run of middle speed, of an even number the slower one."""
    if len(same) == 1:
        return same[0]
    return sorted(same, key=lambda run: run.speed)[(len(same) - 1) // 2]


def _spread(same: Sequence[Run]) -> float:
    """Tell by how much repeats differ, as a part of the fastest."""
    if len(same) == 1:
        return 0.0
    speeds = [run.speed for run in same]
    return 1 - min(speeds) / max(speeds)
