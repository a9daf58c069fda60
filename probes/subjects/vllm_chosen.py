"""Which of vLLM's choices an operation is part of, and which backend of it that choice comes to."""

from __future__ import annotations

from typing import Final

import torch

from probes.selection.stated import Gpu
from probes.selection.vllm_release import adapter
from probes.subjects import package, vllm_flashinfer

_ASKED: Final = {
    "quantize": "dense_w4a4",
    "gemm": "dense_w4a4",
    "w4a16_gemm": "dense_w4a16",
    "grouped_gemm": "moe_w4a4",
    "moe": "moe_w4a4",
    "w4a16_moe": "moe_w4a16",
    "kv_cache": "kv_cache",
    "kv_attend": "kv_cache",
}
"""The layer kind whose choice an operation is part of."""

_CUTLASS: Final = frozenset(
    {"cutlass", "VLLM_CUTLASS", "CutlassNvFp4LinearKernel", "cutlass_moe_fp4"}
)
"""vLLM's own kernels by the words of its releases, of linear layers and of experts."""

_MARLIN: Final = frozenset(
    {"marlin", "MARLIN", "MarlinNvFp4LinearKernel", "CompressedTensorsW4A16Fp4"}
)
_UNQUANTIZED: Final = ("marlin", "humming", "w4a16", "emulat")
"""In the names of what takes activations in 16 bits, or quantizes them by itself. FlashInfer's dense kernels take vLLM's quantizer."""

_WRITES_ITSELF: Final = frozenset({"sm100", "sm103"})
"""Where vLLM's FlashInfer backend writes the cache by the wheel's kernel; elsewhere by FlashInfer's."""


def selected(operation: str, device: torch.device) -> str:
    """Return what vLLM's dispatcher or oracle chooses on this GPU; "" for a release that it is not known how to ask."""
    release, kind = adapter(package.version("vllm")), _ASKED.get(operation)
    if release is None or kind is None:
        return ""
    properties = torch.cuda.get_device_properties(device)
    here = Gpu("here", (properties.major, properties.minor), properties.name)
    return release.kinds[kind](here).selected or ""


def backend_of(operation: str, selected: str, *, target: str) -> str:
    """Return the backend of `OFFERS` that a choice comes to on a target, the choice itself where it is none of them."""
    if operation == "quantize":
        weight_only = any(word in selected.lower() for word in _UNQUANTIZED)
        return "vllm" if selected and not weight_only else selected
    if operation == "kv_cache":
        return "vllm" if selected == "FLASHINFER" and target in _WRITES_ITSELF else selected
    if operation in _ASKED and selected in _CUTLASS:
        return "cutlass"
    if operation in _ASKED and selected in _MARLIN:
        return "marlin"
    if operation in ("gemm", "moe") and selected in vllm_flashinfer.CHOSEN:
        return vllm_flashinfer.CHOSEN[selected]
    return "torch" if selected == "TorchNvFp4LinearKernel" else selected
