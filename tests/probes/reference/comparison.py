"""What another implementation made, held against the reference step by step.

First the scales, then the codes under *its* scales, so that one difference does not make two.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from probes.reference import e2m1, nvfp4
from tests.probes.reference.inputs import CASES

# Float32 in another order of operations moves a value by up to three roundings and that of its multiplier.
NEAR = 4 * 2.0**-24

# Everything but zeros and denormals, which every implementation treats in its own way.
ORDINARY = sorted(set(CASES) - {"zeros", "zero_blocks", "small_scales", "denormal", "greatest"})


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """Codes (uint8 (…, K/2)), scales (E4M3 (…, K/16)) and multiplier (float32 ()) of an implementation."""

    packed: torch.Tensor
    scales: torch.Tensor
    multiplier: torch.Tensor


@dataclass(frozen=True, kw_only=True)
class Differences:
    """Where scales and codes differ (bool), and the tie distance of all of them (float64)."""

    scales: torch.Tensor
    codes: torch.Tensor
    scale_ties: torch.Tensor
    code_ties: torch.Tensor

    def only_near_ties(self) -> bool:
        """Tell whether each difference is a matter of the order of float32 operations."""
        apart = (self.scale_ties[self.scales], self.code_ties[self.codes])
        return all(bool((each < NEAR).all()) for each in apart)


def case(name: str, dtype: torch.dtype) -> torch.Tensor:
    """Return a case's values in `dtype`; what that turns into an infinity becomes its greatest number."""
    return CASES[name]().to(dtype).nan_to_num()


def differences(
    values: torch.Tensor,
    theirs: Theirs,
    *,
    scale_rule: Callable[[torch.Tensor], torch.Tensor] = lambda scales: scales,
) -> Differences:
    """Compare with the reference; `scale_rule` turns its scales (float32) into those that are expected."""
    multiplier = theirs.multiplier
    ours = nvfp4.block_scales(values, global_scale_multiplier=multiplier)
    codes = nvfp4.codes(values, theirs.scales, global_scale_multiplier=multiplier)
    return Differences(
        scales=scale_rule(ours.float()) != theirs.scales.float(),
        codes=codes != e2m1.unpack(theirs.packed),
        scale_ties=nvfp4.scale_tie_distance(values, global_scale_multiplier=multiplier),
        code_ties=nvfp4.code_tie_distance(
            values, theirs.scales, global_scale_multiplier=multiplier
        ),
    )


def share(mask: torch.Tensor) -> float:
    """Return how much of a mask is true, 0 to 1."""
    return float(mask.double().mean())


def every_bfloat16() -> torch.Tensor:
    """Return every finite bfloat16 as float32, both zeros and all denormals among them: 65,024 numbers."""
    bits = torch.arange(65536, dtype=torch.int32).to(torch.int16)
    values = bits.view(torch.bfloat16).to(torch.float32)
    return values[values.isfinite()]


def normal(rows: int, columns: int) -> torch.Tensor:
    """Return normal numbers, the same ones at each call: float32 (rows, columns)."""
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
