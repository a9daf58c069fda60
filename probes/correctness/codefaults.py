"""Name what is wrong with E2M1 codes, by making every wrong one that is known and comparing them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch

from probes.correctness.fault import Fault, where, zero_rows
from probes.reference import e2m1, e4m3, nvfp4

ALIKE: Final = 0.995
"""The share of codes that a suspect has to explain: what is at a tie may differ."""

_ENOUGH: Final = 16
_MANTISSAS: Final = 4


def name(  # noqa: PLR0911 - one arm a kind of fault
    values: torch.Tensor,
    multiplier: torch.Tensor,
    packed: torch.Tensor,
    scales: torch.Tensor,
    wrong: torch.Tensor,
) -> Fault:
    """Return the fault of codes that are wrong where `wrong` (M, K) says, under the package's own `scales`."""
    got = e2m1.unpack(packed)
    want = nvfp4.codes(values, scales, global_scale_multiplier=multiplier)
    read = (e4m3.decode(scales) > 0).repeat_interleave(nvfp4.BLOCK, dim=-1)
    if not bool(((got & 7) * read).any()):
        return Fault("all_zero", "every code is zero")
    if len(zero_rows((got & 7) * read, (want & 7) * read)) == int(wrong.any(-1).sum()):
        return Fault("all_zero", f"codes of whole rows are zero: {where(wrong)}")
    for reason, told, suspect in _suspects(values, multiplier, scales):
        if _alike(got, suspect, read & wrong.any(dim=-1, keepdim=True)):
            return Fault(reason, f"{told}: {where(wrong)}")
    real = _real(values, multiplier, scales)
    if not bool((wrong & (real.abs() <= e2m1.MAX)).any()):
        return Fault("not_saturated", f"what lies beyond 6 is not 6: {where(wrong)}")
    if not bool((((got ^ want) & 7) != 0)[read].any()):
        return Fault("sign_lost", f"signs differ: {where(wrong)}")
    if bool(_bracketed(got, real)[read].all()):
        return Fault("wrong_rounding", f"codes are the neighbours of the nearest: {where(wrong)}")
    return Fault("wrong_numbers", f"codes differ: {where(wrong)}")


def rule_of_ties(
    values: torch.Tensor, multiplier: torch.Tensor, scales: torch.Tensor, got: torch.Tensor
) -> Fault | None:
    """Return the fault of codes that are right but at exact ties, where all of them go another way than to even.

    Approximate arithmetic turns some exact ties this way and some that way, by the mantissa of the scale, and none under a
    power of two, whose reciprocal is exact: so that one way under at least four mantissas, a power of two among them, is a
    rule and no accident.
    """
    real = _real(values, multiplier, scales)
    boundaries = torch.tensor(e2m1.GRID.boundaries, dtype=torch.float64)
    lower = torch.bucketize(real.abs(), boundaries).clamp(max=len(boundaries) - 1)
    tie = boundaries[lower] == real.abs()
    negative = torch.signbit(real)
    mantissas = (scales.view(torch.uint8) & 7).repeat_interleave(nvfp4.BLOCK, dim=-1)
    even = lower + lower % 2
    rules = {
        "away from zero": lower + 1,
        "toward zero": lower,
        "up": torch.where(negative, lower, lower + 1),
        "down": torch.where(negative, lower + 1, lower),
    }
    for told, rule in rules.items():
        tells = tie & (rule != even)
        kinds = torch.unique(mantissas[tells])
        enough = (
            int(tells.sum()) >= _ENOUGH and len(kinds) >= _MANTISSAS and bool((kinds == 0).any())
        )
        if enough and bool(((got & 7).long() == rule)[tells].all()):
            return Fault("wrong_rounding", f"all of {int(tells.sum())} ties go {told}, not to even")
    return None


def _alike(got: torch.Tensor, suspect: torch.Tensor, read: torch.Tensor) -> bool:
    if got.shape != suspect.shape:
        return False
    zeros = ((got | suspect) & 7) == 0
    return float(((got == suspect) | zeros)[read].double().mean()) >= ALIKE


