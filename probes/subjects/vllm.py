"""vLLM 0.12 to 0.33: the operators of its own wheel, called as its layers call them.

Its `input_global_scale` is the multiplier, and so are the `…gscale` of experts; `alpha` and the `…alphas` are 1 / (multiplier of A
* multiplier of B); Marlin's `weight_global_scale` and the KV cache's `k_scale` are inverses. Sources: `vllm/_custom_ops.py`,
`fused_moe/…/cutlass_moe.py`, `quantization/utils/marlin_utils_fp4.py`, `csrc/…/nvfp4_kv_cache_kernels.cu`.
"""

from __future__ import annotations

from typing import Any, Final

import torch

from probes.reference.layout import Layout, padded
from probes.subject import NotOfferedError, Offers, Operand, Subject
from probes.subjects import (
    package,
    scales,
    vllm_cache,
    vllm_chosen,
    vllm_experts,
    vllm_flashinfer,
    vllm_marlin,
    vllm_mxfp4,
)

OFFERS: Final[Offers] = {
    "quantize": ("vllm",),
    "silu_quantize": ("vllm",),
    "gemm": ("cutlass", "qutlass", "torch", *vllm_flashinfer.GEMM),
    "grouped_gemm": ("cutlass",),
    "moe": ("cutlass", *vllm_flashinfer.MOE),
    "w4a16_gemm": ("marlin",),
    "w4a16_moe": ("marlin",),
    "mxfp4_quantize": ("cutlass",),
    "mxfp4_gemm": ("cutlass", "qutlass"),
    "kv_cache": ("vllm",),
    "serve": ("modelopt", "compressed-tensors"),
}

OPERATORS: Final = "vllm._custom_ops"
_TORCH_KERNEL: Final = "vllm.model_executor.kernels.linear.nvfp4.pytorch"

backend_of = vllm_chosen.backend_of


def load() -> None:
    """Import vLLM's operators; that starts no CUDA."""
    package.module(OPERATORS)


def make(device: torch.device) -> Subject:
    """Return the subject on a device."""
    load()
    return Vllm(device)


