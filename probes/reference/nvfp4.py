"""NVFP4: quantize and dequantize, by the definition and without a rounding that the definition lacks.

A tensor of NVFP4 is E2M1 codes, one E4M3 scale for every 16 neighbours along the last dimension, and one
float32 for the whole tensor. With m the *multiplier*, s a block's scale and amax its greatest magnitude:

    m = 448 * 6 / (amax of the tensor)      float32, division rounded to nearest
    s = E4M3(m * amax / 6)                  to nearest even, saturating
    code = E2M1(m * x / s)                  to nearest even, saturating; 0 where s is 0
    x' = E2M1(code) * s / m                 float32

Sources: NVIDIA cuBLAS documentation, "1D Block Scaling for FP8 and FP4 Data Types"; the quantize kernels of
vLLM (`cvt_warp_fp16_to_fp4`) and TensorRT-LLM, whose `SFScaleVal` is m. "Global scale" means m in some
packages and 1/m in others, so that neither is called so here: `global_scale_multiplier` is m.

Scales and codes are the correct rounding of the real numbers above. In float64, m * amax and m * x are exact
(48 bits), and their quotient cannot fall on the wrong side of a boundary: a boundary times the divisor has at
most 8 bits, so that a quotient which is not on a boundary is more than 2**-49 away from it, relatively.
Kernels compute in float32, some with approximate reciprocals. They may differ where a value lies within a few
2**-24 of a boundary, and nowhere else: `scale_tie_distance` and `code_tie_distance` say how near each one was.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from probes.reference import e2m1, e4m3

BLOCK: Final = 16


@dataclass(frozen=True, kw_only=True)
class Nvfp4:
    """A quantized tensor of shape (…, K).

    `packed`: uint8 (…, K/2), see `e2m1.pack`. `scales`: float8_e4m3fn (…, K/16), in rows, not swizzled.
    `global_scale_multiplier`: float32, of shape () or one that broadcasts against `scales`, such as (E, 1, 1)
    for the weights of E experts.
    """

    packed: torch.Tensor
    scales: torch.Tensor
    global_scale_multiplier: torch.Tensor

    @property
    def nbytes(self) -> int:
        """Bytes of codes and block scales: 4.5 bits a value, 72/256 of FP16. The multiplier is left out."""
        size: int = self.packed.nbytes + self.scales.nbytes
        return size


def multiplier_of(values: torch.Tensor) -> torch.Tensor:
    """Return 448 * 6 / amax of all of `values` (see `block_scales` for dtypes) as a float32 of shape ().

    1 for a tensor of zeros, where any would do. The largest float32 where the quotient is beyond it (amax
    under 7.9e-36). Raises ValueError where a value is NaN or infinite.
    """
    amax = exact(values).abs().amax().to(torch.float32)
    # Tensor by tensor: a number over a tensor is a reciprocal and a product in torch, and rounded twice.
    multiplier = torch.full_like(amax, e4m3.MAX * e2m1.MAX) / amax
    multiplier = multiplier.clamp(max=torch.finfo(torch.float32).max)
    return torch.where(amax == 0, torch.ones_like(multiplier), multiplier)


def block_scales(values: torch.Tensor, *, global_scale_multiplier: torch.Tensor) -> torch.Tensor:
    """Return the scale of every block: float8_e4m3fn (…, K/16).

    `values`: float32, float16 or bfloat16 (…, K). `global_scale_multiplier`: see `Nvfp4`. Raises ValueError
    for another dtype, where K is no multiple of 16, where a value is NaN or infinite, and where the
    multiplier is not positive and finite.
    """
    return e4m3.encode(_unrounded_scales(values, global_scale_multiplier))


def codes(
    values: torch.Tensor, scales: torch.Tensor, *, global_scale_multiplier: torch.Tensor
) -> torch.Tensor:
    """Return the E2M1 codes of `values` (…, K) under given scales: uint8 (…, K), unpacked.

    `scales` and `global_scale_multiplier` are as in `Nvfp4`; the scales may be those of another
    implementation, whose codes are then judged by themselves. Raises ValueError as `block_scales` does.
    """
    return e2m1.encode(_unrounded_codes(values, scales, global_scale_multiplier))


def quantize(values: torch.Tensor, *, global_scale_multiplier: torch.Tensor | None = None) -> Nvfp4:
    """Quantize `values` (…, K); without a multiplier, by the tensor's own. Raises as `block_scales` does."""
    if global_scale_multiplier is None:
        global_scale_multiplier = multiplier_of(values)
    scales = block_scales(values, global_scale_multiplier=global_scale_multiplier)
    unpacked = codes(values, scales, global_scale_multiplier=global_scale_multiplier)
    return Nvfp4(
        packed=e2m1.pack(unpacked),
        scales=scales,
        global_scale_multiplier=global_scale_multiplier,
    )


