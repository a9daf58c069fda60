"""FlashInfer's kernels as vLLM calls them where it chooses them: activations by vLLM's own quantizer, the product by FlashInfer.

Those that a release is known to choose by itself (`matrix/ledger/selected/vllm`). Sources: `vllm/utils/flashinfer.py`,
`model_executor/kernels/linear/nvfp4/flashinfer.py`, `fused_moe/…/flashinfer_cutlass_moe.py`.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from probes.reference.product import Experts
from probes.subject import NotOfferedError, Operand
from probes.subjects import flashinfer_experts, package, scales

CUTLASS: Final = "flashinfer-cutlass"
CUTE_DSL: Final = "flashinfer-cute-dsl"
GEMM: Final = (CUTLASS, CUTE_DSL)
MOE: Final = (CUTLASS,)

CHOSEN: Final = {
    "flashinfer-cutlass": CUTLASS,
    "FlashInferCutlassNvFp4LinearKernel": CUTLASS,
    "FLASHINFER_CUTLASS": CUTLASS,
    "FlashInferCuteDslNvFp4LinearKernel": CUTE_DSL,
}
"""The backend by the words of vLLM's releases, of linear layers and of experts."""

FAMILY: Final = {CUTLASS: "flashinfer-cutlass", CUTE_DSL: "cute-dsl"}

_OPERATORS: Final = "vllm._custom_ops"
_WRAPPERS: Final = "vllm.utils.flashinfer"


def multiply(
    a: Operand, b: Operand, alpha: torch.Tensor, dtype: torch.dtype, backend: str
) -> torch.Tensor:
    """Return alpha * A @ B.T by vLLM's wrapper of `mm_fp4`: (M, N), scales in 128x4."""
    run = _wrapper("flashinfer_scaled_fp4_mm")
    left, right = scales.e4m3(scales.plane(a)), scales.e4m3(scales.plane(b))
    asked = backend.removeprefix("flashinfer-")
    made: torch.Tensor = run(a.packed, b.packed, left, right, alpha, dtype, backend=asked)
    return made


def prepare(experts: Experts, fill: int) -> flashinfer_experts.Prepared:
    """Bring experts to what FlashInfer's CUTLASS kernels take: up over gate, scales in 128x4."""
    return flashinfer_experts.prepare(experts, "cutlass", fill)


def run_experts(
    hidden: torch.Tensor,
    experts: flashinfer_experts.Prepared,
    ids: torch.Tensor,
    weights: torch.Tensor,
) -> torch.Tensor:
    """Return the experts' output (T, H) in `hidden`'s dtype, of activations that vLLM has quantized."""
    fused = _wrapper("flashinfer_cutlass_fused_moe")
    quantize = package.function(_OPERATORS, "scaled_fp4_quant")
    packed, told = quantize(hidden, experts.activations[0])
    output = torch.empty_like(hidden)
    planes = [scales.plane(each).view(torch.int32) for each in (experts.gate_up, experts.down)]
    fused(
        input=packed,
        input_sf=told,
        token_selected_experts=ids.to(torch.int32),
        token_final_scales=weights,
        fc1_expert_weights=experts.gate_up.packed.view(torch.long),
        fc2_expert_weights=experts.down.packed.view(torch.long),
        output=output,
        output_dtype=hidden.dtype,
        quant_scales=[
            experts.activations[0].reshape(()),
            planes[0],
            experts.alphas[0],
            experts.activations[1].reshape(()),
            planes[1],
            experts.alphas[1],
        ],
    )
    return output


def _wrapper(name: str) -> Any:
    """Return one of vLLM's wrappers. Raises NotOfferedError where it has none, or says that FlashInfer is not to be had."""
    there = package.function(_WRAPPERS, "has_flashinfer")
    if not there():
        raise NotOfferedError(
            "vLLM says has_flashinfer() is False here, so that it chooses none of FlashInfer's kernels"
        )
    return package.function(_WRAPPERS, name)
