"""FlashInfer 0.5 to 0.7: its public functions, called with the preparation of weights that each backend's documentation demands.

Its `global_scale` is the multiplier for `fp4_quantize` and for the activations of experts, the inverse for the KV cache; `alpha` is
1 / (multiplier of A * multiplier of B). Sources: `flashinfer/quantization/fp4_quantization.py`, `gemm/gemm_base.py`,
`gemm/gemm_bf16_fp4.py`, `fused_moe/core.py`, `page.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, Final

import torch

from probes.reference import mxfp4
from probes.reference.layout import Layout
from probes.subject import NotOfferedError, Offers, Operand, Subject
from probes.subjects import (
    flashinfer_cache,
    flashinfer_experts,
    flashinfer_products,
    flashinfer_tactics,
    package,
)

OFFERS: Final[Offers] = {
    "quantize": ("cuda", "cute-dsl"),
    "silu_quantize": ("cute-dsl",),
    "gemm": flashinfer_products.GEMM,
    "w4a16_gemm": flashinfer_products.WEIGHT_ONLY,
    "grouped_gemm": flashinfer_products.GROUPED,
    "moe": flashinfer_experts.BACKENDS,
    "mxfp4_quantize": ("cuda", "cute-dsl"),
    "mxfp4_gemm": ("cudnn", "cute-dsl", "b12x"),
    "kv_cache": flashinfer_cache.WRITERS,
    "kv_attend": flashinfer_cache.READERS,
}

_ASKED: Final = {
    ("grouped_gemm", "groupwise"): "group_gemm_nvfp4_nt_groupwise",
    ("grouped_gemm", "cudnn"): "grouped_mm_fp4",
    ("kv_cache", "kv_quantize"): "nvfp4_kv_quantize",
    **{("moe", backend): name for backend, name in flashinfer_experts.ASKED.items()},
}
"""The function whose table of compute capabilities stands for an operation's backend."""

_FAMILIES: Final = {
    "cuda": "flashinfer",
    "cutlass": "flashinfer-cutlass",
    "groupwise": "flashinfer-cutlass",
    "cudnn": "cudnn",
    "trtllm": "trtllm-gen",
    "cute-dsl": "cute-dsl",
    "cutedsl_low_latency": "cute-dsl",
    "b12x": "b12x",
}

_PLACES: Final = ("gemm", "fused_moe", "quantization", "grouped_mm")

_VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def load() -> None:
    """Import FlashInfer without a GPU in sight: it asks every one for its capability, which would start CUDA before a fork."""
    if "flashinfer" in sys.modules:
        return
    held = os.environ.get(_VISIBLE)
    os.environ[_VISIBLE] = ""
    try:
        package.module("flashinfer")
    finally:
        if held is None:
            del os.environ[_VISIBLE]
        else:
            os.environ[_VISIBLE] = held


def make(device: torch.device) -> Subject:
    """Return the subject on a device, once FlashInfer has looked again at the GPUs that it compiles for."""
    load()
    core = package.module("flashinfer.jit.core")
    context = getattr(core, "current_compilation_context", None)
    if context is not None and not context.TARGET_CUDA_ARCHS:
        context.__init__()  # in place: other modules hold it by name
    return FlashInfer(device)


