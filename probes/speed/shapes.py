"""Layers of well-known models, by what their config.json on the Hugging Face Hub says; weights are (N, K)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from probes.check import Load
from probes.request import Request

LAYERS: Final = {
    # hidden 4096, 32 query and 8 key-value heads of 128, intermediate 14336
    "llama-3.1-8b.qkv": (6144, 4096),
    "llama-3.1-8b.o": (4096, 4096),
    "llama-3.1-8b.gate-up": (28672, 4096),
    "llama-3.1-8b.down": (4096, 14336),
    # hidden 8192, intermediate 28672
    "llama-3.1-70b.o": (8192, 8192),
    "llama-3.1-70b.down": (8192, 28672),
}
"""(N, K) of merged projections as vLLM runs them, without tensor parallelism."""

ROWS: Final = (1, 8, 32, 512, 4096)
"""Tokens: decoding for 1, 8 and 32 requests, and two sizes of prefill."""


class Moe(NamedTuple):
    """A mixture of gated experts."""

    experts: int
    top_k: int
    hidden: int
    intermediate: int


EXPERTS: Final = {"qwen3-30b-a3b": Moe(experts=128, top_k=8, hidden=2048, intermediate=768)}
_SMALL: Final = Moe(experts=2, top_k=1, hidden=64, intermediate=64)


def gemm_loads(run: Request) -> Iterator[Load]:
    """Yield layers and rows; for CPUs two that are large enough for their work to outweigh the calls."""
    if run.scale != "full":
        for m in (1, 16):
            yield {"layer": "small", "m": m, "n": 64, "k": 256}
        return
    for name, (n, k) in LAYERS.items():
        for m in ROWS:
            yield {"layer": name, "m": m, "n": n, "k": k}


def quantize_loads(run: Request) -> Iterator[Load]:
    """Yield the activations that those layers take."""
    if run.scale != "full":
        yield {"m": 16, "k": 256}
        return
    for k in sorted({k for _, k in LAYERS.values()}):
        for m in ROWS:
            yield {"m": m, "k": k}


def moe_loads(run: Request) -> Iterator[Load]:
    """Yield mixtures of experts and numbers of tokens."""
    full = run.scale == "full"
    for name, layer in EXPERTS.items() if full else (("small", _SMALL),):
        for m in ROWS if full else (8,):
            yield {"layer": name, "m": m, **layer._asdict()}
