"""How far a right product may lie from the reference's: derived, not guessed.

**Products of quantized operands.** Codes times scales are exact in every kernel: E2M1 x E4M3 has at most 6 bits, a product of two
12. What remains is (1) the order of float32 sums: tensor cores add a step of K = 64 with at least 22 fractional bits, so that K/64 steps
leave about sqrt(K/64) * 2^-22 of the norm, under 2^-14 for every K here, by far; (2) rounding to the output's type, at most u of each element
and so of every row's norm, u = 2^-8 for bfloat16 and 2^-11 for float16; (3) where a kernel stores once before alpha is applied, or dequantizes its operands
into that type, once more as much. In all: 2 u + 2^-14, for rows as for the whole. A single element may be off by that share of itself, and by six times
that share of its row's root mean square, for a sum of cancelling terms (six standard deviations: one in 10^9).

**Through a second quantization** (fused experts, fused activation). The middle tensor differs by d between two right implementations: u where one rounds it to its type
and another does not. A difference d moves a value over a boundary of E2M1 with a chance of d * |x| / step, and then costs a step: a squared error
of d * |x| * step, with step / |x| at most 1/2 from 1 up and 1/3 on average: sqrt(d / 3). With u of bfloat16: 0.036; of float16: 0.013. A scale moves by one
step of E4M3 (1/8 to 1/16) with a chance of about 11 d, and quantizes its block anew: an error of sqrt(2) * 0.1 of it, so 0.14 * sqrt(11 d): 0.03; 0.01.
Together 0.047 and 0.017; the bound stands at twice that. A row has few values, of which one that moves weighs 1 / sqrt(their number) of it at most (a step of 2
under a root mean square of 2 or more), and a block that gets another scale sqrt(16 / number) * 0.14: a row may have three such more.

**Attention** over an FP4 cache. FlashInfer's kernels on 10x take the queries in E4M3 (`QE4m3KvE2m1`): each off by up to 2^-4, 2^-4 / sqrt(3) = 0.036 on average; P may be in E4M3, too. Both: 0.05;
the bound stands at 0.1, which every misplaced head, page or token exceeds by far.
"""

from __future__ import annotations

import math
from typing import Final

import torch

UNIT: Final = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11, torch.float32: 2.0**-24}
"""Largest relative error of rounding to a type."""

SUMS: Final = 2.0**-14
COSINE: Final = 0.9999
NORM: Final = (0.98, 1.02)
"""Bounds of the ratio of norms: a cosine is blind to a wrong scale."""

ATTENTION: Final = 0.1
ROW: Final = 1.5
"""A row's bound over that of the whole, where nothing jumps: rounding errors of 16 elements vary by that much."""

PEAK: Final = 6.0

_SECOND: Final = {torch.bfloat16: 0.047, torch.float16: 0.017, torch.float32: 0.017}


def product(dtype: torch.dtype) -> float:
    """Return the largest relative L2 error of a product of quantized operands, whole or of a row."""
    return 2 * UNIT[dtype] + SUMS


def requantized(dtype: torch.dtype) -> float:
    """Return the largest relative L2 error of what went through a second quantization."""
    return 2 * _SECOND[dtype]


def requantized_row(dtype: torch.dtype, values: int) -> float:
    """Return that of a row which comes of so many values that were quantized a second time."""
    return requantized(dtype) + 3 / math.sqrt(values)


def cosine(bound: float) -> float:
    """Return the least cosine that goes with a bound of the relative L2 error: sqrt(1 - bound^2), COSINE at most."""
    return min(COSINE, math.sqrt(1 - bound * bound))
