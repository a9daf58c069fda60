"""Is it fast? Native against weight-only, FP8 and BF16 kernels in the same rounds, with a cold L2; docs/speed.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import torch

from probes import watch
from probes.case import Case
from probes.check import Load, check
from probes.correctness import judge
from probes.finding import Finding, refused
from probes.request import Request
from probes.speed import contenders, race
from probes.speed.clocks import Clocks
from probes.speed.entry import NATIVE, Field
from probes.speed.rounds import TOLERANCE, agreement, disagrees
from probes.speed.shapes import gemm_loads, moe_loads, quantize_loads
from probes.speed.timer import EventTimer, HostTimer, Timer
from probes.subject import Charged

_COSINE: Final = 0.99
"""Of a check that the kernel is at work on this shape; how right it is, the correctness probes say."""

_BATCH: Final = 0.1
"""Seconds of one batch of the timer's check on a GPU."""


@check("gemm", gemm_loads)
def test_gemm(subject: Charged, case: Case, run: Request) -> Finding:
    """Race a product against Marlin W4A16, which it must not lose to, FP8 and BF16."""
    return _raced(subject, case, run, contenders.gemm, barred=True)


@check("moe", moe_loads)
def test_moe(subject: Charged, case: Case, run: Request) -> Finding:
    """Race fused experts against weight-only ones."""
    return _raced(subject, case, run, contenders.moe, barred=True)


@check("quantize", quantize_loads)
def test_quantize(subject: Charged, case: Case, run: Request) -> Finding:
    """Tell how near to the memory's rate a quantizer comes. It has no bar, and is not slow."""
    return _raced(subject, case, run, contenders.quantize, barred=False)


def timer_loads(run: Request) -> Iterator[Load]:
    """Yield the size of a square product in bfloat16, large enough for launches not to matter."""
    yield {"size": 8192 if run.scale == "full" else 256}


@check("gemm", timer_loads)
def test_timer(subject: Charged, case: Case, run: Request) -> Finding:
    """Hold the timer itself against the host's clock over many launches of a BF16 product; 2 % is the most it may be off.

    Says nothing of the package: what is timed is torch's.
    """
    on_gpu, size = subject.device.type == "cuda", case["size"]
    made = torch.randn(size, size, generator=torch.Generator().manual_seed(run.seed))
    matrix = made.to(subject.device, torch.bfloat16)
    timer, _ = timed(subject, "bf16")

    def product() -> object:
        return matrix @ matrix

    timer.each([product] * 3, cold=False)
    once = timer.together([product] * 3) / 3
    launches = min(200, max(4, int(_BATCH / once))) if on_gpu else 4
    ratio = agreement(product, timer, launches=launches, seed=case.seed(run.seed))
    metrics = {
        "timer_ratio": (ratio.middle, "1"),
        "timer_ratio_low": (ratio.low, "1"),
        "timer_ratio_high": (ratio.high, "1"),
        "bf16": (once * 1e6, "us"),
        "tflop_s": (2 * size**3 / once / 1e12, "TFLOP/s"),
    }
    if disagrees(ratio, quiet=on_gpu):
        off = (
            f"the timer tells {ratio.middle:.4f} of the host's clock, more than {TOLERANCE:.0%} off"
        )
        return refused("harness_error", off, metrics=metrics)
    return Finding(status="pass", metrics=metrics, marks=("kernels-unproven", "one-kernel"))


Contenders = Callable[[Charged, Case, Request], Field]


def _raced(
    subject: Charged, case: Case, run: Request, enter: Contenders, *, barred: bool
) -> Finding:
    seed = case.seed(run.seed)
    timer, clocks = timed(subject, case.operation)
    field = enter(subject, case, run)
    fault, figures = judge.product(field.got, field.want)
    if fault and figures.get("cosine", (0.0, ""))[0] < _COSINE:
        return refused(fault.reason, fault.text, metrics=figures)
    phases = race.race(field, timer, clocks, race.PLANS[run.scale], seed=seed)
    _, kernels = watch.kernels(
        lambda: subject.charge(case.operation, field.works[NATIVE]), subject.device
    )
    found = {**race.metrics(field, phases, run.options.get("rates") or {}), **figures}
    why = watch.fallback(kernels, case.operation)
    if why and why != "not_proven":
        return refused(why, f"ran {', '.join(kernels)}", metrics=found)
    marks = ["kernels-unproven"] if why else []
    if not timer.queued:
        marks.append("host-latency")
    return race.finding(
        field, phases, found, kernels=kernels, marks=tuple(marks), seed=seed, barred=barred
    )


def timed(subject: Charged, operation: str) -> tuple[Timer, Clocks]:
    """Return what times on the subject's device, and what reads its clocks meanwhile."""
    if subject.device.type != "cuda":
        # One thread: a second one waits for a processor that something else has, and that is not the kernel's time.
        torch.set_num_threads(1)
        return HostTimer(), Clocks(None, None)
    told = getattr(torch.cuda.get_device_properties(subject.device), "uuid", "")
    clocks = Clocks.of(f"GPU-{told}" if told else "")

    def settle() -> None:
        subject.charge(operation, lambda: None)

    return EventTimer(subject.device, settle, clocks.read), clocks
