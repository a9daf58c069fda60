"""Judge what a package made against the reference: bytes exactly, products by three figures, and name what is wrong."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch

from probes.finding import Finding, Metrics

RELATIVE_L2: Final = {torch.bfloat16: 8e-3, torch.float16: 2e-3, torch.float32: 1e-4}
"""Largest relative L2 error of a product by its type: about four times what rounding to that type alone gives
(2^-9 / sqrt(3) for bfloat16); another order of float32 sums is far below."""

COSINE: Final = 0.9999
NORM: Final = (0.98, 1.02)
"""Bounds of the ratio of norms: facts of the field; a cosine is blind to a wrong scale."""

_SKIPS: Final = frozenset({"not_offered", "too_small", "no_baseline"})
_HARNESS: Final = frozenset({"harness_error", "killed", "no_gpu", "driver_too_old", "runner_lost"})
_FALLBACKS: Final = frozenset({"weight_only_fallback", "emulation_fallback"})


def refused(reason: str, text: str, *, metrics: Metrics | None = None) -> Finding:
    """Make the finding of what is no pass; whose fault it is follows from the reason."""
    status = "fail"
    if reason in _SKIPS:
        status = "skip"
    elif reason in _HARNESS:
        status = "error"
    elif reason in _FALLBACKS:
        status = "fallback"
    return Finding(status=status, reason=reason, text=text, metrics=metrics or {})


@dataclass(frozen=True)
class Fault:
    """Something wrong with a tensor: `reason`, one sentence, and the figures that show it."""

    reason: str
    text: str


def product(  # noqa: PLR0911 - one arm a kind of fault
    got: torch.Tensor, want: torch.Tensor
) -> tuple[Fault | None, dict[str, tuple[float, str]]]:
    """Hold a product against the reference's: both (…, N); `want` float32. Also return the figures.

    Looked for, in order: another shape, NaN or infinity, all zeros, zeros in whole rows, the right direction and another
    length (a wrong scale), wrong numbers. On whatever device they are; compared in float64.
    """
    if got.shape != want.shape:
        told = f"shape {tuple(got.shape)}, not {tuple(want.shape)}"
        return Fault("wrong_numbers", told), {}
    left, right = got.detach().double().cpu(), want.detach().double().cpu()
    broken = ~torch.isfinite(left)
    figures = {"not_finite": (float(broken.sum()), "1")}
    if bool(broken.any()):
        first = tuple(int(i) for i in broken.nonzero()[0])
        return Fault(
            "nan_or_inf",
            f"{int(broken.sum())} of {left.numel()} are NaN or infinite, the first at {first}",
        ), figures
    size = right.norm().clamp_min(1e-30)
    norm = float(left.norm() / size)
    error = float((left - right).norm() / size)
    cosine = float((left * right).sum() / (left.norm() * right.norm()).clamp_min(1e-30))
    figures |= {"relative_l2": (error, "1"), "cosine": (cosine, "1"), "norm_ratio": (norm, "1")}
    bound = RELATIVE_L2[got.dtype]
    if error <= bound and cosine >= COSINE and NORM[0] <= norm <= NORM[1]:
        return None, figures
    if not bool(left.any()):
        return Fault("all_zero", "every element is zero"), figures
    if rows := _zero_rows(left, right):
        return Fault("all_zero", f"{len(rows)} rows are zero, the first is {rows[0]}"), figures
    said = (
        f"relative L2 {error:.3g} (at most {bound:g}), cosine {cosine:.6f}, norm ratio {norm:.4f}"
    )
    if cosine >= COSINE:
        return Fault("wrong_scale", said), figures
    return Fault("wrong_numbers", said), figures


def _zero_rows(got: torch.Tensor, want: torch.Tensor) -> Sequence[int]:
    flat, right = got.reshape(-1, got.shape[-1]), want.reshape(-1, want.shape[-1])
    return [int(i) for i in ((flat == 0).all(-1) & (right != 0).any(-1)).nonzero()]


def sha256(*tensors: torch.Tensor) -> str:
    """Hash tensors' bytes, to compare what several GPUs made of the same input."""
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(
            bytes(tensor.detach().contiguous().cpu().view(torch.uint8).numpy().tobytes())
        )
    return content.hexdigest()