def select(quantized: Nvfp4, expert: int) -> Nvfp4:
    """Return one expert's matrix (N, K) of a stack (E, N, K), whose multiplier is of shape () or (E, 1, 1)."""
    multiplier = quantized.global_scale_multiplier
    return Nvfp4(
        packed=quantized.packed[expert],
        scales=quantized.scales[expert],
        global_scale_multiplier=multiplier[expert].reshape(()) if multiplier.dim() else multiplier,
    )


def dequantize(quantized: Nvfp4) -> torch.Tensor:
    """Return E2M1 * E4M3 / multiplier as float32 (…, K); rounded once, in the division.

    A NaN scale gives NaN, which is how poisoned padding shows where it is read.
    """
    values = blocks(e2m1.decode(e2m1.unpack(quantized.packed)), BLOCK)
    scaled = values * e4m3.decode(quantized.scales).unsqueeze(-1)
    return (scaled / quantized.global_scale_multiplier.unsqueeze(-1)).flatten(-2)


def scale_tie_distance(
    values: torch.Tensor, *, global_scale_multiplier: torch.Tensor
) -> torch.Tensor:
    """Return how near to a rounding boundary each block's scale was: float64 (…, K/16), relative."""
    return e4m3.GRID.tie_distance(_unrounded_scales(values, global_scale_multiplier))


def code_tie_distance(
    values: torch.Tensor, scales: torch.Tensor, *, global_scale_multiplier: torch.Tensor
) -> torch.Tensor:
    """Return how near to a rounding boundary each code was: float64 (…, K), relative."""
    return e2m1.GRID.tie_distance(_unrounded_codes(values, scales, global_scale_multiplier))


def exact(values: torch.Tensor) -> torch.Tensor:
    """Return `values` as float64, for products of two of them to be exact.

    Raises ValueError where they are not float32, float16 or bfloat16, or one is NaN or infinite.
    """
    if values.dtype not in {torch.float32, torch.float16, torch.bfloat16}:
        raise ValueError(f"values are float32, float16 or bfloat16, not {values.dtype}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError("a NaN or an infinity cannot be quantized")
    return values.to(torch.float64)


def blocks(values: torch.Tensor, size: int) -> torch.Tensor:
    """View (…, K) as (…, K/size, size). Raises ValueError where K is no multiple of `size`."""
    if values.shape[-1] % size:
        raise ValueError(f"the last dimension, {values.shape[-1]}, is no multiple of {size}")
    return values.reshape(*values.shape[:-1], values.shape[-1] // size, size)


def _multiplier(given: torch.Tensor) -> torch.Tensor:
    """Check a multiplier and return it as float64."""
    if given.dtype != torch.float32 or not bool(((given > 0) & torch.isfinite(given)).all()):
        raise ValueError("the global scale multiplier is a positive, finite float32")
    return given.to(torch.float64)


def _unrounded_scales(values: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
    """Return multiplier * amax / 6 of each block as float64 (…, K/16)."""
    amax = blocks(exact(values), BLOCK).abs().amax(dim=-1)
    return amax * _multiplier(multiplier) / e2m1.MAX


def _unrounded_codes(
    values: torch.Tensor, scales: torch.Tensor, multiplier: torch.Tensor
) -> torch.Tensor:
    """Return multiplier * values / scales as float64 (…, K); zeros, with their sign, where a scale is 0."""
    divisors = e4m3.decode(scales).to(torch.float64)
    divisors = torch.where(divisors == 0, torch.inf, divisors)
    factors = _multiplier(multiplier).unsqueeze(-1)
    return (blocks(exact(values), BLOCK) * factors / divisors.unsqueeze(-1)).flatten(-2)
