"""vLLM whose dense choice is one function without classes: 0.19.1. Experts and caches are asked as later ones are."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from probes.selection import vllm_oracle, vllm_scheme
from probes.selection.answer import Answer, Candidate, words
from probes.selection.stated import Gpu

_UTILITIES = "vllm.model_executor.layers.quantization.utils.nvfp4_utils"

MODULES = (_UTILITIES, *(name for name in vllm_oracle.MODULES if "kernels.linear" not in name))

CALLS = {
    "FLASHINFER_CUTLASS": "mm_fp4(cutlass)",
    "FLASHINFER_TRTLLM": "mm_fp4(trtllm)",
    "FLASHINFER_CUDNN": "mm_fp4(cudnn)",
}


def _dense(gpu: Gpu) -> Answer:
    utilities: Any = importlib.import_module(_UTILITIES)
    checks: dict[str, Callable[[], bool]] = {
        "FLASHINFER_CUTLASS": lambda: gpu.capability >= (10, 0) and utilities.has_flashinfer(),
        "VLLM_CUTLASS": utilities.cutlass_fp4_supported,
        "MARLIN": utilities.is_fp4_marlin_supported,
    }
    asked = tuple(
        _candidate(backend.name, checks.get(backend.name))
        for backend in utilities.NvFp4LinearBackend
    )
    try:
        chosen = utilities.select_nvfp4_linear_backend().name
    except (ValueError, AssertionError, ImportError) as error:
        return Answer("none", reason=words(error), candidates=asked, order=tuple(checks))
    return Answer("chosen", chosen, "", "", asked, tuple(checks))


def _candidate(name: str, check: Callable[[], bool] | None) -> Candidate:
    calls = CALLS.get(name, "")
    if check is None:
        return Candidate(name, None, "not asked: it is taken on request alone", calls=calls)
    try:
        able = bool(check())
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        return Candidate(name, None, words(error), calls=calls)
    return Candidate(name, able, "" if able else "its check says no, without a reason", calls=calls)


KINDS = {**vllm_oracle.KINDS, "dense_w4a4": _dense, "dense_w4a16": vllm_scheme.weight_only}
