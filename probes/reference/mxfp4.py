"""MXFP4: NVFP4's sister, with blocks of 32, scales that are powers of two, and no global scale.

    code = E2M1(x / 2**e)       to nearest even, saturating
    x' = E2M1(code) * 2**e

A block's e is stored as the byte e + 127 (E8M0: 0 to 254; 255 is NaN and never made here). Three rules for e are
in use, and data that one made is read well by all; `Rule` says which is whose.

Sources: OCP Microscaling Formats (MX) Specification 1.0, sections 5.4.1 (E8M0) and 6.3 (conversion); NVIDIA cuBLAS
documentation, "1D Block Scaling for FP8 and FP4 Data Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

import torch

from probes.reference import e2m1
from probes.reference.nvfp4 import blocks, exact

BLOCK: Final = 32
BIAS: Final = 127


class Rule(Enum):
    """How a block's exponent follows from its greatest magnitude, amax.

    FLOOR: floor(log2(amax)) - 2, of OCP's section 6.3; an amax above 6 * 2**e saturates.
    CEIL: the least e with amax <= 6 * 2**e, of cuBLAS and NVIDIA's quantize kernels; nothing saturates.
    EVEN: as FLOOR, of an amax that is first rounded to E2M1's one bit of mantissa (away from zero on a tie);
    amax up to 7 * 2**e, which rounds to 6, keeps e.
    """

    FLOOR = "floor"
    CEIL = "ceil"
    EVEN = "even"


@dataclass(frozen=True, kw_only=True)
class Mxfp4:
    """A quantized tensor of shape (…, K): `packed` uint8 (…, K/2), `exponents` uint8 (…, K/32), E8M0."""

    packed: torch.Tensor
    exponents: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of codes and exponents: 4.25 bits a value."""
        size: int = self.packed.nbytes + self.exponents.nbytes
        return size


def block_exponents(values: torch.Tensor, *, rule: Rule) -> torch.Tensor:
    """Return the E8M0 byte of every block: uint8 (…, K/32).

    `values`: float32, float16 or bfloat16 (…, K). A block of zeros gets byte 0 (2**-127), as does every block
    whose exponent would be lower. Raises ValueError for another dtype, where K is no multiple of 32, and where
    a value is NaN or infinite.
    """
    amax = blocks(exact(values), BLOCK).abs().amax(dim=-1)
    # frexp: amax = mantissa * 2**exponent with 0.5 <= mantissa < 1, so that log2's floor is exponent - 1. No
    # logarithm is taken: near a power of two its last bit decides.
    mantissa, exponent = torch.frexp(amax)
    floor = exponent - 3
    if rule is Rule.CEIL:
        floor = floor + (mantissa > e2m1.MAX / 8)
    elif rule is Rule.EVEN:
        floor = floor + (mantissa >= 7 / 8)
    floor = torch.where(amax == 0, -BIAS, floor)
    return (floor.clamp(-BIAS, BIAS) + BIAS).to(torch.uint8)


def codes(values: torch.Tensor, exponents: torch.Tensor) -> torch.Tensor:
    """Return the E2M1 codes of `values` (…, K) under given E8M0 bytes (…, K/32): uint8 (…, K), unpacked."""
    powers = torch.exp2(BIAS - exponents.to(torch.float64)).unsqueeze(-1)
    return e2m1.encode((blocks(exact(values), BLOCK) * powers).flatten(-2))


def quantize(values: torch.Tensor, *, rule: Rule) -> Mxfp4:
    """Quantize `values` (…, K). Raises ValueError as `block_exponents` does."""
    exponents = block_exponents(values, rule=rule)
    return Mxfp4(packed=e2m1.pack(codes(values, exponents)), exponents=exponents)


def dequantize(quantized: Mxfp4) -> torch.Tensor:
    """Return E2M1 * 2**e as float32 (…, K): exact, or infinite beyond float32; byte 255 gives NaN."""
    values = blocks(e2m1.decode(e2m1.unpack(quantized.packed)), BLOCK)
    exponents = quantized.exponents.to(torch.float64)
    powers = torch.where(exponents == 2 * BIAS + 1, torch.nan, torch.exp2(exponents - BIAS))
    return (values * powers.unsqueeze(-1)).flatten(-2).to(torch.float32)
