"""Each way of quantizing wrongly has its reason; the right one has none, nor has what approximate arithmetic may do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.correctness import inputs, quantized
from probes.reference import e2m1, e4m3, nvfp4
from probes.reference.layout import Layout, swizzle

pytestmark = pytest.mark.torch

VALUES = inputs.normal(40, 128, seed=3, dtype=torch.bfloat16)
M = nvfp4.multiplier_of(VALUES)
RIGHT = nvfp4.quantize(VALUES, global_scale_multiplier=M)
CODES = e2m1.unpack(RIGHT.packed)
SCALES = RIGHT.scales.view(torch.uint8)
REAL = nvfp4.blocks(VALUES.double(), 16).abs().amax(-1) * M.double() / 6


def told(
    *,
    codes: torch.Tensor | None = None,
    scales: torch.Tensor | None = None,
    values: torch.Tensor = VALUES,
    multiplier: torch.Tensor = M,
    layout: Layout | None = None,
    poisoned: bool = False,
) -> tuple[str, str]:
    packed = RIGHT.packed if codes is None else e2m1.pack(codes)
    made = SCALES if scales is None else scales
    fault, _ = quantized.judge(values, multiplier, packed, made, layout=layout, poisoned=poisoned)
    return ("", "") if fault is None else (fault.reason, fault.text)


def under(scales: torch.Tensor) -> torch.Tensor:
    """Return right codes under other scales, as a kernel that only gets scales wrong makes them."""
    return nvfp4.codes(VALUES, scales.view(torch.float8_e4m3fn), global_scale_multiplier=M)


def encoded(scales: torch.Tensor) -> torch.Tensor:
    return e4m3.encode(scales).view(torch.uint8)


def test_the_reference_itself_is_right_in_every_layout() -> None:
    assert told() == ("", "")
    for layout in Layout:
        assert told(scales=swizzle(SCALES, layout=layout), layout=layout) == ("", "")


WRONG_CODES: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], str, str]] = {
    "nibbles": (lambda c: c.reshape(40, -1, 2).flip(-1).flatten(1), "wrong_packing", "swapped"),
    "halves": (lambda c: torch.stack((c[:, :64], c[:, 64:]), -1).flatten(1), "wrong_packing", "half"),
    "reverse": (lambda c: c.flip(-1), "wrong_packing", "reverse"),
    "no sign": (lambda c: c & 7, "sign_lost", "lost"),
    "other sign": (lambda c: c ^ 8, "sign_lost", "inverted"),
    "zeros": (torch.zeros_like, "all_zero", "every"),
    "block": (lambda c: c.roll(16, -1), "wrong_numbers", "16 before"),
    "element": (lambda c: c.roll(-1, -1), "wrong_numbers", "1 after"),
    "row": (lambda c: c.roll(1, 0), "wrong_numbers", "row"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_CODES)
def test_wrong_codes_are_named(name: str) -> None:
    change, reason, words = WRONG_CODES[name]
    found = told(codes=change(CODES))
    assert found[0] == reason
    assert words in found[1]


def real() -> torch.Tensor:
    divisors = e4m3.decode(SCALES).double().repeat_interleave(16, -1)
    return VALUES.double() * M.double() / divisors


def rounded(step: int) -> torch.Tensor:
    """Return codes rounded toward zero (0) or away from it (1)."""
    steps = torch.tensor(e2m1.MAGNITUDES, dtype=torch.float64)
    low = torch.bucketize(real().abs(), steps, right=True) - 1
    high = torch.bucketize(real().abs(), steps).clamp(max=7)
    made = (high if step else low.clamp(min=0)).to(torch.uint8)
    return made | (torch.signbit(VALUES).to(torch.uint8) * 8)


def test_truncated_codes_are_a_wrong_rounding() -> None:
    assert told(codes=rounded(0))[0] == "wrong_rounding"
    assert "away" in told(codes=rounded(1))[1]


def test_codes_of_either_neighbour_are_a_wrong_rounding() -> None:
    choice = torch.rand(CODES.shape, generator=inputs.generator(1)) < 0.5
    assert told(codes=torch.where(choice, rounded(0), rounded(1)))[0] == "wrong_rounding"


def test_codes_under_the_scale_before_its_rounding_are_a_wrong_scale() -> None:
    own = (
        VALUES.double()
        * 6
        / nvfp4.blocks(VALUES.double(), 16).abs().amax(-1).repeat_interleave(16, -1)
    )
    assert told(codes=e2m1.encode(own))[0] == "wrong_scale"


def test_rows_that_were_not_written_are_said_to_be_zero_and_where() -> None:
    codes = CODES.clone()
    codes[33:] = 0
    found = told(codes=codes)
    assert found[0] == "all_zero"
    assert "rows 33 to 39 of 40, the tail" in found[1]


def test_a_fault_of_the_last_rows_only_is_named_as_one_of_all() -> None:
    codes = CODES.clone()
    codes[32:] = codes[32:].reshape(8, -1, 2).flip(-1).flatten(1)
    found = told(codes=codes)
    assert found[0] == "wrong_packing"
    assert "the tail" in found[1]


def test_a_zero_of_the_other_sign_is_the_same_number() -> None:
    zeros = (CODES & 7) == 0
    assert bool(zeros.any())
    assert told(codes=torch.where(zeros, CODES ^ 8, CODES)) == ("", "")


WRONG_SCALES: dict[str, tuple[Callable[[], torch.Tensor], str, str]] = {
    "inverse": (lambda: encoded(REAL / float(M) ** 2), "wrong_scale", "inverse"),
    "no global": (lambda: encoded(REAL / float(M)), "wrong_scale", "left out"),
    "no sixth": (lambda: encoded((REAL * 6).clamp(max=448)), "wrong_scale", "1/6"),
    "block": (lambda: SCALES.roll(1, -1), "wrong_numbers", "before"),
    "row": (lambda: SCALES.roll(-1, 0), "wrong_numbers", "after"),
    "zeros": (lambda: torch.zeros_like(SCALES), "all_zero", "every"),
    "powers": (lambda: encoded(torch.exp2(REAL.log2().ceil())), "wrong_scale", "powers of two"),
    "wide": (lambda: encoded(REAL.reshape(40, 4, 2).amax(-1).repeat_interleave(2, 1)), "wrong_scale", "32"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SCALES)
def test_wrong_scales_are_named(name: str) -> None:
    change, reason, words = WRONG_SCALES[name]
    found = told(codes=under(change()), scales=change())
    assert found[0] == reason
    assert words in found[1]


@pytest.mark.parametrize("step", [-1, 1])
def test_scales_that_are_truncated_or_rounded_up_are_a_wrong_rounding(step: int) -> None:
    nearest = e4m3.decode(SCALES).double()
    moved = (nearest > REAL) if step < 0 else (nearest < REAL) & (REAL < e4m3.MAX)
    scales = SCALES + (moved * step).to(torch.int8).view(torch.uint8)
    found = told(codes=under(scales), scales=scales)
    assert found[0] == "wrong_rounding"
    assert ("truncated" if step < 0 else "up") in found[1]


@pytest.mark.parametrize("made", [Layout.ROWS_8, None])
def test_another_layout_of_the_scales_is_named(made: Layout | None) -> None:
    flat = SCALES.flatten() if made is None else swizzle(SCALES, layout=made)
    room = torch.zeros(128 * 8, dtype=torch.uint8)
    room[: len(flat)] = flat
    found = told(scales=room, layout=Layout.ROWS_128)
    assert found[0] == "wrong_scale_layout"
    assert ("rows" if made is None else "8x4") in found[1]


def test_swizzled_scales_where_rows_were_asked_for_are_named() -> None:
    assert told(scales=swizzle(SCALES, layout=Layout.ROWS_128))[0] == "wrong_scale_layout"
    assert told(scales=swizzle(SCALES, layout=Layout.ROWS_8))[0] == "wrong_scale_layout"
    assert told(scales=SCALES.t().contiguous().reshape(40, 8))[0] == "wrong_scale_layout"


def test_what_lies_beyond_the_greatest_scale_has_to_be_that() -> None:
    values, multiplier = inputs.values("saturating", 40, 128, seed=3, dtype=torch.bfloat16)
    right = nvfp4.quantize(values, global_scale_multiplier=multiplier)
    scales = right.scales.view(torch.uint8)
    over = nvfp4.blocks(values.double(), 16).abs().amax(-1) * multiplier.double() / 6 > 464
    assert bool(over.any())
    lost = torch.where(over, torch.tensor(0x7F, dtype=torch.uint8), scales)
    fault, _ = quantized.judge(values, multiplier, right.packed, lost, layout=None)
    assert fault is not None
    assert fault.reason == "not_saturated"
    codes = e2m1.unpack(right.packed)
    beyond = values.double().abs() * multiplier.double() > 6.5 * e4m3.decode(
        scales
    ).double().repeat_interleave(16, -1)
    wrapped = e2m1.pack(torch.where(beyond, codes & 8, codes))
    fault, _ = quantized.judge(values, multiplier, wrapped, scales, layout=None)
    assert fault is not None
    assert fault.reason == "not_saturated"


def test_a_scale_that_is_nan_is_told_and_where() -> None:
    scales = SCALES.clone()
    scales[7, 3] = 0x7F
    found = told(scales=scales)
    assert found[0] == "nan_or_inf"
    assert "row 7" in found[1]
    assert told(scales=scales, poisoned=True)[0] == "uninitialised_scale"


def test_poison_in_padded_columns_is_a_fault_and_in_padded_rows_none() -> None:
    values = VALUES[:, :80]
    right = nvfp4.quantize(values, global_scale_multiplier=M)
    whole = torch.full((128, 8), 0xFF, dtype=torch.uint8)
    whole[:40, :5] = right.scales.view(torch.uint8)

    def judged() -> tuple[str, float]:
        flat = swizzle(whole, layout=Layout.ROWS_128)
        fault, figures = quantized.judge(
            values, M, right.packed, flat, layout=Layout.ROWS_128, poisoned=True
        )
        return fault.reason if fault else "", figures["padding_rows_unwritten"][0]

    assert judged() == ("uninitialised_scale", 88.0 * 8)
    whole[:40, 5:] = 0
    assert judged() == ("", 88.0 * 8)


TIES, ONE = inputs.values("ties", 16, 128, seed=5, dtype=torch.bfloat16)


@pytest.mark.parametrize("way", ["even", "away", "zero", "up", "down"])
def test_ties_that_all_go_another_way_than_to_even_are_a_wrong_rounding(way: str) -> None:
    right = nvfp4.quantize(TIES, global_scale_multiplier=ONE)
    numbers = TIES.double() / e4m3.decode(right.scales).double().repeat_interleave(16, -1)
    ways = {"even": 0 * numbers, "away": numbers.sign(), "zero": -numbers.sign()}
    push = ways.get(way, torch.full_like(numbers, 1.0 if way == "up" else -1.0))
    packed = e2m1.pack(e2m1.encode(numbers + 1e-9 * push))
    fault, figures = quantized.judge(TIES, ONE, packed, right.scales, layout=None)
    if way == "even":
        assert fault is None
        return
    assert fault is not None
    assert fault.reason == "wrong_rounding"
    assert way in fault.text
    assert figures["codes_wrong"][0] == 0


def test_ties_that_an_approximate_reciprocal_turns_are_counted_and_no_fault() -> None:
    right = nvfp4.quantize(TIES, global_scale_multiplier=ONE)
    scales = e4m3.decode(right.scales).repeat_interleave(16, -1)
    # Half an ulp off for every mantissa but that of powers of two, as rcp.approx may be.
    reciprocal = torch.nextafter(
        1 / scales, torch.where(scales.log2() % 1 == 0, 1 / scales, torch.tensor(1e9))
    )
    packed = e2m1.pack(e2m1.encode(TIES.float() * reciprocal))
    fault, figures = quantized.judge(TIES, ONE, packed, right.scales, layout=None)
    assert fault is None
    assert figures["codes_at_ties"][0] > 0


def test_a_scale_at_a_tie_may_go_either_way_and_its_codes_are_judged_under_it() -> None:
    # 448 / 416 * 16.5 lies between two scales.
    values = torch.full((1, 32), 6.0 * 17, dtype=torch.bfloat16)
    values[0, 16:] = 6 * 32
    one = torch.ones(())
    right = nvfp4.quantize(values, global_scale_multiplier=one)
    other = right.scales.view(torch.uint8).clone()
    other[0, 0] = int(other[0, 0]) + (1 if float(e4m3.decode(other)[0, 0]) < 17 else -1)
    codes = nvfp4.codes(values, other.view(torch.float8_e4m3fn), global_scale_multiplier=one)
    fault, figures = quantized.judge(values, one, e2m1.pack(codes), other, layout=None)
    assert fault is None
    assert figures["scales_at_ties"][0] == 1


def test_another_shape_is_told() -> None:
    fault, _ = quantized.judge(VALUES, M, RIGHT.packed[:-1], SCALES, layout=None)
    assert fault is not None
    assert fault.reason == "wrong_packing"
    assert told(scales=SCALES[:-1])[0] == "wrong_scale_layout"
