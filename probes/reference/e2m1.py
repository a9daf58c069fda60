"""E2M1: the sixteen values of FP4, rounding to them, and two of them in a byte.

Source of the format: OCP Microscaling Formats (MX) Specification 1.0, section 5.3.3 (one sign bit, two
exponent bits with bias 1, one mantissa bit; no infinity, no NaN). Source of the rounding: PTX ISA,
`cvt.rn.satfinite.e2m1x2.f32`: to nearest, ties to even, saturating at 6. Source of the packing: the same
instruction and cuBLAS's 4-bit data types, where the element of the lower index is the lower nibble.
"""

from __future__ import annotations

from typing import Final

import torch

from probes.reference.rounding import Grid

MAX: Final = 6.0
MAGNITUDES: Final = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
SIGN: Final = 0x8
GRID: Final = Grid(MAGNITUDES)


def encode(values: torch.Tensor) -> torch.Tensor:
    """Round to the nearest E2M1 value and return its code, 0 to 15.

    `values`: floating point, any shape. Returns uint8 of the same shape, one code an element, unpacked.
    Ties go to the even code; what lies beyond ±6, infinity included, becomes ±6; the sign of zero and of
    what rounds to zero is kept (code 8). Raises ValueError for NaN, which the format cannot hold: the
    hardware turns it into +6, and a reference that did so would hide the fault.
    """
    return GRID.nearest(values) | (torch.signbit(values).to(torch.uint8) * SIGN)


def decode(codes: torch.Tensor) -> torch.Tensor:
    """Return the float32 values of unpacked codes (uint8, 0 to 15, any shape); code 8 is -0.0."""
    table = [*MAGNITUDES, *(-each for each in MAGNITUDES)]
    return torch.tensor(table, dtype=torch.float32, device=codes.device)[codes.long()]


def pack(codes: torch.Tensor) -> torch.Tensor:
    """Put two codes in a byte: uint8 (…, K) to uint8 (…, K/2), the even element in the low nibble.

    Raises ValueError where K is odd.
    """
    if codes.shape[-1] % 2:
        raise ValueError(f"two codes make a byte, so {codes.shape[-1]} of them make none")
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def unpack(packed: torch.Tensor) -> torch.Tensor:
    """Take the two codes out of each byte: uint8 (…, K/2) to uint8 (…, K)."""
    return torch.stack((packed & 0xF, packed >> 4), dim=-1).flatten(-2)
