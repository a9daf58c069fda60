"""Judge what a package made against the reference: bytes exactly, products by three figures, and name what is wrong."""

from __future__ import annotations

import ctypes
import hashlib
import time
from collections.abc import Iterable
from typing import Final

import torch

from probes.correctness import bounds
from probes.correctness.fault import Fault, where, zero_rows
from probes.finding import Metrics

_PATIENCE: Final = 60.0
"""Seconds for naming what is wrong; products of 256 experts take seconds each. It is wrong all the same."""


Suspect = tuple[str, str, torch.Tensor]
"""A reason, a sentence, and what the product would be, were that so."""


def product(
    got: torch.Tensor,
    want: torch.Tensor,
    *,
    bound: float | None = None,
    row_bound: float | None = None,
    suspects: Iterable[Suspect] = (),
) -> tuple[Fault | None, dict[str, tuple[float, str]]]:
    """Hold a product against the reference's: both (…, N). Also return the figures.

    `bound`: the largest relative L2 error (`probes.correctness.bounds`), by default that of `got`'s type. `row_bound`: that of a row, by default one and
    a half times as much; an element may be off by six times that of its row's root mean square. `suspects` are made one by one, once something is wrong, and name it. Compared on the CPU in
    float64.
    """
    if got.shape != want.shape:
        told = f"shape {tuple(got.shape)}, not {tuple(want.shape)}"
        return Fault("wrong_numbers", told), {}
    bound = bounds.product(got.dtype) if bound is None else bound
    row_bound = bounds.ROW * bound if row_bound is None else row_bound
    left, right = got.detach().double().cpu(), want.detach().double().cpu()
    broken = ~torch.isfinite(left)
    figures = {"not_finite": (float(broken.sum()), "1")}
    if bool(broken.any()):
        return Fault("nan_or_inf", f"NaN or infinite: {where(broken)}"), figures
    error, cosine, norm = _figures(left, right)
    by_row, peak = _rows(left, right, row_bound)
    figures |= {
        "relative_l2": (error, "1"),
        "cosine": (cosine, "1"),
        "norm_ratio": (norm, "1"),
        "relative_l2_worst_row": (float(by_row.max()), "1"),
        "worst_element": (float(peak.max()), "1"),
    }
    whole = error <= bound and cosine >= bounds.cosine(bound)
    inside = bounds.NORM[0] <= norm <= bounds.NORM[1]
    off = by_row > row_bound
    if whole and inside and not bool(off.any()) and float(peak.max()) <= 1:
        return None, figures
    wrong = (peak > 1).reshape(left.shape) | off.reshape(*left.shape[:-1], 1)
    return _named(left, right, wrong, figures, suspects, bound, row_bound), figures


def _figures(left: torch.Tensor, right: torch.Tensor) -> tuple[float, float, float]:
    """Return relative L2 error, cosine and ratio of norms; of two zeros 0, 1 and 1."""
    size = right.norm()
    if not float(size):
        error = 0.0 if not bool(left.any()) else float("1e30")
        return error, 1.0 if not error else 0.0, 1.0 if not error else float("1e30")
    lengths = (left.norm() * size).clamp_min(1e-300)
    return (
        float((left - right).norm() / size),
        float((left * right).sum() / lengths),
        float(left.norm() / size),
    )


def _rows(
    left: torch.Tensor, right: torch.Tensor, bound: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return each row's relative L2 error, and each element's error over what is allowed for it.

    A row of zeros is held to the whole's root mean square.
    """
    one, two = left.reshape(-1, left.shape[-1]), right.reshape(-1, right.shape[-1])
    floor = 1e-3 * two.square().mean().sqrt().clamp_min(1e-30)
    mean = two.square().mean(-1, keepdim=True).sqrt().clamp_min(floor)
    error = (one - two).abs()
    by_row = error.square().mean(-1).sqrt() / mean.squeeze(-1)
    return by_row, error / (bound * two.abs() + bounds.PEAK * bound * mean)


def _named(  # noqa: PLR0911, PLR0917 - one arm a kind of fault
    left: torch.Tensor,
    right: torch.Tensor,
    wrong: torch.Tensor,
    figures: Metrics,
    suspects: Iterable[Suspect],
    bound: float,
    row_bound: float,
) -> Fault:
    """Name what is wrong with a finite product, wrong where `wrong` says."""
    if not bool(left.any()):
        return Fault("all_zero", "every element is zero")
    started = time.monotonic()
    for reason, told, suspect in suspects:
        if time.monotonic() - started > _PATIENCE:
            break
        other = suspect.detach().double().cpu()
        # A change may leave this product as it is: what explains has to be nearer than what is right.
        nearer = _figures(left, other)[0] <= figures["relative_l2"][0] / 4
        if nearer and _explains(left, other, bound, row_bound):
            return Fault(reason, told)
    rows = zero_rows(left, right)
    if len(rows):
        return Fault("all_zero", f"{len(rows)} rows are zero, the first is {int(rows[0])}")
    error, cosine, norm = (figures[name][0] for name in ("relative_l2", "cosine", "norm_ratio"))
    said = (
        f"relative L2 {error:.3g} (at most {bound:.2g}), cosine {cosine:.6f}, norm ratio {norm:.4g}"
    )
    factor = float((left * right).sum() / right.square().sum().clamp_min(1e-300))
    # A single element or row that is off leaves the factor at 1, and is no matter of scale.
    scaled = factor > 0 and abs(factor - 1) > bound / 2
    if scaled and _explains(left, factor * right, bound, row_bound):
        return Fault("wrong_scale", f"right but for a factor of {factor:.6g}; {said}")
    if cosine <= -bounds.cosine(bound):
        return Fault("sign_lost", f"every sign is inverted; {said}")
    if bool((left >= 0).all()) and bool((right < 0).any()):
        return Fault("sign_lost", f"no element is negative; {said}")
    return Fault("wrong_numbers", f"{said}; wrong: {where(wrong)}")


def _explains(left: torch.Tensor, suspect: torch.Tensor, bound: float, row_bound: float) -> bool:
    """Say whether a product is a suspect's, in every row and element; twice the bounds, since a fault may add roundings."""
    error, _, norm = _figures(left, suspect)
    if not error <= 2 * bound or not bounds.NORM[0] <= norm <= bounds.NORM[1]:
        return False
    by_row, peak = _rows(left, suspect, 2 * row_bound)
    return float(by_row.max()) <= 2 * row_bound and float(peak.max()) <= 1


def sha256(*tensors: torch.Tensor) -> str:
    """Hash tensors' bytes, to compare what several GPUs made of the same input."""
    content = hashlib.sha256()
    for tensor in tensors:
        held = tensor.detach().cpu().contiguous()
        # By address: torch's own way to bytes is by numpy, which a stack need not have.
        content.update(ctypes.string_at(held.data_ptr(), held.nbytes))
    return content.hexdigest()
