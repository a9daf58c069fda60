"""FlashInfer's own answers: its support decorators, called for a compute capability. No GPU is asked."""

from __future__ import annotations

import importlib
from typing import Any

from probes.selection.answer import Opinion, words
from probes.selection.stated import Gpu

_OPERATIONS: dict[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "dense_w4a4": (("mm_fp4", ("cutlass", "cudnn", "trtllm", "cute-dsl", "b12x")),),
    "dense_w4a16": (("mm_bf16_fp4", ("cudnn", "cute-dsl")),),
    "moe_w4a4": (
        ("cutlass_fused_moe", ()),
        ("trtllm_fp4_block_scale_moe", ()),
        ("cute_dsl_fused_moe_nvfp4", ()),
        ("b12x_fused_moe", ()),
    ),
    "moe_w4a16": (("b12x_fused_moe", ()),),
    "kv_cache": (("nvfp4_kv_quantize", ()), ("nvfp4_kv_dequantize", ())),
}
_PLACES = ("flashinfer", "flashinfer.gemm", "flashinfer.fused_moe", "flashinfer.quantization")

MODULES = _PLACES


def opinions(kind: str, gpu: Gpu) -> list[Opinion]:
    """Return what FlashInfer says of the operations of one layer kind on one GPU."""
    told: list[Opinion] = []
    for name, backends in _OPERATIONS[kind]:
        operation = _find(name)
        if not backends:
            told.append(_ask(name, operation, "is_compute_capability_supported", (gpu.number,)))
        for backend in backends:
            arguments = (backend, gpu.number)
            told.append(_ask(f"{name}({backend})", operation, "is_backend_supported", arguments))
    return told


def _find(name: str) -> Any:
    for place in _PLACES:
        try:
            found = getattr(importlib.import_module(place), name, None)
        except ImportError:
            continue
        if found is not None:
            return found
    return None


def _ask(call: str, operation: Any, question: str, arguments: tuple[Any, ...]) -> Opinion:
    if operation is None:
        return Opinion(call, None, "this FlashInfer has no such operation")
    asked = getattr(operation, question, None)
    if asked is None:
        return Opinion(call, None, "it does not say for which GPUs it is")
    try:
        return Opinion(call, bool(asked(*arguments)))
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        return Opinion(call, None, words(error))
