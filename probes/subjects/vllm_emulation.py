"""vLLM's emulation of NVFP4: plain torch that it falls back to where no kernel is, and that runs on a CPU, too.

It is a real package's arithmetic: what it gives is right or wrong like a kernel's, and a fallback in any case. Source:
`vllm/model_executor/layers/quantization/utils/nvfp4_emulation_utils.py`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import torch

from probes.reference import e2m1, nvfp4
from probes.reference.layout import Layout
from probes.subject import NotOfferedError, Offers, Operand, Subject
from probes.subjects import package, scales

OFFERS: Final[Offers] = {
    "quantize": ("emulation",),
    "gemm": ("emulation", "emulation-swizzled"),
    "w4a16_gemm": ("emulation",),
}

UTILITIES: Final = "vllm.model_executor.layers.quantization.utils.nvfp4_emulation_utils"
_SWIZZLED: Final = "emulation-swizzled"


def load() -> None:
    """Import the emulation; no kernels come with it."""
    package.module(UTILITIES)


def make(device: torch.device) -> Subject:
    """Return the subject on a device."""
    load()
    return VllmEmulation(device)


class VllmEmulation:
    """vLLM's emulation by `probes.subject`'s names; weights with scales in rows, or in 128x4 as vLLM reads them."""

    name = "vllm_emulation"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __getattr__(self, operation: str) -> Any:
        def lacking(*_args: object, **_kwargs: object) -> Any:
            raise NotOfferedError(f"vLLM's emulation has no {operation}")

        if operation.startswith("_"):
            raise AttributeError(operation)
        return lacking

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`: values on E2M1's grid and scales as float32, which are stored here as a kernel's are."""
        quantize = package.function(UTILITIES, "ref_nvfp4_quant")
        if layout is not None:
            raise NotOfferedError("vLLM's emulation gives scales in rows alone")
        with self._named("vllm_emulation_ref_nvfp4_quant"):
            made, told = quantize(values, multiplier, nvfp4.BLOCK)
        packed = e2m1.pack(e2m1.encode(made.double()))
        return packed, told.to(torch.float8_e4m3fn).view(torch.uint8)

    def prepare(self, operation: str, weights: Any, *, backend: str, fill: int = 0) -> Any:
        """See `Subject`."""
        if backend == _SWIZZLED:
            return scales.swizzled(weights, Layout.ROWS_128, fill=fill)
        return weights

    def gemm(
        self, a: Operand, b: Any, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`: both dequantised to `dtype`, alpha with B, and multiplied by torch."""
        with self._named("vllm_emulation_gemm"):
            left = _dequantized(a, torch.ones((), device=self.device), dtype)
            made: torch.Tensor = torch.matmul(left, _dequantized(b, alpha, dtype).t())
        return made

    def w4a16_gemm(
        self, values: torch.Tensor, b: Any, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        with self._named("vllm_emulation_w4a16_gemm"):
            weights = _dequantized(b, b.multiplier.reciprocal(), values.dtype)
            made: torch.Tensor = torch.matmul(values, weights.t())
        return made.to(dtype)

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """See `Subject`."""
        return Layout.ROWS_128 if backend == _SWIZZLED else None

    def advertised(self, operation: str, backend: str) -> str:
        """See `Subject`: vLLM says of it that it is always there."""
        return "EmulationNvFp4LinearKernel is supported on every device"

    def selected(self, operation: str) -> str:
        """See `Subject`: what vLLM would choose is asked of the subject `vllm`."""
        return ""

    def family(self, operation: str, backend: str) -> str:
        """See `Subject`."""
        return "emulation"

    def synchronize(self) -> None:
        """See `Subject`."""
        package.settle(self.device)

    @staticmethod
    def _named(name: str) -> Any:
        """Name torch's own kernels for the profiler, which on a CPU sees nothing else to tell them by."""
        return torch.profiler.record_function(name)


def _dequantized(operand: Operand, scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return an operand's values times `scale` by vLLM's own function: (rows, K) of `dtype`."""
    told = scales.e4m3(scales.plane(operand))
    given = scale.reciprocal() if _divides() else scale
    return _run(operand.packed, told, given, dtype, swizzled=operand.layout is not None)


@cache
def _divides() -> bool:
    """Say whether this release divides by the global scale (0.12 does) or multiplies with it: asked of one block of ones."""
    codes = torch.full((1, 8), 0x22, dtype=torch.uint8)
    ones = torch.full((128, 4), 0x38, dtype=torch.uint8).view(torch.float8_e4m3fn)
    made = _run(codes, ones, torch.tensor(2.0), torch.float32, swizzled=True)
    return float(made[0, 0]) < 1


def _run(
    packed: torch.Tensor,
    told: torch.Tensor,
    scale: torch.Tensor,
    dtype: torch.dtype,
    *,
    swizzled: bool,
) -> torch.Tensor:
    dequantize = package.function(UTILITIES, "dequantize_to_dtype")
    given = {"block_size": nvfp4.BLOCK, "swizzle": swizzled, "device": packed.device}
    known = package.known(dequantize, given)
    if "swizzle" not in known and not swizzled:
        raise NotOfferedError("dequantize_to_dtype of this release reads 128x4 scales alone")
    made: torch.Tensor = dequantize(packed, told, scale, dtype, **known)
    return made
