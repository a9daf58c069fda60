"""Suspects for a wrong product: what it would be if one thing that is known to go wrong had gone wrong.

Each yields a reason, a sentence and the product, made only when it is asked for. `probes.correctness.judge.product` names the first that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

import torch

from probes.correctness.judge import Suspect
from probes.reference import e2m1, nvfp4, product
from probes.reference.layout import Layout, padded, swizzle, unswizzle
from probes.reference.nvfp4 import Nvfp4

Change = tuple[str, str, Callable[[Nvfp4], Nvfp4]]


def gemm(a: Nvfp4, b: Nvfp4, alpha: torch.Tensor) -> Iterator[Suspect]:
    """Yield the suspects of alpha * A @ B.T, of operands (M, K) and (N, K)."""
    right = product.gemm(a, b, alpha=alpha)
    yield from factors(right, a, b, alpha)
    for reason, told, change in CHANGES:
        # Swapped in A gives what swapped in B does, and in both what is right: the pairs of a block share their scales.
        pairs = told == SWAPPED
        yield (
            reason,
            f"{told} of {'A or B' if pairs else 'A'}",
            product.gemm(change(a), b, alpha=alpha),
        )
        if not pairs:
            yield reason, f"{told} of B", product.gemm(a, change(b), alpha=alpha)
            yield reason, f"{told} of A and B", product.gemm(change(a), change(b), alpha=alpha)
    if right.shape[0] == right.shape[1]:
        yield "wrong_numbers", "the product is transposed", right.t()
    yield from moved(right)
    for columns in (nvfp4.BLOCK, 2 * nvfp4.BLOCK, 4 * nvfp4.BLOCK):
        if a.packed.shape[-1] * 2 > columns:
            told = f"the last {columns} of K are left out"
            yield (
                "wrong_numbers",
                told,
                product.gemm(_shorter(a, columns), _shorter(b, columns), alpha=alpha),
            )


def factors(right: torch.Tensor, a: Nvfp4, b: Nvfp4, alpha: torch.Tensor) -> Iterator[Suspect]:
    """Yield the right product times what a wrong alpha makes of it."""
    one = float(alpha.double())
    left, other = (float(each.global_scale_multiplier.double()) for each in (a, b))
    for told, factor in (
        ("alpha is inverted", 1 / (one * one)),
        ("alpha is left out", 1 / one),
        ("alpha is applied twice", one),
        ("alpha lacks the multiplier of A", left),
        ("alpha lacks the multiplier of B", other),
        ("the multiplier of A is inverted in alpha", left * left),
        ("the multiplier of B is inverted in alpha", other * other),
        ("the product is divided by 6", 1 / 6),
        ("the product is six times as large", 6.0),
        ("the product is twice as large", 2.0),
        ("the product is half as large", 0.5),
    ):
        yield "wrong_scale", told, right * factor


def moved(right: torch.Tensor) -> Iterator[Suspect]:
    """Yield a right result (M, N) with its rows or columns elsewhere."""
    for told, made in (
        ("each row is the one before it", right.roll(1, 0)),
        ("each row is the one after it", right.roll(-1, 0)),
        ("rows are in the reverse order", right.flip(0)),
        ("each column is the one before it", right.roll(1, -1)),
        ("each column is the one after it", right.roll(-1, -1)),
        ("columns are in the reverse order", right.flip(-1)),
        ("the halves of the columns are swapped", right.roll(right.shape[-1] // 2, -1)),
    ):
        yield "wrong_numbers", told, made


def _codes(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Nvfp4], Nvfp4]:
    return lambda one: replace(one, packed=e2m1.pack(change(e2m1.unpack(one.packed))))


def _scales(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Nvfp4], Nvfp4]:
    """Change the bytes of scales, in rows."""

    def changed(one: Nvfp4) -> Nvfp4:
        made = change(one.scales.view(torch.uint8))
        return replace(one, scales=made.contiguous().view(torch.float8_e4m3fn))

    return changed


def _in_pairs(codes: torch.Tensor) -> torch.Tensor:
    return codes.reshape(*codes.shape[:-1], -1, 2).flip(-1).flatten(-2)


def _halves(codes: torch.Tensor) -> torch.Tensor:
    k = codes.shape[-1]
    return torch.stack((codes[..., : k // 2], codes[..., k // 2 :]), dim=-1).flatten(-2)


def _as_rows(layout: Layout) -> Callable[[torch.Tensor], torch.Tensor]:
    """Read swizzled bytes as though they lay in rows."""

    def read(scales: torch.Tensor) -> torch.Tensor:
        flat = swizzle(scales, layout=layout)
        size = scales.shape[-2] * scales.shape[-1]
        return flat[..., :size].reshape(scales.shape)

    return read


def _as_swizzled(
    layout: Layout, wrote: Layout | None = None
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Read bytes that lie in rows (or in the layout `wrote`) as though they lay in `layout`."""

    def read(scales: torch.Tensor) -> torch.Tensor:
        rows, columns = scales.shape[-2:]
        high, wide = padded(rows, columns, layout=layout)
        flat = scales.flatten(-2) if wrote is None else swizzle(scales, layout=wrote)
        short = max(0, high * wide - flat.shape[-1])
        whole = torch.nn.functional.pad(flat, (0, short))[..., : high * wide]
        return unswizzle(whole.contiguous(), rows=rows, columns=columns, layout=layout)

    return read


