"""Faults in what `quantize` gives: codes and their packing."""

from __future__ import annotations

from typing import Any

import torch

from probes.faults.fault import STEADY, Planted, fault
from probes.reference import e2m1, e4m3, nvfp4
from probes.reference.layout import Layout, swizzle


def quantized(
    values: torch.Tensor,
    multiplier: torch.Tensor,
    layout: Layout | None,
    nearest: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Quantize with the reference's scales and another rounding: `nearest` turns |quotients| into codes without sign."""
    scales = nvfp4.block_scales(values, global_scale_multiplier=multiplier)
    divisors = e4m3.decode(scales).double()
    divisors = torch.where(divisors == 0, torch.inf, divisors).unsqueeze(-1)
    quotients = (nvfp4.blocks(values.double(), 16) * multiplier.double() / divisors).flatten(-2)
    signs = torch.signbit(quotients).to(torch.uint8) << 3
    placed = scales.view(torch.uint8)
    if layout is not None:
        placed = swizzle(placed, layout=layout)
    return e2m1.pack(nearest(quotients.abs()) | signs), placed


@fault("I", "quantize", "wrong_packing")
class SwappedNibbles(Planted):
    """The even element lies in the high nibble."""

    def quantize(self, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(*args, **kwargs)
        return (packed << 4) | (packed >> 4), scales


@fault("I", "quantize", "wrong_rounding")
class Truncated(Planted):
    """Codes are rounded towards zero."""

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> Any:
        edges = torch.tensor(e2m1.MAGNITUDES[1:], dtype=torch.float64)
        with self.kernel("reference_nvfp4_quantize"):
            return quantized(
                values,
                multiplier,
                layout,
                lambda each: torch.bucketize(each, edges, right=True).to(torch.uint8),
            )


@fault("I", "quantize", "wrong_rounding")
class TiesAway(Planted):
    """Codes half-way between two values go up, where the even one is nearest."""

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> Any:
        edges = torch.tensor(e2m1.GRID.boundaries, dtype=torch.float64)
        with self.kernel("reference_nvfp4_quantize"):
            return quantized(
                values,
                multiplier,
                layout,
                lambda each: torch.bucketize(each, edges, right=True).to(torch.uint8),
            )


@fault("I", "quantize", "sign_lost")
class SignLost(Planted):
    """Every code is that of a magnitude."""

    def quantize(self, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(*args, **kwargs)
        return packed & 0x77, scales


@fault("I", "quantize", "not_saturated")
class NotSaturated(Planted):
    """What lies beyond 6 wraps around instead of staying there."""

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> Any:
        def wrapped(each: torch.Tensor) -> torch.Tensor:
            codes = e2m1.GRID.nearest(each)
            return torch.where(each >= 7, torch.zeros_like(codes), codes)  # noqa: PLR2004 - 8 steps are one more than there are

        with self.kernel("reference_nvfp4_quantize"):
            return quantized(values, multiplier, layout, wrapped)


@fault("I", "quantize", "all_zero", where="m=17")
class QuantizedZeros(Planted):
    """Nothing is written for one number of rows."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(values, *args, **kwargs)
        if values.shape[0] == 17:  # noqa: PLR2004
            return torch.zeros_like(packed), torch.zeros_like(scales)
        return packed, scales


@fault("I", "quantize", "stale_output")
class StaleCodes(Planted):
    """A second call of the same shape gives back what the first one made."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        made = super().quantize(values, *args, **kwargs)
        held: dict[Any, Any] = self.__dict__.setdefault("held", {})
        return held.setdefault((values.shape, values.dtype), made)


@fault("I", "quantize", "nondeterministic")
class CodesThatChange(Planted):
    """The same input gives other codes the next time: two blocks write one place."""

    def quantize(self, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(*args, **kwargs)
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > STEADY:
            packed = packed.clone()
            packed.view(-1)[self.calls % packed.numel()] ^= 0x11
        return packed, scales


@fault("I", "silu_quantize", "wrong_numbers", also=("wrong_scale", "wrong_rounding"))
class GateAndUpSwapped(Planted):
    """The activation is applied to the second half."""

    def silu_quantize(self, gate_up: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        gate, up = gate_up.chunk(2, dim=-1)
        return super().silu_quantize(torch.cat((up, gate), dim=-1), *args, **kwargs)


@fault("I", "mxfp4_quantize", "wrong_packing")
class MxSwappedNibbles(Planted):
    """MXFP4: the even element lies in the high nibble."""

    def mxfp4_quantize(self, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().mxfp4_quantize(*args, **kwargs)
        return (packed << 4) | (packed >> 4), scales
