"""Judge quantized bytes: scales first, then codes under the package's own scales; exact but for ties.

A kernel computes m * amax / 6 and m * x / s in float32 with approximate reciprocals. By the PTX ISA `rcp.approx.ftz.f32`
is within 1 ulp; two of them and two products, each rounded to nearest, so come out within about 2 ulp of float32, which
is 4 * 2^-24 of the value. What lies nearer to a rounding boundary than that may go either way, by one step. Those are counted
(`codes_at_ties`, `scales_at_ties`) and are no fault, unless all exact ties go the same wrong way: then it is the rule of
rounding that is another. Anything further away is a fault.
"""

from __future__ import annotations

from typing import Final

import torch

from probes.correctness import codefaults, scalefaults
from probes.correctness.fault import Fault, where
from probes.finding import Metrics
from probes.reference import e2m1, e4m3, nvfp4
from probes.reference.layout import Layout, padded, unswizzle

TIE: Final = 4 * 2.0**-24
"""Two ulp of float32, relative to the boundary."""

_NAN: Final = e4m3.NAN


def judge(
    values: torch.Tensor,
    multiplier: torch.Tensor,
    packed: torch.Tensor,
    scales: torch.Tensor,
    *,
    layout: Layout | None,
    poisoned: bool = False,
) -> tuple[Fault | None, Metrics]:
    """Hold a package's `packed` and `scales` against `values` (M, K) and the multiplier that it was given.

    `layout`: the one that was asked for. `poisoned`: the memory was full of 0xFF or 0x7F before, so that a scale of NaN is
    one that nobody wrote. Everything is compared on the CPU.
    """
    values, multiplier = values.cpu(), multiplier.cpu()
    packed, scales = _bytes(packed), _bytes(scales)
    rows, columns = values.shape[0], values.shape[1] // nvfp4.BLOCK
    if tuple(packed.shape) != (rows, values.shape[1] // 2):
        told = f"codes have shape {tuple(packed.shape)}, not {(rows, values.shape[1] // 2)}"
        return Fault("wrong_packing", told), {}
    size = padded_size(rows, columns, layout)
    if scales.numel() != size:
        told = (
            f"scales take {scales.numel()} bytes, where the layout that was asked for takes {size}"
        )
        return Fault("wrong_scale_layout", told), {}
    raw = scales.flatten()
    linear = _rows(raw, rows, columns, layout)
    fault, figures = _scales(values, multiplier, raw, linear, layout, poisoned=poisoned)
    if fault:
        return fault, figures
    if layout is not None and poisoned:
        fault, more = _padding(raw, rows, columns, layout)
        figures = {**figures, **more}
        if fault:
            return fault, figures
    fault, more = _codes(values, multiplier, packed, linear)
    return fault, {**figures, **more}


def padded_size(rows: int, columns: int, layout: Layout | None) -> int:
    """Return the bytes that scales take, padding included."""
    if layout is None:
        return rows * columns
    high, wide = padded(rows, columns, layout=layout)
    return high * wide


def dequantized(
    packed: torch.Tensor, scales: torch.Tensor, multiplier: torch.Tensor, layout: Layout | None
) -> torch.Tensor:
    """Return what a package's bytes mean: float32 (M, K), on the CPU."""
    packed, scales = _bytes(packed), _bytes(scales)
    rows, columns = packed.shape[0], packed.shape[1] * 2 // nvfp4.BLOCK
    linear = _rows(scales.flatten(), rows, columns, layout)
    return nvfp4.dequantize(
        nvfp4.Nvfp4(
            packed=packed,
            scales=linear.view(torch.float8_e4m3fn),
            global_scale_multiplier=multiplier.cpu(),
        )
    )


def scale_bytes(scales: torch.Tensor, rows: int, layout: Layout | None) -> torch.Tensor:
    """Return scales as bytes in rows: uint8 (rows, K/16); of padded columns as many as are there."""
    raw = _bytes(scales).flatten()
    if layout is None:
        return raw.reshape(rows, -1)
    high = -(-rows // layout.value) * layout.value
    return unswizzle(raw, rows=rows, columns=raw.numel() // high, layout=layout)


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().view(torch.uint8).cpu()


def _rows(raw: torch.Tensor, rows: int, columns: int, layout: Layout | None) -> torch.Tensor:
    if layout is None:
        return raw.reshape(rows, columns)
    return unswizzle(raw, rows=rows, columns=columns, layout=layout)


def _scales(
    values: torch.Tensor,
    multiplier: torch.Tensor,
    raw: torch.Tensor,
    got: torch.Tensor,
    layout: Layout | None,
    *,
    poisoned: bool,
) -> tuple[Fault | None, Metrics]:
    want = nvfp4.block_scales(values, global_scale_multiplier=multiplier).view(torch.uint8)
    near = nvfp4.scale_tie_distance(values, global_scale_multiplier=multiplier) <= TIE
    step = (got.int() - want.int()).abs() == 1
    differ = got != want
    excused = differ & near & step
    wrong = differ & ~excused
    figures = {
        "scales": (float(got.numel()), "1"),
        "scales_at_ties": (float(excused.sum()), "1"),
        "scales_wrong": (float(wrong.sum()), "1"),
    }
    if not bool(wrong.any()):
        return None, figures
    unread = (got & _NAN) == _NAN
    if poisoned and bool((wrong & unread).any()):
        told = f"nobody wrote these scales: {where(wrong & unread)}"
        return Fault("uninitialised_scale", told), figures
    return scalefaults.name(values, multiplier, raw, got, wrong=wrong, layout=layout), figures


def _padding(
    raw: torch.Tensor, rows: int, columns: int, layout: Layout
) -> tuple[Fault | None, Metrics]:
    """Look for poison in the padding of swizzled scales.

    A padded column multiplies the tail of a row that is there: NaN times the zeros that fill up K is NaN. A padded row
    belongs to a row of the product that is never stored, so that it is counted, and no fault.
    """
    high, wide = padded(rows, columns, layout=layout)
    whole = unswizzle(raw, rows=high, columns=wide, layout=layout)
    left = (whole & _NAN) == _NAN
    tail = left[:rows, columns:]
    figures = {
        "padding_columns_unwritten": (float(tail.sum()), "1"),
        "padding_rows_unwritten": (float(left[rows:].sum()), "1"),
    }
    if bool(tail.any()):
        told = f"padding of the scales' columns is left as it was: {where(tail)}"
        return Fault("uninitialised_scale", told), figures
    return None, figures


def _codes(
    values: torch.Tensor, multiplier: torch.Tensor, packed: torch.Tensor, scales: torch.Tensor
) -> tuple[Fault | None, Metrics]:
    own = scales.view(torch.float8_e4m3fn)
    read = (e4m3.decode(own) > 0).repeat_interleave(nvfp4.BLOCK, dim=-1)
    got = e2m1.unpack(packed)
    want = nvfp4.codes(values, own, global_scale_multiplier=multiplier)
    distance = nvfp4.code_tie_distance(values, own, global_scale_multiplier=multiplier)
    # Zeros of either sign are the same number; under a scale of 0 codes mean nothing.
    zeros = ((got | want) & 7) == 0
    differ = (got != want) & ~zeros & read
    step = ((got & 7).int() - (want & 7).int()).abs() == 1
    same = ((got ^ want) & e2m1.SIGN == 0) | ((got & 7) == 0) | ((want & 7) == 0)
    excused = differ & (distance <= TIE) & step & same
    wrong = differ & ~excused
    figures = {
        "codes": (float(got.numel()), "1"),
        "codes_at_ties": (float(excused.sum()), "1"),
        "codes_wrong": (float(wrong.sum()), "1"),
        "zero_signs": (float(((got != want) & zeros & read).sum()), "1"),
    }
    if bool(wrong.any()):
        return codefaults.name(values, multiplier, packed, own, wrong), figures
    return codefaults.rule_of_ties(values, multiplier, own, got), figures
