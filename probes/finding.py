"""What a probe found. One that contradicts itself cannot be built."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

STATUSES: Final = ("pass", "fallback", "slow", "fail", "skip", "error", "missing")
"""The closed list that results know (matrix/verdict.py)."""

MARKS: Final = (
    "single-run",
    "kernels-unproven",
    "numbers-unchecked",
    "one-kernel",
    "host-latency",
    "xid-unwatched",
)
"""What a finding may say that it does not show (matrix/vocabulary.py)."""

UNITS: Final = (
    "1", "req", "tok", "s", "ms", "us", "req/s", "tok/s", "TFLOP/s", "TB/s", "GB/s", "ratio", "percent", "B", "MHz", "W", "C",
)  # fmt: skip
"""Units of metrics (matrix/result.py)."""

_SKIPS: Final = frozenset({"not_offered", "too_small", "no_baseline", "not_proven"})
_HARNESS: Final = frozenset({"harness_error", "killed", "no_gpu", "driver_too_old", "runner_lost"})
_SLOW: Final = ("slower_than_baseline", "throttled")
_KEY: Final = re.compile(r"[a-z][a-z0-9_]*")
_FALLBACKS: Final = frozenset({"weight_only_fallback", "emulation_fallback"})

SPEED: Final = "speed_ratio"
"""The metric that a speed bar is about: native over baseline, above 1 where native is faster."""

Metrics = Mapping[str, tuple[float, str]]
"""Number and unit by name, as `Result.metrics` of matrix/result.py holds them."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one probe found on one case; the fields of matrix/result.py's `Result` that a probe decides.

    `status` is one of STATUSES, `reason` a word of `probes.reason`, "" for a pass. `kernels`: what ran, by the
    profiler. `advertised`: what the package says it would run. `marks`: what the finding does not show. `metrics`:
    number and unit by name. `digests`: SHA-256 of outputs by name, to compare targets with each other. `seeds` of
    the inputs. `durations`: seconds, by what took them. `text`: one sentence.

    Raises ValueError for a contradiction: a pass with a reason or without metrics or kernels, anything else
    without a reason, a number that is not finite, a duration under 0.
    """

    status: str
    reason: str = ""
    text: str = ""
    kernels: tuple[str, ...] = ()
    advertised: str = ""
    selected: str = ""
    marks: tuple[str, ...] = ()
    metrics: Metrics = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    durations: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if fault := self._contradiction():
            raise ValueError(f"status {self.status}: {fault}")

    def _contradiction(self) -> str:
        if self.status not in STATUSES:
            return "is none"
        if unknown := set(self.marks).difference(MARKS):
            return f"{', '.join(sorted(unknown))}: no mark"
        if fault := self._no_figure():
            return fault
        if self.status == "pass":
            return self._unearned()
        if not self.reason:
            return "a reason has to say why it is no pass"
        return self._unfit_reason()

    def _no_figure(self) -> str:
        for name, (value, unit) in self.metrics.items():
            if not math.isfinite(value) or unit not in UNITS:
                return f"{name} is not finite, or {unit} no unit"
        for name, seconds in self.durations.items():
            if not 0 <= seconds < math.inf:
                return f"{name} took no time that there is"
        for name in (*self.metrics, *self.digests, *self.durations):
            if not _KEY.fullmatch(name):
                return f"{name!r} is no name of a figure"
        return ""

    def _unfit_reason(self) -> str:
        """Say what keeps the reason from being one of the status: the rules of matrix/result.py."""
        if (self.status == "fallback") != (self.reason in _FALLBACKS):
            return f"{self.reason} is no reason for it"
        if self.status == "missing" and (self.metrics or self.kernels or self.durations):
            return "it has no metrics, kernels or durations"
        if self.status != "slow":
            return ""
        if self.reason not in _SLOW or not self.metrics:
            return f"{self.reason} is no reason for it, or its metrics are missing"
        ratio = self.metrics.get(SPEED, (1.0, ""))[0]
        if self.reason == "slower_than_baseline" and ratio >= 1:
            return f"its {SPEED} has to be there and under 1"
        return ""

    def _unearned(self) -> str:
        if self.reason:
            return "it has no reason"
        if not self.metrics:
            return "its metrics are missing"
        if not self.kernels and "kernels-unproven" not in self.marks:
            return "no kernel is named, and it is not marked kernels-unproven"
        return ""


def refused(reason: str, text: str, **more: Any) -> Finding:
    """Make the finding of what is no pass; whose fault it is follows from the reason. `more`: other fields of it."""
    status = "fail"
    if reason in _SKIPS:
        status = "skip"
    elif reason in _HARNESS:
        status = "error"
    elif reason in _FALLBACKS:
        status = "fallback"
    return Finding(status=status, reason=reason, text=text, **more)
