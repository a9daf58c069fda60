"""The orders in which packages want rows and scales, against the index arithmetic of their kernels."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from probes.reference.layout import Layout, swizzle
from probes.subject import NotOfferedError, Operand
from probes.subjects import flashinfer_experts, flashinfer_products, vllm_cache

pytestmark = pytest.mark.torch


def numbers(*shape: int) -> Any:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(3)).byte()


@pytest.mark.parametrize("columns", [4, 8, 16])
def test_vllms_order_of_the_scales_of_values_is_undone(columns: int) -> None:
    want = numbers(2, 3, 16, columns)
    held = torch.zeros_like(want)
    group = columns // 4
    for place in range(16):
        for column in range(columns):
            row = place // 4 * 4 + column // group
            held[:, :, row, column % group * 4 + place % 4] = want[:, :, place, column]
    assert torch.equal(vllm_cache._in_rows(held), want)


def test_tiles_of_groups_lie_where_flashinfers_kernel_looks_for_them() -> None:
    counts, starts = [0, 5, 130, 16], [0, 0, 8, 140, 156]
    flat = numbers(151, 4)
    made = flashinfer_products._tiles(flat, counts, starts)
    rows = torch.split(flat, counts)
    for group, start in enumerate(starts[:-1]):
        first = (start + group * 127) // 128 * 128
        want = swizzle(rows[group], layout=Layout.ROWS_128) if counts[group] else flat[:0]
        got = made[first:].reshape(-1)[: want.numel()]
        assert torch.equal(got, want.reshape(-1))


def test_rows_go_by_turns_of_sixty_four_from_each_half() -> None:
    rows = torch.arange(256).reshape(1, 256, 1)
    given = Operand(packed=rows, scales=rows.clone(), multiplier=torch.ones(1), layout=None)
    made = flashinfer_experts._by_turns(given)
    turns = [*range(64), *range(128, 192), *range(64, 128), *range(192, 256)]
    assert made.packed.flatten().tolist() == turns
    assert made.scales.flatten().tolist() == turns


def test_rows_that_make_no_whole_turns_are_not_offered() -> None:
    rows = torch.zeros(1, 96, 1)
    given = Operand(packed=rows, scales=rows, multiplier=torch.ones(1), layout=None)
    with pytest.raises(NotOfferedError, match="turns of 64"):
        flashinfer_experts._by_turns(given)