class Vllm:
    """vLLM's operators by `probes.subject`'s names."""

    name = "vllm"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`; 128x4 alone up to 0.13, scales in rows too since then."""
        quantize = package.function(OPERATORS, "scaled_fp4_quant")
        given: dict[str, Any] = {}
        if layout is Layout.ROWS_8:
            raise NotOfferedError("vLLM's own kernel has no 8x4 scales: it takes FlashInfer's")
        if "is_sf_swizzled_layout" in package.parameters(quantize):
            given["is_sf_swizzled_layout"] = layout is not None
        elif layout is None:
            raise NotOfferedError("scaled_fp4_quant of this release gives 128x4 scales alone")
        packed, made = quantize(values, multiplier, **given)
        return packed, _bytes(made, layout)

    def silu_quantize(
        self,
        gate_up: torch.Tensor,
        multiplier: torch.Tensor,
        *,
        layout: Layout | None,
        backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        if layout is not Layout.ROWS_128:
            raise NotOfferedError("silu_and_mul_nvfp4_quant gives 128x4 scales alone")
        quantize = package.operator("_C", "silu_and_mul_nvfp4_quant")
        rows, columns = gate_up.shape[0], gate_up.shape[1] // 2
        high, wide = padded(rows, columns // 16, layout=layout)
        packed = torch.empty(rows, columns // 2, dtype=torch.uint8, device=gate_up.device)
        made = torch.empty(high, wide // 4, dtype=torch.int32, device=gate_up.device)
        quantize(packed, scales.e4m3(made), gate_up, multiplier)
        return packed, _bytes(made, layout)

    def prepare(self, operation: str, weights: Any, *, backend: str, fill: int = 0) -> Any:
        """See `Subject`: what the layers do in `process_weights_after_loading`."""
        if operation == "w4a16_gemm":
            return vllm_marlin.prepare(weights, self.device)
        if operation == "w4a16_moe":
            return vllm_marlin.prepare_experts(weights)
        if operation == "moe":
            if backend in vllm_flashinfer.MOE:
                return vllm_flashinfer.prepare(weights, fill)
            return vllm_experts.prepare(weights, fill=fill)
        return scales.swizzled(weights, Layout.ROWS_128, fill=fill)

    def gemm(
        self, a: Operand, b: Any, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        if backend in vllm_flashinfer.GEMM:
            return vllm_flashinfer.multiply(a, b, alpha, dtype, backend)
        left, right = scales.e4m3(scales.plane(a)), scales.e4m3(scales.plane(b))
        if backend == "qutlass":
            return _qutlass(a, b, (left, right), alpha, dtype)
        if backend == "torch":
            return _torch(a, b, (left, right), alpha, dtype)
        multiply = package.function(OPERATORS, "cutlass_scaled_fp4_mm")
        made: torch.Tensor = multiply(a.packed, b.packed, left, right, alpha, dtype)
        return made

    def grouped_gemm(
        self, a: Operand, b: Any, rows: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        return vllm_experts.multiply(a, b, rows, dtype)

    def w4a16_gemm(
        self, values: torch.Tensor, b: Any, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        return vllm_marlin.multiply(values, b, dtype)

    def moe(
        self,
        hidden: torch.Tensor,
        experts: Any,
        *,
        expert_ids: torch.Tensor,
        expert_weights: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        """See `Subject`."""
        if backend in vllm_flashinfer.MOE:
            return vllm_flashinfer.run_experts(hidden, experts, expert_ids, expert_weights)
        return vllm_experts.run(hidden, experts, expert_ids, expert_weights)

    def w4a16_moe(
        self,
        hidden: torch.Tensor,
        experts: Any,
        *,
        expert_ids: torch.Tensor,
        expert_weights: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        """See `Subject`."""
        return vllm_marlin.run_experts(hidden, experts, expert_ids, expert_weights)

    def mxfp4_quantize(
        self, values: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        return vllm_mxfp4.quantize(values, layout)

    def mxfp4_gemm(self, a: Operand, b: Any, *, dtype: torch.dtype, backend: str) -> torch.Tensor:
        """See `Subject`."""
        return vllm_mxfp4.multiply(a, b, dtype, backend)

    def kv_cache(
        self,
        *,
        pages: int,
        page_size: int,
        heads: int,
        head_size: int,
        dtype: torch.dtype,
        multipliers: tuple[torch.Tensor, torch.Tensor],
        backend: str,
    ) -> Any:
        """See `Subject`."""
        return vllm_cache.empty(
            (pages, page_size, heads, head_size), dtype, multipliers, self.device
        )

    def kv_write(
        self,
        cache: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        *,
        backend: str,
    ) -> None:
        """See `Subject`."""
        vllm_cache.write(cache, keys, values, slots)

    def kv_read(
        self, cache: Any, slots: torch.Tensor, *, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        return vllm_cache.read(cache, slots)

    def kv_attend(
        self,
        cache: Any,
        queries: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        *,
        backend: str,
    ) -> torch.Tensor:
        """See `Subject`: none, vLLM attends to NVFP4 through FlashInfer."""
        raise NotOfferedError("vLLM has no attention of its own over an NVFP4 cache")

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """See `Subject`."""
        return None if operation in ("grouped_gemm", "moe") else Layout.ROWS_128

    def advertised(self, operation: str, backend: str) -> str:
        """See `Subject`: what its dispatchers ask before they choose these kernels."""
        number = package.capability(self.device)
        if operation.startswith("w4a16"):
            supported = package.function(vllm_marlin.UTILITIES, "is_fp4_marlin_supported")
            return package.said("is_fp4_marlin_supported()", supported)
        name = "cutlass_scaled_mm_supports_fp4"
        if operation.startswith("mxfp4"):
            name = "mxfp4_experts_quant_supported"
        if backend in ("qutlass", "torch", *vllm_flashinfer.GEMM) or operation == "kv_cache":
            return ""
        ask = getattr(package.module(OPERATORS), name, None)
        return "" if ask is None else package.said(f"{name}({number})", lambda: ask(number))

    def selected(self, operation: str) -> str:
        """See `Subject`: the choice of its dispatcher or oracle; "" for a release that it is not known how to ask."""
        return vllm_chosen.selected(operation, self.device)

    def family(self, operation: str, backend: str) -> str:
        """See `Subject`."""
        if operation.endswith("quantize") or operation == "kv_cache":
            return "vllm"
        own = {"cutlass": "cutlass", "marlin": "marlin", "torch": "cublas"}
        return (own | vllm_flashinfer.FAMILY).get(backend, "")

    def synchronize(self) -> None:
        """See `Subject`."""
        package.settle(self.device)


def _bytes(made: torch.Tensor, layout: Layout | None) -> torch.Tensor:
    told = made.view(torch.uint8)
    return told if layout is None else told.reshape(-1)


def _qutlass(
    a: Operand,
    b: Operand,
    planes: tuple[torch.Tensor, torch.Tensor],
    alpha: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    multiply = package.operator("_qutlass_C", "matmul_nvf4_bf16_tn")
    if dtype != torch.bfloat16:
        raise NotOfferedError("matmul_nvf4_bf16_tn gives bfloat16 alone")
    made: torch.Tensor = multiply(a.packed, b.packed, *planes, alpha.reshape(1))
    return made


def _torch(
    a: Operand,
    b: Operand,
    planes: tuple[torch.Tensor, torch.Tensor],
    alpha: torch.Tensor,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Multiply as vLLM's TorchNvFp4LinearKernel does: by torch._scaled_mm, alpha after the product."""
    package.function(_TORCH_KERNEL, "TorchNvFp4LinearKernel")
    left, right = (each.packed.view(torch.float4_e2m1fn_x2) for each in (a, b))
    made = torch._scaled_mm(  # noqa: SLF001 - torch's one name for it
        left,
        right.t(),
        scale_a=planes[0].reshape(-1),
        scale_b=planes[1].reshape(-1),
        out_dtype=dtype,
    )
    return made * alpha
