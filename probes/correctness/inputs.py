"""Seeded inputs: the same numbers on every GPU, since they are made on the CPU and carried over."""

from __future__ import annotations

from typing import Final

import torch

from probes.reference import e2m1, mxfp4, nvfp4
from probes.reference.layout import Layout, swizzle
from probes.subject import Operand

DTYPES: Final = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}

LAYOUTS: Final = {"rows": None, "128x4": Layout.ROWS_128, "8x4": Layout.ROWS_8}
"""Scale layouts by the word that a load has."""

KINDS: Final = ("normal", "ties", "saturating", "zeros", "small")


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU; torch's CPU numbers are the same on x86_64 and aarch64."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Return normal numbers with outliers in some columns, as activations of language models have."""
    made = torch.randn(*shape, generator=generator(seed), dtype=torch.float32)
    outliers = torch.randperm(shape[-1], generator=generator(seed + 1))[: max(1, shape[-1] // 64)]
    made[..., outliers] *= 8
    return made.to(dtype)


def values(
    kind: str, rows: int, columns: int, *, seed: int, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return numbers (rows, columns) of a kind, and the float32 multiplier that goes with them.

    "normal"; "ties": every code lies on an exact tie, under scales of all eight mantissas, with a multiplier of 1; "saturating": a
    multiplier four times too large, so that scales and codes saturate; "zeros": blocks and rows of zeros, negative zeros among them;
    "small": an outlier that leaves other blocks scales that are denormal in E4M3, or 0.
    """
    if kind == "ties":
        return _ties(rows, columns, seed=seed).to(dtype), torch.ones(())
    made = normal(rows, columns, seed=seed, dtype=dtype)
    if kind == "zeros":
        made[::3] = 0.0
        made[1::3, : nvfp4.BLOCK] = -0.0
    elif kind == "small":
        powers = torch.exp2(-(torch.arange(rows) % 20).float())
        made = (made.float() * powers[:, None]).to(dtype)
        made[0, 0] = 64.0
    multiplier = nvfp4.multiplier_of(made)
    return made, multiplier * 4 if kind == "saturating" else multiplier


def _ties(rows: int, columns: int, *, seed: int) -> torch.Tensor:
    """Return blocks of ± each boundary of E2M1 and ±6, times a scale that E4M3 has; exact in bfloat16 and float16.

    A boundary has at most three bits, a scale four: their product is exact, and so are m * amax / 6 and m * x / s with m = 1.
    """
    places = torch.tensor([*e2m1.GRID.boundaries, e2m1.MAX], dtype=torch.float32)
    block = torch.cat((places, -places))
    count = rows * columns // nvfp4.BLOCK
    order = torch.stack(
        [torch.randperm(nvfp4.BLOCK, generator=generator(seed + each)) for each in range(8)]
    )
    mantissas = 1 + (torch.arange(count) % 8).float() / 8
    powers = torch.exp2(torch.randint(-2, 3, (count,), generator=generator(seed)).float())
    scales = (mantissas * powers)[:, None]
    return (block[order[torch.arange(count) % 8]] * scales).reshape(rows, columns)


def routing(
    tokens: int, experts: int, top_k: int, *, kind: str, seed: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return which experts each token goes to, int32 (tokens, top k), and with what weight, float32, adding up to 1.

    "even": by chance; "half": the upper half of the experts gets no token; "one": the first choice of all is one expert.
    """
    open_to = max(top_k, experts // 2) if kind == "half" else experts
    scores = torch.rand(tokens, open_to, generator=generator(seed))
    if kind == "one":
        scores[:, open_to // 2] = 2.0
    ids = scores.topk(top_k, dim=-1).indices.to(torch.int32)
    weights = torch.rand(tokens, top_k, generator=generator(seed + 1)) + 0.25
    return ids, weights / weights.sum(-1, keepdim=True)


def shares(total: int, groups: int, *, kind: str, seed: int) -> torch.Tensor:
    """Return how many rows each group gets: int32 (groups,), adding up to `total`, some of them 0.

    "even": by chance; "half": the upper half is empty; "one": one group has all, the others are empty.
    """
    open_to = {"half": max(1, groups // 2), "one": 1}.get(kind, groups)
    which = torch.randint(0, open_to, (total,), generator=generator(seed))
    counted = torch.bincount(which, minlength=groups)
    return (counted.roll(groups // 2) if kind == "one" else counted).to(torch.int32)


def operand(
    quantized: nvfp4.Nvfp4, layout: Layout | None, device: torch.device, *, fill: int = 0
) -> Operand:
    """Return a reference tensor as kernels take it: scales as bytes in `layout`, padding filled with `fill`.

    The multiplier of stacked experts, (E, 1, 1), becomes (E,).
    """
    scales = quantized.scales.view(torch.uint8)
    if layout is not None:
        scales = swizzle(scales, layout=layout, fill=fill)
    multiplier = quantized.global_scale_multiplier
    return Operand(
        packed=quantized.packed.to(device),
        scales=scales.to(device),
        multiplier=(multiplier.flatten() if multiplier.dim() else multiplier).to(device),
        layout=layout,
    )


def mxfp4_operand(
    quantized: mxfp4.Mxfp4, layout: Layout | None, device: torch.device, *, fill: int = 0
) -> Operand:
    """Return an MXFP4 tensor as kernels take it; its multiplier is 1."""
    scales = quantized.exponents
    if layout is not None:
        scales = swizzle(scales, layout=layout, fill=fill)
    return Operand(
        packed=quantized.packed.to(device),
        scales=scales.to(device),
        multiplier=torch.ones((), device=device),
        layout=layout,
    )
