"""Rounding to a short list of numbers: to nearest, ties to even, saturating; and how near a tie was."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


class Grid:
    """Ascending magnitudes that values are rounded to; a magnitude's index is its code.

    A boundary is the midpoint of two neighbours. On it the even index wins, which is IEEE 754's
    roundTiesToEven as long as the codes of the format ascend with its values, as those of E2M1 and E4M3 do.
    Every magnitude and boundary must be a float32, so that no comparison is itself rounded.
    """

    def __init__(self, magnitudes: Sequence[float]) -> None:
        self.magnitudes = tuple(magnitudes)
        pairs = zip(self.magnitudes, self.magnitudes[1:], strict=False)
        self.boundaries = tuple((low + high) / 2 for low, high in pairs)

    def nearest(self, values: torch.Tensor) -> torch.Tensor:
        """Return the index (uint8) of the magnitude that is nearest to each |value|.

        `values`: floating point, any shape, compared as float64. Beyond the last magnitude, infinity
        included, the last one is taken. Raises ValueError for NaN.
        """
        if bool(torch.isnan(values).any()):
            raise ValueError("NaN has no nearest value")
        # bucketize counts the boundaries that lie strictly below. Where the index under a boundary is odd, a
        # value on it has to go up, so there the boundary steps down by the least float64.
        thresholds = [
            math.nextafter(boundary, 0.0) if index % 2 else boundary
            for index, boundary in enumerate(self.boundaries)
        ]
        edges = torch.tensor(thresholds, dtype=torch.float64, device=values.device)
        return torch.bucketize(values.to(torch.float64).abs(), edges).to(torch.uint8)

    def tie_distance(self, values: torch.Tensor) -> torch.Tensor:
        """Return how far each |value| is from its nearest boundary, relative to that boundary (float64).

        Arithmetic in float32 in another order than the reference's moves a value by a few times 2**-24,
        and may turn the rounding of no value that lies further away: a difference at a greater distance
        is no matter of the order of operations. Infinity is infinitely far.
        """
        edges = torch.tensor(self.boundaries, dtype=torch.float64, device=values.device)
        wide = values.to(torch.float64).abs()
        above = torch.bucketize(wide, edges).clamp(max=len(edges) - 1)
        below = (above - 1).clamp(min=0)
        return torch.minimum(
            (wide / edges[above] - 1).abs(),
            (wide / edges[below] - 1).abs(),
        )
