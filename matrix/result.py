"""Results: what one check found, one JSON line each. One that contradicts itself cannot be built."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import Annotated, Final, Literal

from msgspec import Meta

from matrix.model import Model
from matrix.target import RunTarget
from matrix.verdict import Status
from matrix.vocabulary import Environment, Machine, Mark, Reason

Unit = Literal[
    "req", "tok", "s", "ms", "us", "req/s", "tok/s", "TFLOP/s", "TB/s", "GB/s", "ratio", "percent", "line", "1",
    "B", "MHz", "W", "C",
]  # fmt: skip
"""Closed. `ratio` is native over baseline, above 1 where native is better; `1` a number without a unit."""

Role = Literal["native", "baseline"]
"""Whether a file tells of the NVFP4 run, or of what it is compared with."""

Form = Literal["vllm-bench-serve", "vllm-bench-serve-json", "vllm-log", "flashinfer-benchmark", ""]
"""What kind of file a measurement was read from; "" is a probe's own."""

SPEED: Final = "speed_ratio"
"""The metric that a speed bar is about: native over baseline, above 1 where native is faster."""

LONGEST_NAME: Final = 200
"""Characters in the name of a stack."""

_SLOW: Final[tuple[Reason, ...]] = ("slower_than_baseline", "throttled")
_FALLBACK: Final[tuple[Reason, ...]] = ("weight_only_fallback", "emulation_fallback")
_WHEN = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)

Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")]


class Metric(Model, frozen=True, kw_only=True):
    """One number and its unit. Raises ValueError where the number is not finite."""

    value: float
    unit: Unit

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError("a metric is a finite number")


class Probe(Model, frozen=True, kw_only=True):
    """The check that was made: `sha256` is of its own code, so that a changed check is another one."""

    name: str
    sha256: Sha256


class Source(Model, frozen=True, kw_only=True):
    """A file that a result was read from: its name without folders, its SHA-256, what it tells of."""

    name: str
    sha256: Sha256
    role: Role
    form: Form


class Result(Model, frozen=True, kw_only=True):
    """What one check found on one cell (stack x target x machine x environment x capability).

    `stack`: the name of a stack, known or not. `environment` "" is not told. `backend`: what served or
    multiplied, in upstream's words; `kernels`: what is known to have run; beside it `advertised`, what the
    package says of itself there, and `selected`, the backend that it chooses by itself. `reason`: why it is
    no pass. `marks`: what it does not show. `load`: what was asked of the machine ("m=128"). `metrics` by
    name; `digests`: SHA-256 of outputs by name, which GPUs can be compared by; `seeds` of the check's
    inputs; `durations` in seconds, by what took them. `when`: UTC, when the result was made. `run`: one word for all results
    of one probe run or import. `source`: where it was read, none for a probe's own. `text`: one sentence.

    Raises ValueError for a contradiction: a pass with a reason, without metrics, or without kernels and
    not marked so; anything else without its reason; `slow` without a ratio under 1 for
    `slower_than_baseline`; `fallback` for another reason than one; `missing` with anything found.
    """

    stack: str
    target: RunTarget
    machine: Machine
    environment: Environment | Literal[""] = ""
    capability: str
    probe: Probe
    backend: str = ""
    kernels: tuple[str, ...] = ()
    advertised: str = ""
    selected: str = ""
    status: Status
    reason: Reason = ""
    marks: tuple[Mark, ...] = ()
    load: tuple[str, ...] = ()
    metrics: dict[Key, Metric] = {}  # noqa: RUF012 - msgspec copies an empty default
    digests: dict[Key, Sha256] = {}  # noqa: RUF012 - msgspec copies an empty default
    seeds: tuple[int, ...] = ()
    durations: dict[Key, float] = {}  # noqa: RUF012 - msgspec copies an empty default
    when: str
    run: str
    source: tuple[Source, ...] = ()
    text: str = ""

    def __post_init__(self) -> None:
        if fault := unfit_name(self.stack):
            raise ValueError(f"the stack's name {fault}")
        if not _WHEN.fullmatch(self.when):
            raise ValueError("`when` is no UTC time such as 2026-11-21T03:00:00Z")
        if not all(math.isfinite(each) and each >= 0 for each in self.durations.values()):
            raise ValueError("a duration is a number of seconds, 0 or more")
        if fault := self._contradiction():
            raise ValueError(f"status {self.status}: {fault}")

    def _contradiction(self) -> str:
        if self.status == "pass":
            return self._unearned()
        if not self.reason:
            return "a reason has to say why it is no pass"
        if self.status == "slow":
            return self._unslow()
        if (self.status == "fallback") != (self.reason in _FALLBACK):
            return f"{self.reason} is no reason for it"
        if self.status == "missing" and (self.metrics or self.kernels or self.durations):
            return "it has no metrics, kernels or durations"
        return ""

    def _unearned(self) -> str:
        if self.reason:
            return "it has no reason"
        if not self.metrics:
            return "its metrics are missing"
        if not self.kernels and "kernels-unproven" not in self.marks:
            return "no kernel is named, and it is not marked kernels-unproven"
        return ""

    def _unslow(self) -> str:
        if self.reason not in _SLOW:
            return f"{self.reason} is no reason for it"
        ratio = self.metrics.get(SPEED)
        if self.reason == "slower_than_baseline" and (ratio is None or ratio.value >= 1):
            return f"its {SPEED} has to be there and under 1"
        return "" if self.metrics else "its metrics are missing"


def unfit_name(name: str) -> str:
    """Say what makes `name` unfit for a stack ("" where nothing does): it is printed and stored as given."""
    if not name.strip():
        return "is empty"
    if len(name) > LONGEST_NAME:
        return f"is longer than {LONGEST_NAME} characters"
    if any(unicodedata.category(character)[0] == "C" for character in name):
        return "has characters that cannot be seen"
    if name.startswith("-"):  # it is handed on to commands, which would take it for an option
        return "begins with -"
    if name.startswith("::") or "##[" in name:
        return "holds what a workflow's log would obey"
    return ""
