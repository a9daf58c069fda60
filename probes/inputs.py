"""Seeded inputs: the same numbers on every GPU, since they are made on the CPU and carried over."""

from __future__ import annotations

from typing import Final

import torch

from probes import nvfp4
from probes.layout import Layout, swizzle
from probes.subject import Operand

DTYPES: Final = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}


def generator(seed: int) -> torch.Generator:
    """Return a generator on the CPU; torch's CPU numbers are the same on x86_64 and aarch64."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int, dtype: torch.dtype) -> torch.Tensor:
    """Return normal numbers with outliers in some columns, as activations of language models have."""
    made = torch.randn(*shape, generator=generator(seed), dtype=torch.float32)
    outliers = torch.randperm(shape[-1], generator=generator(seed + 1))[: max(1, shape[-1] // 64)]
    made[..., outliers] *= 8
    return made.to(dtype)


def operand(
    quantized: nvfp4.Nvfp4, layout: Layout | None, device: torch.device, *, fill: int = 0
) -> Operand:
    """Return a reference tensor as kernels take it: scales as bytes in `layout`, padding filled with `fill`."""
    scales = quantized.scales.view(torch.uint8)
    if layout is not None:
        scales = swizzle(scales, layout=layout, fill=fill)
    return Operand(
        packed=quantized.packed.to(device),
        scales=scales.to(device),
        multiplier=quantized.global_scale_multiplier.to(device),
        layout=layout,
    )
