"""The reference itself as a subject: clean, on any device. What the suite says of it is what the suite is worth."""

from __future__ import annotations

from typing import Any, Final

import torch

from probes import nvfp4, product
from probes.layout import Layout, swizzle, unswizzle
from probes.nvfp4 import Nvfp4
from probes.product import Experts
from probes.subject import NotOfferedError, Offers, Operand, Subject

OFFERS: Final[Offers] = {
    "quantize": ("plain",),
    "silu_quantize": ("plain",),
    "gemm": ("plain",),
    "grouped_gemm": ("plain",),
    "moe": ("plain",),
    "kv_cache": ("plain",),
}


def load() -> None:
    """Import what is under test: nothing but torch."""


def make(device: torch.device) -> Subject:
    """Return the subject on a device."""
    return Reference(device)


class Reference:
    """Every operation by `probes.nvfp4` and `probes.product`, named to the profiler as a native kernel is."""

    name = "reference"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_quantize"):
            made = nvfp4.quantize(values, global_scale_multiplier=multiplier)
            return made.packed, _placed(made.scales, layout)

    def silu_quantize(
        self,
        gate_up: torch.Tensor,
        multiplier: torch.Tensor,
        *,
        layout: Layout | None,
        backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        with self.kernel("reference_silu_and_mul_nvfp4_quantize"):
            gate, up = gate_up.float().chunk(2, dim=-1)
            middle = (torch.nn.functional.silu(gate) * up).to(gate_up.dtype)
            made = nvfp4.quantize(middle, global_scale_multiplier=multiplier)
            return made.packed, _placed(made.scales, layout)

    def gemm(
        self, a: Operand, b: Operand, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_gemm"):
            return product.gemm(_tensor(a), _tensor(b), alpha=alpha).to(dtype)

    def grouped_gemm(
        self, a: Operand, b: Operand, rows: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_group_gemm"):
            multipliers = torch.repeat_interleave(a.multiplier, rows.long())
            left = nvfp4.dequantize(_tensor(a, multipliers.reshape(-1, 1)))
            right = nvfp4.dequantize(_tensor(b, b.multiplier.reshape(-1, 1, 1)))
            return product.grouped(left, right, rows=rows).to(dtype)

    def moe(
        self,
        hidden: torch.Tensor,
        experts: Experts,
        *,
        expert_ids: torch.Tensor,
        expert_weights: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_fused_moe"):
            made = product.moe(
                hidden, experts, expert_ids=expert_ids, expert_weights=expert_weights
            )
            return made.to(hidden.dtype)

    def kv_write(
        self,
        values: torch.Tensor,
        multiplier: torch.Tensor,
        slots: torch.Tensor,
        *,
        blocks: int,
        backend: str,
    ) -> Any:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_kv_write"):
            heads, size = values.shape[1:]
            made = nvfp4.quantize(values, global_scale_multiplier=multiplier)
            packed = torch.zeros(
                blocks * 16, heads, size // 2, dtype=torch.uint8, device=self.device
            )
            scales = torch.zeros(
                blocks * 16, heads, size // 16, dtype=torch.uint8, device=self.device
            )
            packed[slots] = made.packed
            scales[slots] = made.scales.view(torch.uint8)
            return packed, scales, multiplier

    def kv_read(self, cache: Any, slots: torch.Tensor, *, backend: str) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_kv_read"):
            packed, scales, multiplier = cache
            held = Nvfp4(
                packed=packed[slots],
                scales=scales[slots].view(torch.float8_e4m3fn),
                global_scale_multiplier=multiplier,
            )
            return nvfp4.dequantize(held)

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """See `Subject`; as vLLM's CUTLASS kernels have it."""
        return Layout.ROWS_128 if operation in ("quantize", "silu_quantize", "gemm") else None

    def advertised(self, operation: str, backend: str) -> str:
        """See `Subject`."""
        return f"reference {operation}"

    def synchronize(self) -> None:
        """See `Subject`."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @staticmethod
    def kernel(name: str) -> Any:
        """Name what runs inside to torch's profiler, as a kernel on a GPU has its name."""
        return torch.profiler.record_function(name)


def _placed(scales: torch.Tensor, layout: Layout | None) -> torch.Tensor:
    told = scales.view(torch.uint8)
    return told if layout is None else swizzle(told, layout=layout)


def _tensor(operand: Operand, multiplier: torch.Tensor | None = None) -> Nvfp4:
    """Read an operand as a kernel does: scales by their layout."""
    rows, columns = operand.packed.shape[-2], operand.packed.shape[-1] // 8
    scales = operand.scales
    if operand.layout is not None:
        scales = unswizzle(scales, rows=rows, columns=columns, layout=operand.layout)
    if scales.shape[-1] != columns:
        raise NotOfferedError(f"scales of shape {tuple(scales.shape)} for {columns} blocks")
    return Nvfp4(
        packed=operand.packed,
        scales=scales.view(torch.float8_e4m3fn),
        global_scale_multiplier=operand.multiplier if multiplier is None else multiplier,
    )
