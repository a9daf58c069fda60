"""The reference itself as a subject: clean, on any device. What the suite says of it is what the suite is worth."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import torch

from probes.reference import mxfp4, nvfp4, product
from probes.reference.layout import Layout, swizzle, unswizzle
from probes.reference.mxfp4 import Mxfp4
from probes.reference.nvfp4 import Nvfp4
from probes.subject import NotOfferedError, Offers, Operand, Subject
from probes.subjects.cache import Cache

OFFERS: Final[Offers] = {
    "quantize": ("plain",),
    "silu_quantize": ("plain",),
    "gemm": ("plain",),
    "grouped_gemm": ("plain",),
    "moe": ("plain",),
    "kv_cache": ("plain",),
    "kv_attend": ("plain",),
    "mxfp4_quantize": ("plain",),
    "mxfp4_gemm": ("plain",),
    "w4a16_gemm": ("plain",),
    "w4a16_moe": ("plain",),
}

_TILE: Final = 8
"""Rows of weights."""


def load() -> None:
    """Import what is under test: nothing but torch."""


def make(device: torch.device) -> Subject:
    """Return the subject on a device."""
    return Reference(device)


class Reference:
    """Every operation by `probes.reference.nvfp4` and `probes.reference.product`, named to the profiler as a native kernel is."""

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

    def prepare(self, operation: str, weights: Any, *, backend: str, fill: int = 0) -> Any:
        """See `Subject`: swizzle the scales of what `gemm` takes, nothing else."""
        if operation not in ("gemm", "mxfp4_gemm"):
            return weights
        scales = swizzle(weights.scales, layout=Layout.ROWS_128, fill=fill)
        return replace(weights, scales=scales, layout=Layout.ROWS_128)

    def gemm(
        self, a: Operand, b: Any, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_gemm"):
            return product.gemm(_tensor(a), _tensor(b), alpha=alpha).to(dtype)

    def grouped_gemm(
        self, a: Operand, b: Any, rows: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_group_gemm"):
            multipliers = torch.repeat_interleave(a.multiplier, rows.long())
            left = nvfp4.dequantize(_tensor(a, multipliers.reshape(-1, 1)))
            right = nvfp4.dequantize(_tensor(b, b.multiplier.reshape(-1, 1, 1)))
            return product.grouped(left, right, rows=rows).to(dtype)

    def w4a16_gemm(
        self, values: torch.Tensor, b: Any, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`; named as what it is, a fallback."""
        with self.kernel("reference_w4a16_gemm"):
            return _weight_only(values, _tensor(b)).to(dtype)

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
        with self.kernel("reference_nvfp4_fused_moe"):
            made = product.moe(
                hidden, experts, expert_ids=expert_ids, expert_weights=expert_weights
            )
            return made.to(hidden.dtype)

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
        with self.kernel("reference_w4a16_fused_moe"):
            total = torch.zeros(hidden.shape, device=hidden.device)
            for expert in range(experts.down.packed.shape[0]):
                tokens, choices = torch.nonzero(expert_ids == expert, as_tuple=True)
                both = _weight_only(hidden[tokens], nvfp4.select(experts.gate_up, expert))
                gate, up = both.chunk(2, dim=-1)
                middle = torch.nn.functional.silu(gate) * up
                out = _weight_only(middle, nvfp4.select(experts.down, expert))
                total.index_add_(0, tokens, out * expert_weights[tokens, choices, None])
            return total.to(hidden.dtype)

    def mxfp4_quantize(
        self, values: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`; by the rule of NVIDIA's kernels."""
        with self.kernel("reference_mxfp4_quantize"):
            made = mxfp4.quantize(values, rule=mxfp4.Rule.CEIL)
            return made.packed, _placed(made.exponents, layout)

    def mxfp4_gemm(self, a: Operand, b: Any, *, dtype: torch.dtype, backend: str) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_mxfp4_gemm"):
            left, right = (
                mxfp4.dequantize(
                    Mxfp4(packed=each.packed, exponents=_linear(each, block=mxfp4.BLOCK))
                )
                for each in (a, b)
            )
            return product.linear(left, right).to(dtype)

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
    ) -> Cache:
        """See `Subject`."""

        def empty(size: int) -> torch.Tensor:
            shape = (2, pages * page_size, heads, size)
            return torch.zeros(shape, dtype=torch.uint8, device=self.device)

        return Cache(
            packed=empty(head_size // 2),
            scales=empty(head_size // nvfp4.BLOCK),
            multipliers=multipliers,
            page_size=page_size,
            dtype=dtype,
        )

    def kv_write(
        self,
        cache: Cache,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        *,
        backend: str,
    ) -> None:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_kv_write"):
            for index, each in enumerate((keys, values)):
                made = nvfp4.quantize(each, global_scale_multiplier=cache.multipliers[index])
                cache.packed[index, slots] = made.packed
                cache.scales[index, slots] = made.scales.view(torch.uint8)

    def kv_read(
        self, cache: Cache, slots: torch.Tensor, *, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_kv_read"):
            keys, values = (cache.read(index, slots).to(cache.dtype) for index in (0, 1))
            return keys, values

    def kv_attend(
        self,
        cache: Cache,
        queries: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        *,
        backend: str,
    ) -> torch.Tensor:
        """See `Subject`."""
        with self.kernel("reference_nvfp4_kv_attend"):
            made = torch.empty_like(queries)
            for request, length in enumerate(lengths.tolist()):
                places = torch.arange(length, device=self.device)
                slots = tables[request, places // cache.page_size].long() * cache.page_size
                slots = slots + places % cache.page_size
                keys, values = cache.read(0, slots), cache.read(1, slots)
                made[request] = product.attention(queries[request], keys, values).to(made.dtype)
            return made

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """See `Subject`; as vLLM's CUTLASS kernels have it."""
        swizzled = ("quantize", "silu_quantize", "gemm", "mxfp4_quantize", "mxfp4_gemm")
        return Layout.ROWS_128 if operation in swizzled else None

    def advertised(self, operation: str, backend: str) -> str:
        """See `Subject`."""
        return f"reference {operation}"

    def selected(self, operation: str) -> str:
        """See `Subject`: it has one of each."""
        return "plain"

    def family(self, operation: str, backend: str) -> str:
        """See `Subject`."""
        return "reference"

    def synchronize(self) -> None:
        """See `Subject`."""
        if self.device.type == "cuda":
            # torch looks at the last error after a launch of its own: one that a launcher left unseen would else meet the next operation.
            torch.zeros((), device=self.device)
            torch.cuda.synchronize(self.device)

    @staticmethod
    def kernel(name: str) -> Any:
        """Name what runs inside to torch's profiler, as a kernel on a GPU has its name."""
        return torch.profiler.record_function(name)


def _placed(scales: torch.Tensor, layout: Layout | None) -> torch.Tensor:
    told = scales.view(torch.uint8)
    return told if layout is None else swizzle(told, layout=layout)


def _weight_only(values: torch.Tensor, weights: Nvfp4) -> torch.Tensor:
    """Multiply (M, K) by weights (N, K) that are widened a tile at a time: float32 (M, N).

    The tiles make it slower than the native stand-in, as it has to be for that one to be clean.
    """
    made = []
    for first in range(0, weights.packed.shape[0], _TILE):
        rows = slice(first, first + _TILE)
        tile = Nvfp4(
            packed=weights.packed[rows],
            scales=weights.scales.view(torch.uint8)[rows].view(torch.float8_e4m3fn),
            global_scale_multiplier=weights.global_scale_multiplier,
        )
        made.append(product.linear(values.float(), nvfp4.dequantize(tile)))
    return torch.cat(made, dim=-1)


def _tensor(operand: Operand, multiplier: torch.Tensor | None = None) -> Nvfp4:
    """Read an operand as a kernel does: scales by their layout."""
    return Nvfp4(
        packed=operand.packed,
        scales=_linear(operand, block=nvfp4.BLOCK).view(torch.float8_e4m3fn),
        global_scale_multiplier=operand.multiplier if multiplier is None else multiplier,
    )


def _linear(operand: Operand, *, block: int) -> torch.Tensor:
    """Return an operand's scales in rows, whatever their layout: bytes (…, rows, K/block)."""
    rows, columns = operand.packed.shape[-2], operand.packed.shape[-1] * 2 // block
    scales = operand.scales
    if operand.layout is not None:
        scales = unswizzle(scales, rows=rows, columns=columns, layout=operand.layout)
    if scales.shape[-1] != columns:
        raise NotOfferedError(f"scales of shape {tuple(scales.shape)} for {columns} blocks")
    return scales
