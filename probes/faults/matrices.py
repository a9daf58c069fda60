"""Faults in products: `gemm` and `mxfp4_gemm`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from probes.faults.fault import STEADY, Planted, fault
from probes.reference import e4m3
from probes.reference.layout import unswizzle
from probes.subject import Operand

ONE = 17
"""The number of rows at which the faults of one shape strike."""


class Multiplied(Planted):
    """A product to which `change` does something wrong."""

    def gemm(self, a: Operand, b: Any, *args: Any, **kwargs: Any) -> Any:
        return self.change(super().gemm(a, b, *args, **kwargs))

    def change(self, made: torch.Tensor) -> torch.Tensor:
        """Return the wrong product (M, N)."""
        raise NotImplementedError


@fault("I", "gemm", "all_zero", where=f"m={ONE}")
class ZerosAtOneShape(Multiplied):
    """Zeros for one number of rows, and right for its neighbours (as at M = 3072 on sm120)."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(made) if made.shape[0] == ONE else made


@fault("I", "gemm", "all_zero")
class ZeroRows(Multiplied):
    """The last row of every product is zero: the tail of a tile is not written."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        made[-1] = 0
        return made


@fault("I", "gemm", "nan_or_inf")
class NanInTheTail(Multiplied):
    """The last element is NaN."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        made[-1, -1] = torch.nan
        return made


@fault("I", "gemm", "nan_or_inf")
class Infinity(Multiplied):
    """One element overflowed."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        made[0, 0] = torch.inf
        return made


@fault("I", "gemm", "wrong_scale")
class ScaleThreePercentOff(Multiplied):
    """Every element is 3 % too great: a cosine of 1."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        return (made.float() * 1.03).to(made.dtype)


@fault("I", "gemm", "wrong_scale", where="dtype=float16")
class OnlyHalfPrecisionWrong(Multiplied):
    """float16 is half of what it has to be; bfloat16 is right."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        return made / 2 if made.dtype is torch.float16 else made


@fault("I", "gemm", "wrong_numbers")
class SumsThatStray(Multiplied):
    """Elements are off by 3 % each, at random: what a lossy sum gives."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(made.shape, generator=torch.Generator().manual_seed(1))
        return (made.float() * (1 + 0.03 * noise)).to(made.dtype)


@fault("I", "gemm", "wrong_numbers")
class OneElementWrong(Multiplied):
    """One element of many has the wrong sign."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        made.view(-1)[made.float().abs().argmax()] *= -1
        return made


@fault("I", "gemm", "wrong_numbers")
class ColumnsShifted(Multiplied):
    """Each output column holds its neighbour's."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        return made.roll(1, dims=-1)


@fault("I", "gemm", "nondeterministic")
class SumsThatChange(Multiplied):
    """A race: the same operands give another product the next time, each within bounds."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > STEADY:
            made.view(-1)[0] *= 1.0625
        return made


@fault("I", "gemm", "stale_output")
class StaleProduct(Multiplied):
    """A second product of the same shape gives back the first one."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        held: dict[Any, torch.Tensor] = self.__dict__.setdefault("held", {})
        return held.setdefault((made.shape, made.dtype), made).clone()


@fault("G", "gemm", "wrong_scale")
class AlphaIgnored(Planted):
    """The global scale is never applied."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        return super().gemm(a, b, torch.full_like(alpha, 1e-4), **kwargs)


@fault("G", "gemm", "nan_or_inf", also=("wrong_scale",))
class AlphaInverse(Planted):
    """The global scale is taken for its inverse."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        return super().gemm(a, b, alpha.reciprocal(), **kwargs)


@fault("G", "gemm", "stale_output", also=("nan_or_inf",))
class AlphaOfWhateverWasThere(Planted):
    """The global scale is read from memory that nobody wrote: it depends on what ran before."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        never_written = torch.empty(1)
        told = never_written[0] if never_written.isnan() else alpha
        return super().gemm(a, b, told, **kwargs)


@fault("I", "gemm", "wrong_scale", probes=("correctness_again.compiled.gemm",))
class WrongWhenCompiled(Multiplied):
    """Right when it is called, and half of that under torch.compile."""

    def change(self, made: torch.Tensor) -> torch.Tensor:
        return made / 2 if torch.compiler.is_compiling() else made


@fault("H", "gemm", "padding_read", also=("nan_or_inf",))
class PaddingRead(Planted):
    """Scales of the padding take part: a NaN among them reaches every product."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        made = super().gemm(a, b, alpha, **kwargs)
        read = e4m3.decode(a.scales).isnan().any() | e4m3.decode(b.scales).isnan().any()
        return made + torch.nan if bool(read) else made


@fault("H", "gemm", "wrong_numbers", also=("wrong_scale",))
class LastBlocksIgnored(Planted):
    """The end of K is left out where K is no multiple of 32."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        whole = a.packed.shape[-1] // 16 * 16
        packed = a.packed.clone()
        packed[..., whole:] = 0
        return super().gemm(replace(a, packed=packed), b, alpha, **kwargs)


@fault("I", "gemm", "wrong_scale_layout", also=("wrong_numbers", "all_zero"))
class SwizzledReadAsLinear(Planted):
    """Scales of A are read row by row, although they lie in tiles."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        rows, columns = a.packed.shape[-2], a.packed.shape[-1] // 8
        scales = a.scales[: rows * columns].reshape(rows, columns)
        return super().gemm(replace(a, scales=scales, layout=None), b, alpha, **kwargs)


@fault("I", "gemm", "wrong_packing", also=("wrong_numbers",))
class NibblesSwappedInOneOperand(Planted):
    """Nibbles of A are taken in the other order than those of B."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        packed = (a.packed << 4) | (a.packed >> 4)
        return super().gemm(replace(a, packed=packed), b, alpha, **kwargs)


@fault("I", "gemm", "wrong_numbers", also=("wrong_scale", "wrong_scale_layout", "nan_or_inf"))
class ScalesOfTheNextBlock(Planted):
    """Each block of A is multiplied by its neighbour's scale."""

    def gemm(self, a: Operand, b: Any, alpha: torch.Tensor, **kwargs: Any) -> Any:
        rows, columns = a.packed.shape[-2], a.packed.shape[-1] // 8
        told = a.scales
        if a.layout is not None:
            told = unswizzle(told, rows=rows, columns=columns, layout=a.layout)
        return super().gemm(
            replace(a, scales=told.roll(1, dims=-1), layout=None), b, alpha, **kwargs
        )


@fault("I", "mxfp4_gemm", "all_zero")
class MxZeros(Planted):
    """MXFP4: nothing is written."""

    def mxfp4_gemm(self, *args: Any, **kwargs: Any) -> Any:
        return torch.zeros_like(super().mxfp4_gemm(*args, **kwargs))