def _turned(scales: torch.Tensor) -> torch.Tensor:
    """Read scales as though they lay column by column."""
    return (
        scales.flatten(-2)
        .reshape(*scales.shape[:-2], scales.shape[-1], scales.shape[-2])
        .transpose(-2, -1)
    )


def _ones(scales: torch.Tensor) -> torch.Tensor:
    return torch.full_like(scales, 0x38)


SWAPPED: Final = "the two codes of a byte are swapped"

CHANGES: Final[tuple[Change, ...]] = (
    ("wrong_packing", SWAPPED, _codes(_in_pairs)),
    ("wrong_packing", "bytes are read as holding a code of each half", _codes(_halves)),
    ("sign_lost", "signs are lost", _codes(lambda codes: codes & 7)),
    ("sign_lost", "signs are inverted", _codes(lambda codes: codes ^ e2m1.SIGN)),
    ("wrong_scale_layout", "scales in 128x4 are read as rows", _scales(_as_rows(Layout.ROWS_128))),
    ("wrong_scale_layout", "scales in 8x4 are read as rows", _scales(_as_rows(Layout.ROWS_8))),
    ("wrong_scale_layout", "scales in rows are read as 128x4", _scales(_as_swizzled(Layout.ROWS_128))),
    ("wrong_scale_layout", "scales in rows are read as 8x4", _scales(_as_swizzled(Layout.ROWS_8))),
    ("wrong_scale_layout", "scales in 128x4 are read as 8x4", _scales(_as_swizzled(Layout.ROWS_8, Layout.ROWS_128))),
    ("wrong_scale_layout", "scales in 8x4 are read as 128x4", _scales(_as_swizzled(Layout.ROWS_128, Layout.ROWS_8))),
    ("wrong_scale_layout", "scales are read column by column", _scales(_turned)),
    ("wrong_scale", "scales are not applied", _scales(_ones)),
    ("wrong_scale", "scales are read as powers of two", _scales(lambda scales: scales & 0x78)),
    ("wrong_numbers", "each block has the scale of the one before it", _scales(lambda scales: scales.roll(1, -1))),
    ("wrong_numbers", "each block has the scale of the one after it", _scales(lambda scales: scales.roll(-1, -1))),
    ("wrong_numbers", "each row has the scales of the one before it", _scales(lambda scales: scales.roll(1, -2))),
    ("wrong_numbers", "each row has the scales of the one after it", _scales(lambda scales: scales.roll(-1, -2))),
)  # fmt: skip


def _shorter(one: Nvfp4, columns: int) -> Nvfp4:
    return replace(
        one,
        packed=one.packed[..., : -columns // 2],
        scales=one.scales[..., : -columns // nvfp4.BLOCK],
    )
