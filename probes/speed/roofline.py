"""How fast a shape could be on a target at best: by its dense peak rate, or by its memory, whichever takes longer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

NVFP4_BYTES: Final = 0.5 + 1 / 16
"""Of a value: a nibble, and its share of a block scale."""

_BYTES: Final = 2
"""Of a value in 16 bits."""


@dataclass(frozen=True)
class Cost:
    """What has to be done at least: floating-point operations, and bytes to and from memory, each operand once."""

    flops: float
    moved: float

    def bound(self, rates: Mapping[str, Any], peak: str = "fp4_tflops") -> float | None:
        """Return the seconds that it takes at least; None where the target's rates are not known.

        `rates`: as `Rates` of matrix/target.py, dense, in 10^12 a second and 10^9 bytes a second; any may be None. Both
        have to be there, unless nothing is to be computed: half a roof is none.
        """
        tflops, memory = rates.get(peak), rates.get("memory_gb_s")
        if not memory or (self.flops and not tflops):
            return None
        computing = self.flops / (tflops * 1e12) if tflops else 0.0
        return float(max(computing, self.moved / (memory * 1e9)))


def gemm(m: int, n: int, k: int) -> Cost:
    """Multiply NVFP4 operands (M, K) and (N, K) into 16 bits (M, N)."""
    return Cost(2.0 * m * n * k, (m + n) * k * NVFP4_BYTES + _BYTES * m * n)


def quantize(m: int, k: int) -> Cost:
    """Read (M, K) in 16 bits, write NVFP4."""
    return Cost(0.0, m * k * (_BYTES + NVFP4_BYTES))


def moe(tokens: int, top_k: int, experts: int, hidden: int, intermediate: int) -> Cost:
    """Run gated experts (gate, up and down) of which `experts` have a token, on (tokens, hidden) in 16 bits."""
    weights = 3.0 * hidden * intermediate
    return Cost(
        2.0 * tokens * top_k * weights,
        experts * weights * NVFP4_BYTES + 2.0 * _BYTES * tokens * hidden,
    )
