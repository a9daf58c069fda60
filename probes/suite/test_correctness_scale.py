"""What becomes of a global scale that is none: another type than float32, zero, infinity, NaN. Refused, or right, or plain to see."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch

from probes import watch
from probes.case import Case
from probes.check import Load, check
from probes.correctness import badscale
from probes.correctness.making import make, representative
from probes.correctness.work import Work, concluded, digests, launch
from probes.finding import Finding, refused
from probes.request import Request
from probes.subject import Charged, ChargedError

TYPES: Final = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
NUMBERS: Final = {"zero": 0.0, "inf": float("inf"), "nan": float("nan")}

_MEANT: Final = frozenset({"failed", "not_compiled", "arch_guard"})
"""Reasons of what a package says in words; all others are deaths."""


def quantize_loads(run: Request) -> Iterator[Load]:
    """Yield every bad multiplier."""
    for given in (*TYPES, *NUMBERS):
        yield {**representative("quantize", run), "multiplier": given}


@check("quantize", quantize_loads)
def test_multiplier(subject: Charged, case: Case, run: Request) -> Finding:
    """Quantize with it."""
    work = badscale.quantize(subject, case, case.seed(run.seed), *_given(case.word("multiplier")))
    return _found(subject, case, work, make(subject, case, run))


def gemm_loads(run: Request) -> Iterator[Load]:
    """Yield every bad alpha."""
    for given in (*TYPES, *NUMBERS):
        yield {**representative("gemm", run), "alpha": given}


@check("gemm", gemm_loads)
def test_alpha(subject: Charged, case: Case, run: Request) -> Finding:
    """Multiply with it."""
    plain = make(subject, case, run)
    work = badscale.gemm(plain, *_given(case.word("alpha")))
    return _found(subject, case, work, plain)


def _given(word: str) -> tuple[torch.dtype, float | None]:
    return TYPES.get(word, torch.float32), NUMBERS.get(word)


def _found(subject: Charged, case: Case, work: Work, plain: Work) -> Finding:
    """Judge what came of it; where that was refused, the next call has to work as ever."""
    try:
        outputs, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    except ChargedError as error:
        if error.reason not in _MEANT:
            raise
        outputs, kernels = watch.kernels(lambda: launch(subject, plain), subject.device)
        fault, figures = plain.judge(outputs)
        found = concluded(
            subject, case, plain, outputs, kernels, fault, {**figures, "refused": (1.0, "1")}
        )
        return replace(found, text=found.text or f"refused: {error}")
    fault, figures = work.judge(outputs)
    if fault is None:
        return Finding(
            status="pass",
            kernels=kernels,
            metrics={**figures, "refused": (0.0, "1")},
            digests=digests(work, outputs),
            seeds=(work.seed,),
        )
    return refused(fault.reason, fault.text, kernels=kernels, metrics=figures)
