from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from probes.reference import nvfp4
from probes.reference.layout import Layout, swizzle, unswizzle
from probes.subject import Operand
from probes.subjects import scales

pytestmark = pytest.mark.torch


def operand(*shape: int) -> Operand:
    *stack, rows, columns = shape
    generator = torch.Generator().manual_seed(1)
    return Operand(
        packed=torch.randint(0, 256, (*stack, rows, columns * 8), generator=generator).byte(),
        scales=torch.randint(0, 256, shape, generator=generator).byte(),
        multiplier=torch.ones(stack),
        layout=None,
    )


@pytest.mark.parametrize("layout", list(Layout))
def test_a_plane_is_the_padded_matrix_of_its_layout(layout: Layout) -> None:
    made = scales.plane(scales.swizzled(operand(3, 9, 6), layout, fill=0x7F))
    assert made.shape == (3, 128 if layout is Layout.ROWS_128 else 16, 8)
    flat = made.reshape(3, -1)
    assert torch.equal(unswizzle(flat, rows=9, columns=6, layout=layout), operand(3, 9, 6).scales)


def test_a_plane_has_as_many_dimensions_as_its_codes() -> None:
    assert scales.plane(scales.swizzled(operand(9, 6), Layout.ROWS_128)).shape == (128, 8)


def test_a_plane_in_rows_is_left_as_it_is() -> None:
    assert torch.equal(scales.plane(operand(9, 6)), operand(9, 6).scales)


def test_groups_lie_one_after_the_other_each_padded_and_an_empty_one_takes_nothing() -> None:
    flat = operand(135, 5).scales
    made = scales.grouped(flat, [5, 0, 130])
    first, second = flat[:5], flat[5:]
    assert made.shape == (128 + 256, 8)
    assert torch.equal(made[:128].reshape(-1), swizzle(first, layout=Layout.ROWS_128))
    assert torch.equal(made[128:].reshape(-1), swizzle(second, layout=Layout.ROWS_128))


def test_starts_are_those_of_groups_that_are_padded_to_a_multiple() -> None:
    assert scales.starts([5, 0, 130]) == [0, 5, 5, 135]
    assert scales.starts([5, 0, 130], 128) == [0, 128, 128, 384]


def test_halves_change_places_with_their_scales_and_twice_is_nothing() -> None:
    given = operand(2, 8, 4)
    made = scales.halves_swapped(given)
    assert torch.equal(made.packed[:, :4], given.packed[:, 4:])
    assert torch.equal(made.scales[:, 4:], given.scales[:, :4])
    assert torch.equal(scales.halves_swapped(made).packed, given.packed)


def test_the_multiplier_of_a_stack_is_one_an_expert_and_that_of_a_matrix_has_no_dimension() -> None:
    values = torch.randn(3, 4, 32, generator=torch.Generator().manual_seed(2))
    stack = nvfp4.quantize(
        values, global_scale_multiplier=torch.tensor([1.0, 2.0, 4.0])[:, None, None]
    )
    assert scales.tensor_of(stack).multiplier.tolist() == [1.0, 2.0, 4.0]
    assert scales.tensor_of(nvfp4.quantize(values)).multiplier.shape == ()
