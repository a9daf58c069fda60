"""Name what is wrong with block scales, by making every wrong one that is known and comparing bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch

from probes.correctness.fault import Fault, where
from probes.reference import e2m1, e4m3, nvfp4
from probes.reference.layout import Layout, swizzle

ALIKE: Final = 0.98
"""The share of bytes that a suspect has to explain: what is at a tie may differ, and outliers may saturate."""

_NAMES: Final = {None: "rows", Layout.ROWS_128: "128x4", Layout.ROWS_8: "8x4"}


def name(
    values: torch.Tensor,
    multiplier: torch.Tensor,
    raw: torch.Tensor,
    got: torch.Tensor,
    *,
    wrong: torch.Tensor,
    layout: Layout | None,
) -> Fault:
    """Return the fault of scales that are wrong where `wrong` (M, K/16) says.

    `raw`: the bytes as they lie, flat; `got`: (M, K/16), read by the layout that was asked for.
    """
    real = nvfp4.blocks(nvfp4.exact(values), nvfp4.BLOCK).abs().amax(dim=-1)
    unrounded = real * multiplier.double() / e2m1.MAX
    want = _encode(unrounded)
    told = where(wrong)
    if fault := _plain(got, wrong, unrounded):
        return fault
    for lie, suspect in _layouts(want, layout):
        if _as_laid(raw, suspect):
            return Fault("wrong_scale_layout", lie)
    if not bool(got[wrong].any()):
        return Fault("all_zero", f"scales are zero where they may not be: {told}")
    rows = wrong.any(dim=-1)
    for reason, lie, suspect in _suspects(values, multiplier, unrounded):
        if _alike(got[rows], suspect[rows]):
            return Fault(reason, f"{lie}: {told}")
    if bool(((got.int() - want.int()).abs() <= 1).all()):
        return Fault("wrong_rounding", f"scales are one step of E4M3 off, away from ties: {told}")
    return Fault("wrong_scale", f"scales differ: {told}")


def _plain(got: torch.Tensor, wrong: torch.Tensor, unrounded: torch.Tensor) -> Fault | None:
    """Return the fault that the bytes show by themselves."""
    broken = (got & e4m3.NAN) == e4m3.NAN
    beyond = unrounded > e4m3.MAX
    if not bool(wrong[~beyond].any()):
        return Fault("not_saturated", f"scales beyond 448 are not 448: {where(wrong)}")
    if bool(broken.any()):
        return Fault("nan_or_inf", f"scales are NaN: {where(broken)}")
    return None if bool(got.any()) else Fault("all_zero", "every scale is zero")


def _alike(got: torch.Tensor, suspect: torch.Tensor) -> bool:
    return got.shape == suspect.shape and float((got == suspect).double().mean()) >= ALIKE


def _as_laid(raw: torch.Tensor, suspect: torch.Tensor) -> bool:
    """Compare bytes as they lie, where either has one: padding is most of a small matrix, and the same in every layout."""
    size = min(len(raw), len(suspect))
    told = (raw[:size] | suspect[:size]) != 0
    return bool(told.any()) and _alike(raw[:size][told], suspect[:size][told])


def _layouts(want: torch.Tensor, asked: Layout | None) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the right scales in every other order, flat."""
    turned = want.t().contiguous()
    matrices = (
        ("", want),
        (" of the transposed matrix", turned),
        (", column by column", turned.reshape(want.shape)),
    )
    for of, matrix in matrices:
        for layout in (None, Layout.ROWS_128, Layout.ROWS_8):
            if layout is asked and not of:
                continue
            made = matrix.flatten() if layout is None else swizzle(matrix, layout=layout)
            yield f"scales lie in {_NAMES[layout]}{of}, where {_NAMES[asked]} was asked for", made


def _suspects(
    values: torch.Tensor, multiplier: torch.Tensor, unrounded: torch.Tensor
) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield reason, sentence and bytes (M, K/16) of scales by every wrong rule."""
    m = float(multiplier.double())
    factors = (
        (1 / (m * m), "the global scale is taken as its inverse"),
        (1 / m, "the global scale is left out"),
        (m, "the global scale is applied twice"),
        (6.0, "scales lack the factor 1/6"),
        (1 / 6.0, "the factor 1/6 is applied twice"),
        (1 / 448.0, "scales are divided by 448"),
        (448.0, "scales are multiplied by 448"),
        (2.0, "scales are twice as large"),
        (0.5, "scales are half as large"),
        (6.0 / 4.0, "scales are made for a greatest value of 4 instead of 6"),
    )
    for factor, told in factors:
        yield "wrong_scale", told, _encode(unrounded * factor)
    nearest = e4m3.decode(e4m3.encode(unrounded)).double()
    below = _encode(unrounded)
    yield (
        "wrong_rounding",
        "scales are truncated",
        below - ((nearest > unrounded) & (below > 0)).to(torch.uint8),
    )
    more = ((nearest < unrounded) & (unrounded < e4m3.MAX)).to(torch.uint8)
    yield "wrong_rounding", "scales are rounded up", below + more
    powers = torch.exp2(unrounded.clamp_min(2.0**-9).log2().round())
    yield "wrong_scale", "scales are powers of two, as MXFP4 has them", _encode(powers)
    yield (
        "wrong_scale",
        "scales are rounded up to powers of two",
        _encode(torch.exp2(unrounded.clamp_min(2.0**-9).log2().ceil())),
    )
    for shift in (1, -1):
        whose = "before" if shift > 0 else "after"
        yield (
            "wrong_numbers",
            f"each block has the scale of the one {whose} it",
            below.roll(shift, -1),
        )
        yield (
            "wrong_numbers",
            f"each row has the scales of the one {whose} it",
            below.roll(shift, 0),
        )
    signed = nvfp4.blocks(values.double(), nvfp4.BLOCK)
    greatest = signed.amax(dim=-1).clamp_min(0) * m / e2m1.MAX
    yield "wrong_scale", "scales are of the greatest value, not magnitude", _encode(greatest)
    mean = signed.abs().mean(dim=-1) * m / e2m1.MAX
    yield "wrong_scale", "scales are of the mean magnitude, not the greatest", _encode(mean)
    whole = torch.full_like(unrounded, float(unrounded.max()))
    yield "wrong_scale", "every block has the scale of the whole tensor", _encode(whole)
    if unrounded.shape[1] > 1:
        pairs = unrounded[:, : unrounded.shape[1] // 2 * 2].reshape(len(unrounded), -1, 2).amax(-1)
        wide = torch.cat((pairs.repeat_interleave(2, 1), unrounded[:, pairs.shape[1] * 2 :]), 1)
        yield "wrong_scale", "blocks are of 32 values, not 16", _encode(wide)


def _encode(values: torch.Tensor) -> torch.Tensor:
    return e4m3.encode(values).view(torch.uint8)
