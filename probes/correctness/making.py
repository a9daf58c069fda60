"""Which work belongs to which operation, and a load that shows each of them once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch

from probes.case import Case, Value
from probes.correctness import caching, multiplying, quantizing
from probes.correctness.work import Maker, Work
from probes.request import Request
from probes.subject import Charged

MAKERS: Final[Mapping[str, Maker]] = {
    "quantize": quantizing.quantize,
    "silu_quantize": quantizing.silu_quantize,
    "gemm": multiplying.gemm,
    "grouped_gemm": multiplying.grouped_gemm,
    "moe": multiplying.moe,
    "kv_cache": caching.kv_cache,
    "kv_attend": caching.kv_attend,
    "mxfp4_quantize": quantizing.mxfp4_quantize,
    "mxfp4_gemm": multiplying.mxfp4_gemm,
}

_DTYPE: Final = {"dtype": "bfloat16"}

_SMALL: Final[Mapping[str, Mapping[str, Value]]] = {
    "quantize": {"m": 33, "k": 80},
    "silu_quantize": {"m": 33, "k": 64},
    "gemm": {"m": 33, "n": 64, "k": 96},
    "grouped_gemm": {"experts": 4, "m": 21, "n": 32, "k": 64, "rows": "half"},
    "moe": {"experts": 4, "top_k": 2, "tokens": 17, "hidden": 64, "intermediate": 64, "routing": "even"},
    "kv_cache": {"tokens": 21, "heads": 2, "head_size": 64, "page_size": 16},
    "kv_attend": {"requests": 3, "length": 21, "query_heads": 4, "heads": 2, "head_size": 64, "page_size": 16},
    "mxfp4_quantize": {"m": 33, "k": 96},
    "mxfp4_gemm": {"m": 33, "n": 64, "k": 128},
}  # fmt: skip

_FULL: Final[Mapping[str, Mapping[str, Value]]] = {
    "quantize": {"m": 300, "k": 2048},
    "silu_quantize": {"m": 300, "k": 2048},
    "gemm": {"m": 300, "n": 2048, "k": 2048},
    "grouped_gemm": {"experts": 8, "m": 500, "n": 1024, "k": 1024, "rows": "half"},
    "moe": {"experts": 8, "top_k": 2, "tokens": 129, "hidden": 1024, "intermediate": 512, "routing": "even"},
    "kv_cache": {"tokens": 500, "heads": 8, "head_size": 128, "page_size": 16},
    "kv_attend": {"requests": 8, "length": 500, "query_heads": 32, "heads": 8, "head_size": 128, "page_size": 16},
    "mxfp4_quantize": {"m": 300, "k": 2048},
    "mxfp4_gemm": {"m": 300, "n": 2048, "k": 2048},
}  # fmt: skip


def representative(operation: str, run: Request) -> dict[str, Value]:
    """Return one load of an operation, of a size that every kernel takes and with a tail in every tile (M = 300 = 2 * 128 + 44)."""
    return {**(_FULL if run.scale == "full" else _SMALL)[operation], **_DTYPE}


def make(subject: Charged, case: Case, run: Request, *, again: int = 0, fill: int = 0) -> Work:
    """Make a case's work, with seeded inputs; see `probes.correctness.work.Maker`."""
    if run.scale == "small":
        torch.set_num_threads(1)  # starting threads in each child takes longer than small inputs
    return MAKERS[case.operation](subject, case, case.seed(run.seed), again=again, fill=fill)
