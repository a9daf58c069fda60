"""The reference's KV cache: quantized keys and values by slot."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from probes.reference import nvfp4
from probes.reference.nvfp4 import Nvfp4


@dataclass(frozen=True, kw_only=True)
class Cache:
    """Keys and values, in that order: `packed` uint8 (2, slots, heads, size/2), `scales` uint8 (2, slots, heads, size/16)."""

    packed: torch.Tensor
    scales: torch.Tensor
    multipliers: tuple[torch.Tensor, torch.Tensor]
    page_size: int
    dtype: torch.dtype

    def read(self, index: int, slots: torch.Tensor) -> torch.Tensor:
        """Return keys (0) or values (1) of `slots`, dequantised: float32 (T, heads, head size)."""
        held = Nvfp4(
            packed=self.packed[index, slots],
            scales=self.scales[index, slots].view(torch.float8_e4m3fn),
            global_scale_multiplier=self.multipliers[index],
        )
        return nvfp4.dequantize(held)
