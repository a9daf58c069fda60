"""E4M3: the block scales of NVFP4, byte by byte, and rounding to them.

Source: OCP 8-bit Floating Point Specification (OFP8) 1.0, section 5.2: bias 7, three mantissa bits, no
infinity, NaN only where all bits below the sign are set, largest value 448, smallest 2**-9. NVFP4 uses the
bytes without a sign (UE4M3 of the PTX ISA). The tables are built here from the bit fields, so that torch's own
conversion is one more thing that can be checked against them.
"""

from __future__ import annotations

from typing import Final

import torch

from probes.reference.rounding import Grid

MAX: Final = 448.0
SMALLEST_NORMAL: Final = 2.0**-6
SMALLEST: Final = 2.0**-9
NAN: Final = 0x7F


def _magnitude(byte: int) -> float:
    """Return the value of a byte without its sign, from exponent and mantissa."""
    exponent, mantissa = byte >> 3, byte & 0x7
    if byte == NAN:
        return float("nan")
    if exponent == 0:
        return mantissa * SMALLEST
    return (8 + mantissa) * 2.0 ** (exponent - 10)


MAGNITUDES: Final = tuple(_magnitude(byte) for byte in range(NAN))
GRID: Final = Grid(MAGNITUDES)


def encode(values: torch.Tensor) -> torch.Tensor:
    """Round numbers that are not negative to the nearest E4M3 value.

    `values`: floating point, any shape. Returns float8_e4m3fn of the same shape. Ties go to the even
    mantissa; what lies above 448, infinity included, becomes 448; what is 2**-10 or less becomes 0. Raises
    ValueError for NaN and for a negative number: a block scale is neither.
    """
    if bool((values < 0).any()):
        raise ValueError("a block scale is not negative")
    return GRID.nearest(values).view(torch.float8_e4m3fn)


def decode(scales: torch.Tensor) -> torch.Tensor:
    """Return the float32 values of scales: float8_e4m3fn, or their bytes as uint8; any shape.

    All 256 bytes have a value: 0x7F and 0xFF are NaN, 0x80 is -0.0.
    """
    table = [*MAGNITUDES, float("nan")]
    table += [-each for each in table]
    values = torch.tensor(table, dtype=torch.float32, device=scales.device)
    return values[scales.view(torch.uint8).long()]