class FlashInfer:
    """FlashInfer's functions by `probes.subject`'s names, its backends by its own."""

    name = "flashinfer"

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        run = package.function("flashinfer", "fp4_quantize")
        given = _placed(layout) | _backend(run, {"backend": backend})
        packed, made = run(values, multiplier.reshape(1), **given)
        return _bytes(packed, made, layout)

    def silu_quantize(
        self,
        gate_up: torch.Tensor,
        multiplier: torch.Tensor,
        *,
        layout: Layout | None,
        backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`; since 0.6.16 or so."""
        run = package.function("flashinfer", "silu_and_mul_nvfp4_quantize")
        packed, made = run(gate_up, multiplier.reshape(1), **_placed(layout))
        return _bytes(packed, made, layout)

    def mxfp4_quantize(
        self, values: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        run = package.function("flashinfer", "mxfp4_quantize")
        given: dict[str, Any] = {"backend": backend}
        if "sfLayout" in package.parameters(run):
            given["sfLayout"] = _layout(layout)
        elif layout is not Layout.ROWS_128:
            raise NotOfferedError("mxfp4_quantize of this release gives 128x4 scales alone")
        packed, made = run(values, **_backend(run, given))
        return _bytes(packed, made, layout)

    def prepare(self, operation: str, weights: Any, *, backend: str, fill: int = 0) -> Any:
        """See `Subject`."""
        if operation == "moe":
            return flashinfer_experts.prepare(weights, backend, fill)
        return flashinfer_products.prepare(operation, weights, backend, fill)

    def gemm(
        self, a: Operand, b: Any, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        return flashinfer_products.multiply(a, b, alpha, dtype, backend)

    def mxfp4_gemm(self, a: Operand, b: Any, *, dtype: torch.dtype, backend: str) -> torch.Tensor:
        """See `Subject`."""
        return flashinfer_products.multiply(a, b, None, dtype, backend, block=mxfp4.BLOCK)

    def w4a16_gemm(
        self, values: torch.Tensor, b: Any, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        return flashinfer_products.weight_only(values, b, dtype, backend)

    def grouped_gemm(
        self, a: Operand, b: Any, rows: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """See `Subject`."""
        return flashinfer_products.grouped(a, b, rows, dtype, backend)

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
        return flashinfer_experts.run(hidden, experts, expert_ids, expert_weights, backend)

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
        raise NotOfferedError("weight-only experts of FlashInfer are not called here")

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
        shape = (pages, page_size, heads, head_size)
        return flashinfer_cache.empty(shape, dtype, multipliers, self.device)

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
        flashinfer_cache.write(cache, keys, values, slots, backend)

    def kv_read(
        self, cache: Any, slots: torch.Tensor, *, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Subject`."""
        return flashinfer_cache.read(cache, slots)

    def kv_attend(
        self,
        cache: Any,
        queries: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        *,
        backend: str,
    ) -> torch.Tensor:
        """See `Subject`."""
        return flashinfer_cache.attend(cache, queries, tables, lengths, backend)

    def tactics(self, operation: str, backend: str, call: Callable[[], object]) -> list[str]:
        """Return what FlashInfer's autotuner may choose from when `call` runs."""
        return flashinfer_tactics.listed(call)

    def with_tactic(self, tactic: str, call: Callable[[], Any]) -> Any:
        """Run `call` with one of them."""
        return flashinfer_tactics.forced(tactic, call)

    def autotune(self, call: Callable[[], Any]) -> Any:
        """Run `call` while FlashInfer tunes."""
        return flashinfer_tactics.tuned(call)

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """See `Subject`; 8x4 is what TensorRT-LLM's low-latency product reads, a backend of its own here."""
        if operation in ("grouped_gemm", "moe"):
            return None
        return Layout.ROWS_8 if backend == flashinfer_products.LOW_LATENCY else Layout.ROWS_128

    def advertised(self, operation: str, backend: str) -> str:
        """See `Subject`: its own tables of compute capabilities."""
        number = package.capability(self.device)
        name = flashinfer_products.ASKED.get(operation) or _ASKED.get((operation, backend))
        if name is None:
            return ""
        places = (
            "flashinfer",
            "flashinfer.gemm",
            "flashinfer.fused_moe",
            "flashinfer.quantization",
        )
        try:
            found = package.first(places, name)
        except NotOfferedError:
            return ""
        if operation in flashinfer_products.ASKED and hasattr(found, "is_backend_supported"):
            asked = backend.removesuffix("-8x4")
            question = f"{name}.is_backend_supported({asked!r}, {number})"
            return package.said(question, lambda: found.is_backend_supported(asked, number))
        ask = getattr(found, "is_compute_capability_supported", None)
        question = f"{name}.is_compute_capability_supported({number})"
        return "" if ask is None else package.said(question, lambda: ask(number))

    def selected(self, operation: str) -> str:
        """See `Subject`: backend="auto" chooses by the sizes of a call, and cannot be asked without one."""
        return ""

    def family(self, operation: str, backend: str) -> str:
        """See `Subject`."""
        if operation == "w4a16_gemm":
            return "weight-only"
        if operation.startswith("kv_"):
            return ""
        return _FAMILIES.get(backend.removesuffix("-8x4"), "")

    def synchronize(self) -> None:
        """See `Subject`."""
        package.settle(self.device)


def _backend(run: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Leave out the backend "cuda" where a release has no other. Raises NotOfferedError for another there."""
    if "backend" in package.parameters(run):
        return given
    if given["backend"] != "cuda":
        raise NotOfferedError(f"{run.__name__} of this release has no choice of backends")
    return {name: value for name, value in given.items() if name != "backend"}


def _placed(layout: Layout | None) -> dict[str, Any]:
    swizzled = layout is not None
    return {"is_sf_swizzled_layout": swizzled, "is_sf_8x4_layout": layout is Layout.ROWS_8}


def _layout(layout: Layout | None) -> Any:
    kinds = package.function("flashinfer", "SfLayout")
    names = {Layout.ROWS_128: "layout_128x4", Layout.ROWS_8: "layout_8x4"}
    return getattr(kinds, names[layout] if layout is not None else "layout_linear")


def _bytes(
    packed: torch.Tensor, made: torch.Tensor, layout: Layout | None
) -> tuple[torch.Tensor, torch.Tensor]:
    told = made.view(torch.uint8)
    if layout is not None:
        return packed.view(torch.uint8), told.reshape(-1)
    return packed.view(torch.uint8), told.reshape(packed.shape[0], -1)
