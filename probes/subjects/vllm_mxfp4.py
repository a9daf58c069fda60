"""vLLM's MXFP4: its kernels are those of experts, and one expert is a matrix."""

from __future__ import annotations

from typing import Final

import torch

from probes.reference import mxfp4
from probes.reference.layout import Layout, padded
from probes.subject import NotOfferedError, Operand
from probes.subjects import package, scales

_OPERATORS: Final = "vllm._custom_ops"


def quantize(values: torch.Tensor, layout: Layout | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return packed uint8 (M, K/2) and flat E8M0 bytes in 128x4, of one expert that has every row."""
    if layout is not Layout.ROWS_128:
        raise NotOfferedError("mxfp4_experts_quant gives 128x4 scales alone")
    run = package.function(_OPERATORS, "mxfp4_experts_quant")
    rows, columns = values.shape
    high, wide = padded(rows, columns // mxfp4.BLOCK, layout=layout)
    starts = (package.numbers((0, each), values.device) for each in (rows, high))
    packed, made = run(values, *starts, n_experts=1, topk=1)
    return packed, made.view(torch.uint8).reshape(-1)[: high * wide]


def multiply(a: Operand, b: Operand, dtype: torch.dtype, backend: str) -> torch.Tensor:
    """Return A @ B.T (M, N) of operands (M, K) and (N, K), scales in 128x4."""
    left, right = scales.plane(a, block=mxfp4.BLOCK), scales.plane(b, block=mxfp4.BLOCK)
    rows, n, k = a.packed.shape[0], b.packed.shape[0], a.packed.shape[1] * 2
    device = a.packed.device
    if backend == "qutlass":
        if dtype != torch.bfloat16:
            raise NotOfferedError("matmul_mxf4_bf16_tn gives bfloat16 alone")
        run = package.operator("_qutlass_C", "matmul_mxf4_bf16_tn")
        one = torch.ones(1, dtype=torch.float32, device=device)
        told = (each.view(torch.float8_e8m0fnu) for each in (left, right))
        made: torch.Tensor = run(a.packed, b.packed, *told, one)
        return made
    run = package.function(_OPERATORS, "cutlass_mxfp4_moe_mm")
    out = torch.empty(rows, n, dtype=dtype, device=device)
    sizes = package.numbers((rows, n, k), device).reshape(1, 3)
    first = package.numbers((0,), device)
    run(out, a.packed, b.packed[None], left, right[None], sizes, first, first)
    return out
