"""Scale layouts: byte by byte against the formula, both ways, padded and poisoned."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.reference import layout
from probes.reference.layout import Layout

pytestmark = pytest.mark.torch


def place(row: int, column: int, columns: int, which: Layout) -> int:
    tiles = -(-columns // 4)
    if which is Layout.ROWS_128:
        within = (row % 32) * 16 + (row % 128 // 32) * 4 + column % 4
        return (row // 128 * tiles + column // 4) * 512 + within
    return (row // 8 * tiles + column // 4) * 32 + row % 8 * 4 + column % 4


def numbered(*shape: int) -> torch.Tensor:
    """Return bytes from 1 to 251, so that neighbours differ and none is the padding."""
    count = int(torch.tensor(shape).prod())
    return (torch.arange(count) % 251 + 1).to(torch.uint8).reshape(shape)


@given(st.integers(1, 300), st.integers(1, 13), st.sampled_from(Layout))
def test_every_scale_is_where_the_formula_says(rows: int, columns: int, which: Layout) -> None:
    scales = numbered(rows, columns)

    swizzled = layout.swizzle(scales, layout=which, fill=0xFF)

    expected = torch.full_like(swizzled, 0xFF)
    for row in range(rows):
        for column in range(columns):
            expected[place(row, column, columns, which)] = scales[row, column]
    assert torch.equal(swizzled, expected)
    high, wide = layout.padded(rows, columns, layout=which)
    assert swizzled.shape == (high * wide,)


@given(st.integers(0, 300), st.integers(1, 13), st.sampled_from(Layout))
def test_the_way_back_drops_the_padding(rows: int, columns: int, which: Layout) -> None:
    scales = numbered(rows, columns)

    swizzled = layout.swizzle(scales, layout=which, fill=0x7F)

    back = layout.unswizzle(swizzled, rows=rows, columns=columns, layout=which)
    assert torch.equal(back, scales)


@pytest.mark.parametrize("which", Layout)
def test_each_expert_is_padded_by_itself(which: Layout) -> None:
    scales = numbered(3, 130, 6)

    swizzled = layout.swizzle(scales, layout=which)

    alone = torch.stack([layout.swizzle(each, layout=which) for each in scales])
    assert torch.equal(swizzled, alone)
    assert torch.equal(layout.unswizzle(swizzled, rows=130, columns=6, layout=which), scales)


@pytest.mark.parametrize("which", Layout)
def test_the_dtype_of_the_scales_stays(which: Layout) -> None:
    scales = numbered(16, 4).view(torch.float8_e4m3fn)

    swizzled = layout.swizzle(scales, layout=which)

    assert swizzled.dtype == torch.float8_e4m3fn
    back = layout.unswizzle(swizzled, rows=16, columns=4, layout=which)
    assert torch.equal(back.view(torch.uint8), scales.view(torch.uint8))


def test_padding_can_be_poisoned() -> None:
    swizzled = layout.swizzle(
        torch.ones(1, 1).to(torch.float8_e4m3fn), layout=Layout.ROWS_128, fill=0x7F
    )

    assert int(swizzled.float().isnan().sum()) == 511


def test_scales_of_more_than_a_byte_are_refused() -> None:
    with pytest.raises(ValueError, match="one byte"):
        layout.swizzle(torch.ones(8, 4), layout=Layout.ROWS_8)


def test_a_wrong_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="512"):
        layout.unswizzle(
            torch.zeros(500, dtype=torch.uint8), rows=100, columns=4, layout=Layout.ROWS_128
        )
