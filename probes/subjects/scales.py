"""Block scales as kernels are handed them: bytes of an `Operand` as a float8 plane, swizzled per expert, one after the other."""

from __future__ import annotations

from dataclasses import replace

import torch

from probes.reference import nvfp4
from probes.reference.layout import Layout, padded, swizzle
from probes.reference.nvfp4 import Nvfp4
from probes.subject import Operand


def swizzled(weights: Operand, layout: Layout, *, fill: int = 0) -> Operand:
    """Return an operand whose scales are in rows with them in `layout`."""
    return replace(weights, scales=swizzle(weights.scales, layout=layout, fill=fill), layout=layout)


def plane(operand: Operand, *, block: int = nvfp4.BLOCK) -> torch.Tensor:
    """View an operand's scales as kernels take them: uint8 (…, padded rows, padded columns), or (…, rows, columns)."""
    if operand.layout is None:
        return operand.scales
    rows, columns = operand.packed.shape[-2], operand.packed.shape[-1] * 2 // block
    high, wide = padded(rows, columns, layout=operand.layout)
    return operand.scales.reshape(*operand.packed.shape[:-2], high, wide)


def e4m3(scales: torch.Tensor) -> torch.Tensor:
    """View scale bytes as E4M3."""
    return scales.view(torch.float8_e4m3fn)


def grouped(scales: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """Swizzle each group of rows by itself, one after the other: (M, columns) to (padded rows of all, padded columns).

    uint8, 128x4; an empty group takes no rows.
    """
    wide = padded(1, scales.shape[-1], layout=Layout.ROWS_128)[1]
    parts = [
        swizzle(part, layout=Layout.ROWS_128).reshape(-1, wide)
        for part in torch.split(scales, rows)
    ]
    return torch.cat(parts)


def starts(rows: list[int], multiple: int = 1) -> list[int]:
    """Return where each group starts, and where the last one ends, each group padded to a multiple of rows: E + 1 numbers."""
    places = [0]
    for count in rows:
        places.append(places[-1] + -(-count // multiple) * multiple)
    return places


def tensor_of(weights: Nvfp4) -> Operand:
    """Return weights as an `Operand` with scales in rows, its multiplier of shape () or (E,)."""
    multiplier = weights.global_scale_multiplier
    return Operand(
        packed=weights.packed,
        scales=weights.scales.view(torch.uint8),
        multiplier=multiplier.reshape(-1) if multiplier.dim() else multiplier,
        layout=None,
    )


def halves_swapped(weights: Operand) -> Operand:
    """Swap the upper and the lower half of the rows, of codes and scales (in rows): gate over up to up over gate, or back."""
    upper, lower = weights.packed.chunk(2, dim=-2)
    high, low = weights.scales.chunk(2, dim=-2)
    packed, scales = torch.cat((lower, upper), dim=-2), torch.cat((low, high), dim=-2)
    return replace(weights, packed=packed, scales=scales)