def _real(values: torch.Tensor, multiplier: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return m * x / s before rounding: float64 (M, K), 0 where a scale is 0."""
    divisors = e4m3.decode(scales).double()
    divisors = torch.where(divisors == 0, torch.inf, divisors)
    blocks = nvfp4.blocks(values.double(), nvfp4.BLOCK) * multiplier.double()
    return (blocks / divisors.unsqueeze(-1)).flatten(-2)


def _bracketed(got: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Say which codes are one of the two that lie around the number, in magnitude and sign."""
    steps = torch.tensor(e2m1.MAGNITUDES, dtype=torch.float64)
    above = torch.bucketize(real.abs(), steps).clamp(max=len(steps) - 1)
    below = (torch.bucketize(real.abs(), steps, right=True) - 1).clamp(min=0)
    code = (got & 7).long()
    sign = ((got & e2m1.SIGN) != 0) == torch.signbit(real)
    return ((code == above) | (code == below)) & (sign | (code == 0))


def _suspects(
    values: torch.Tensor, multiplier: torch.Tensor, scales: torch.Tensor
) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield reason, sentence and codes (M, K) of every wrong rule, those of packing as they would be read."""
    right = nvfp4.codes(values, scales, global_scale_multiplier=multiplier)
    k = right.shape[-1]
    yield (
        "wrong_packing",
        "the two codes of a byte are swapped",
        right.reshape(len(right), -1, 2).flip(-1).flatten(-2),
    )
    halves = torch.stack((right[:, : k // 2], right[:, k // 2 :]), dim=-1).flatten(-2)
    yield "wrong_packing", "a byte holds a code of each half of the row", halves
    for size in (nvfp4.BLOCK, 2 * nvfp4.BLOCK, 8):
        if k % size == 0:
            part = right.reshape(len(right), -1, 2, size // 2).transpose(-1, -2).flatten(-3)
            yield "wrong_packing", f"a byte holds codes that are {size // 2} apart", part
    yield "wrong_packing", "codes lie in the reverse order", right.flip(-1)
    yield "wrong_packing", "bytes lie in the reverse order in each word", _words(right)
    yield "sign_lost", "signs are lost", right & 7
    yield "sign_lost", "signs are inverted", right ^ e2m1.SIGN
    yield "sign_lost", "every code is negative", right | e2m1.SIGN
    real = _real(values, multiplier, scales)
    steps = torch.tensor(e2m1.MAGNITUDES, dtype=torch.float64)
    sign = torch.signbit(values).to(torch.uint8) * e2m1.SIGN
    low = (torch.bucketize(real.abs(), steps, right=True) - 1).clamp(min=0).to(torch.uint8)
    high = torch.bucketize(real.abs(), steps).clamp(max=len(steps) - 1).to(torch.uint8)
    yield "wrong_rounding", "codes are truncated", low | sign
    yield "wrong_rounding", "codes are rounded away from zero", high | sign
    yield "wrong_rounding", "codes are rounded up", torch.where(sign > 0, low, high) | sign
    yield "wrong_rounding", "codes are rounded down", torch.where(sign > 0, high, low) | sign
    yield from _scaled(values, multiplier, scales, real)
    for shift in (1, nvfp4.BLOCK):
        for way, whose in ((shift, "before"), (-shift, "after")):
            yield (
                "wrong_numbers",
                f"codes are those of the value {shift} {whose}",
                right.roll(way, -1),
            )
    yield "wrong_numbers", "each row has the codes of the one before it", right.roll(1, 0)
    yield "wrong_numbers", "each row has the codes of the one after it", right.roll(-1, 0)


def _words(codes: torch.Tensor) -> torch.Tensor:
    """Return codes with the four bytes of each 32-bit word reversed; as they are where words do not fit."""
    if codes.shape[-1] % 8:
        return codes.flip(-1)
    return codes.reshape(len(codes), -1, 4, 2).flip(-2).flatten(-3)


def _scaled(
    values: torch.Tensor, multiplier: torch.Tensor, scales: torch.Tensor, real: torch.Tensor
) -> Iterator[tuple[str, str, torch.Tensor]]:
    """Yield codes that were made with another scale than the one that is stored."""
    m = float(multiplier.double())
    factors = (
        (1 / (m * m), "codes are made with the inverse of the global scale"),
        (1 / m, "codes are made without the global scale"),
        (m, "codes are made with the global scale twice"),
        (6.0, "codes are made with six times the value"),
        (1 / 6.0, "codes are made with a sixth of the value"),
        (2.0, "codes are made with twice the value"),
        (0.5, "codes are made with half the value"),
    )
    for factor, told in factors:
        yield "wrong_scale", told, e2m1.encode(real * factor)
    stored = e4m3.decode(scales).double().repeat_interleave(nvfp4.BLOCK, dim=-1)
    yield (
        "wrong_scale",
        "codes are made without the block's scale",
        e2m1.encode(values.double() * m),
    )
    yield (
        "wrong_scale",
        "codes are multiplied by the block's scale",
        e2m1.encode(real * stored * stored),
    )
    amax = nvfp4.blocks(values.double(), nvfp4.BLOCK).abs().amax(-1, keepdim=True)
    own = nvfp4.blocks(values.double(), nvfp4.BLOCK) * e2m1.MAX / amax.clamp_min(1e-300)
    yield (
        "wrong_scale",
        "codes are made with the scale before its rounding",
        e2m1.encode(own.flatten(-2)),
    )
    for shift, whose in ((1, "before"), (-1, "after")):
        moved = _real(
            values, multiplier, scales.view(torch.uint8).roll(shift, -1).view(scales.dtype)
        )
        yield (
            "wrong_numbers",
            f"each block's codes are made with the scale of the one {whose} it",
            e2m1.encode(moved),
        )
