"""Which kernels really ran: by torch's profiler, on a GPU CUPTI's names, on a CPU the names that a subject gives."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile

_T = TypeVar("_T")

NATIVE: Final = re.compile(r"e2m1|nvfp4|fp4|mxf4|nv_?float4", re.IGNORECASE)
"""In the name of a kernel that computes on FP4: CUTLASS's type, cuDNN's and vLLM's names."""

WEIGHT_ONLY: Final = re.compile(
    r"marlin|humming|machete|w4a16|awq|gptq|bf16_fp4|bf16xfp4", re.IGNORECASE
)
EMULATION: Final = re.compile(r"emulat|dequant", re.IGNORECASE)


def kernels(work: Callable[[], _T], device: torch.device) -> tuple[_T, tuple[str, ...]]:
    """Run `work` under the profiler; return what it returns, and the kernels that ran, in order, each once."""
    cuda = device.type == "cuda"
    activities = [ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    with profile(activities=activities) as watched:
        made = work()
        if cuda:
            torch.cuda.synchronize(device)
    names = [event.name for event in watched.events() if _is_kernel(event, cuda=cuda)]
    return made, tuple(dict.fromkeys(names))


def warm(device: torch.device) -> None:
    """Pay for the profiler's first start (0.7 s) once, before processes are forked; not where that would start CUDA."""
    if device.type != "cuda":
        kernels(lambda: None, device)


def _is_kernel(event: Any, *, cuda: bool) -> bool:
    if cuda:
        return "CUDA" in str(event.device_type) and not event.name.startswith(("Mem", "cuda"))
    return bool(event.is_user_annotation)


def fallback(names: tuple[str, ...]) -> str:
    """Return the reason where kernels are not native FP4: weight-only, emulated, or (`not_proven`) none of them FP4."""
    if any(WEIGHT_ONLY.search(name) for name in names):
        return "weight_only_fallback"
    if any(EMULATION.search(name) for name in names):
        return "emulation_fallback"
    return "" if any(NATIVE.search(name) for name in names) else "not_proven"
