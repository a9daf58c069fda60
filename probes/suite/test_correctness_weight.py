"""Are weight-only products right? What a stack falls back to, and what native kernels are raced against; no native lamp is lit by them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from probes import watch
from probes.case import Case
from probes.check import Load, each
from probes.correctness import weighing
from probes.correctness.making import representative
from probes.correctness.work import digests, launch
from probes.finding import Finding, refused
from probes.request import Request
from probes.subject import Charged

_MAKERS = {"w4a16_gemm": weighing.w4a16_gemm, "w4a16_moe": weighing.w4a16_moe}


def gemm_loads(run: Request) -> Iterator[Load]:
    """Yield a single row, a part of a tile, and more than one tile."""
    for m in (1, 17, 300) if run.scale == "full" else (17,):
        yield {**representative("gemm", run), "m": m}


def moe_loads(run: Request) -> Iterator[Load]:
    """Yield the load that shows fused experts once."""
    yield representative("moe", run)


@each({"w4a16_gemm": gemm_loads, "w4a16_moe": moe_loads})
def test_weight_only(subject: Charged, case: Case, run: Request) -> Finding:
    """Multiply activations in 16 bits by weights in NVFP4, by a weight-only kernel."""
    if run.scale == "small":
        torch.set_num_threads(1)
    work = _MAKERS[case.operation](subject, case, case.seed(run.seed))
    outputs, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    fault, figures = work.judge(outputs)
    told: Mapping[str, Any] = {"kernels": kernels, "metrics": figures, "seeds": (work.seed,)}
    if fault is not None:
        return refused(fault.reason, fault.text, **told)
    ran = watch.fallback(kernels, case.operation)
    if ran == "emulation_fallback":
        return refused(ran, f"right numbers by {', '.join(kernels)}", **told)
    marks = ("kernels-unproven",) if ran == "not_proven" else ()
    return Finding(status="pass", marks=marks, digests=digests(work, outputs), **told)
