"""Faults in the scales that `quantize` gives: their values, their layout, their padding."""

from __future__ import annotations

from typing import Any

import torch

from probes.faults.fault import Planted, fault
from probes.reference import e2m1, e4m3, nvfp4
from probes.reference.layout import Layout, padded, swizzle


def placed(scales: torch.Tensor, layout: Layout | None) -> torch.Tensor:
    """Lay bytes of scales (M, K/16) out as they were asked for."""
    told = scales.view(torch.uint8)
    return told if layout is None else swizzle(told, layout=layout)


def room(values: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """Put bytes at the beginning of the buffer that 128x4 needs for the scales of `values` (M, K)."""
    high, wide = padded(values.shape[0], values.shape[1] // 16, layout=Layout.ROWS_128)
    whole = torch.zeros(high * wide, dtype=torch.uint8)
    whole[: told.numel()] = told.reshape(-1)
    return whole


class Rescaled(Planted):
    """A quantization whose block scales come from `scale`, and whose codes fit them."""

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> Any:
        with self.kernel("reference_nvfp4_quantize"):
            scales = self.scale(values, multiplier)
            made = nvfp4.codes(values, scales, global_scale_multiplier=multiplier)
            return e2m1.pack(made), placed(scales, layout)

    def scale(self, values: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
        """Return the block scales, float8_e4m3fn."""
        raise NotImplementedError


@fault("I", "quantize", "wrong_scale_layout")
class LinearScales(Planted):
    """Scales lie row by row where 128x4 was asked for."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if kwargs["layout"] is not Layout.ROWS_128:
            return super().quantize(values, *args, **kwargs)
        packed, scales = super().quantize(values, *args, **{**kwargs, "layout": None})
        return packed, room(values, scales)


@fault("I", "quantize", "wrong_scale_layout")
class EightRowTiles(Planted):
    """Scales lie in tiles of 8x4 where 128x4 was asked for."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if kwargs["layout"] is not Layout.ROWS_128:
            return super().quantize(values, *args, **kwargs)
        packed, scales = super().quantize(values, *args, **{**kwargs, "layout": Layout.ROWS_8})
        return packed, room(values, scales)


@fault("I", "quantize", "wrong_scale_layout")
class TransposedScales(Planted):
    """Scales lie column by column where they were asked for row by row, or in tiles."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(values, *args, **{**kwargs, "layout": None})
        turned = scales.t().contiguous()
        layout = kwargs["layout"]
        if layout is None:
            return packed, turned.reshape(scales.shape)
        right = swizzle(scales, layout=layout)
        told = swizzle(turned, layout=layout)[: right.numel()]
        return packed, torch.nn.functional.pad(told, (0, right.numel() - told.numel()))


@fault("I", "quantize", "wrong_numbers")
class BlockShiftedByOne(Planted):
    """Each block has the scale of its neighbour."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(values, *args, **{**kwargs, "layout": None})
        return packed, placed(scales.roll(1, dims=-1), kwargs["layout"])


@fault("G", "quantize", "wrong_scale", also=("all_zero",))
class InverseScale(Planted):
    """The global scale is taken for its inverse."""

    def quantize(self, values: torch.Tensor, multiplier: torch.Tensor, **kwargs: Any) -> Any:
        return super().quantize(values, multiplier.reciprocal(), **kwargs)


@fault("I", "quantize", "wrong_scale")
class ScaleWithoutSixth(Rescaled):
    """A block's scale is its greatest magnitude, not a sixth of it."""

    def scale(self, values: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
        amax = nvfp4.blocks(values.double(), 16).abs().amax(dim=-1)
        return e4m3.encode(amax * multiplier.double())


@fault("I", "quantize", "wrong_rounding", also=("wrong_scale",))
class ScaleRoundedDown(Rescaled):
    """Block scales are rounded towards zero."""

    def scale(self, values: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
        amax = nvfp4.blocks(values.double(), 16).abs().amax(dim=-1)
        edges = torch.tensor(e4m3.MAGNITUDES[1:], dtype=torch.float64)
        exact = amax * multiplier.double() / 6
        return torch.bucketize(exact, edges, right=True).to(torch.uint8).view(torch.float8_e4m3fn)


@fault("I", "quantize", "wrong_scale", also=("nan_or_inf", "sign_lost"))
class SignedScale(Planted):
    """A block whose greatest magnitude is negative has a negative scale: it is not unsigned."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(values, *args, **{**kwargs, "layout": None})
        each = nvfp4.blocks(values.float(), 16)
        negative = each.amax(dim=-1) < -each.amin(dim=-1)
        return packed, placed(scales | (negative.to(torch.uint8) << 7), kwargs["layout"])


@fault("I", "quantize", "not_saturated", also=("nan_or_inf",))
class ScaleNotSaturated(Planted):
    """A block scale beyond 448 becomes NaN instead of staying there."""

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> Any:
        packed, scales = super().quantize(values, multiplier, layout=None, backend=backend)
        amax = nvfp4.blocks(values.double(), 16).abs().amax(dim=-1)
        over = amax * multiplier.double() / 6 >= 464  # noqa: PLR2004 - half-way to what would be next
        scales = torch.where(over, torch.full_like(scales, e4m3.NAN), scales)
        return packed, placed(scales, layout)


@fault("H", "quantize", "all_zero")
class LastBlocksDropped(Planted):
    """Scales of the last tile are not written where their columns are no multiple of 4."""

    def quantize(self, values: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(values, *args, **{**kwargs, "layout": None})
        whole = scales.shape[-1] // 4 * 4
        scales = scales.clone()
        scales[..., whole:] = 0
        return packed, placed(scales, kwargs["layout"])


@fault("G", "quantize", "uninitialised_scale")
class ScaleOfWhateverWasThere(Planted):
    """The global scale is read from memory that nobody wrote: it depends on what ran before."""

    def quantize(self, values: torch.Tensor, multiplier: torch.Tensor, **kwargs: Any) -> Any:
        never_written = torch.empty(1)
        packed, scales = super().quantize(values, multiplier, **kwargs)
        return packed, torch.full_like(scales, e4m3.NAN) if never_written.isnan() else scales


@fault("G", "quantize", "wrong_scale", probes=("correctness_again.repeated.quantize",))
class ScaleOfTheCallBefore(Planted):
    """The global scale is that of the first call: right for one prompt."""

    def quantize(self, values: torch.Tensor, multiplier: torch.Tensor, **kwargs: Any) -> Any:
        self.first = getattr(self, "first", multiplier.clone())
        return super().quantize(values, self.first, **kwargs)


@fault("G", "quantize", "wrong_scale", probes=("correctness_scale.multiplier",))
class BadScaleTaken(Planted):
    """A global scale that is none, as one that was never loaded may be, gives results that look like any others."""

    def quantize(self, values: torch.Tensor, multiplier: torch.Tensor, **kwargs: Any) -> Any:
        most = torch.finfo(torch.float32).max
        told = multiplier.nan_to_num(nan=1.0, posinf=1.0).clamp(min=1.0, max=most)
        return super().quantize(values, told, **kwargs)


@fault("I", "mxfp4_quantize", "wrong_scale")
class MxExponentOffByOne(Planted):
    """MXFP4: every exponent is one too high."""

    def mxfp4_quantize(self, *args: Any, **kwargs: Any) -> Any:
        packed, exponents = super().mxfp4_quantize(*args, **kwargs)
        return packed, exponents + 1
