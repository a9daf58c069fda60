"""NVFP4: against exact arithmetic, and what it does where implementations differ."""

from __future__ import annotations

import math
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.reference import e2m1, e4m3, nvfp4
from tests.probes.reference.inputs import CASES, zeros

pytestmark = pytest.mark.torch

ONE = torch.tensor(1.0)
FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def nearest(value: Fraction, magnitudes: tuple[float, ...]) -> int:
    return min(
        range(len(magnitudes)), key=lambda code: (abs(value - Fraction(magnitudes[code])), code % 2)
    )


@settings(max_examples=200)
@given(st.lists(FINITE, min_size=16, max_size=16), st.floats(2**-60, 2**60, width=32))
def test_scales_and_codes_are_the_rounding_of_real_numbers(
    values: list[float], multiplier: float
) -> None:
    got = nvfp4.quantize(torch.tensor([values]), global_scale_multiplier=torch.tensor(multiplier))

    amax = max(abs(each) for each in values)
    scale = nearest(Fraction(amax) * Fraction(multiplier) / 6, e4m3.MAGNITUDES)
    assert got.scales.view(torch.uint8).tolist() == [[scale]]
    for value, code in zip(values, e2m1.unpack(got.packed)[0].tolist(), strict=True):
        sign = 8 if math.copysign(1, value) < 0 else 0
        divisor = Fraction(e4m3.MAGNITUDES[scale])
        quotient = abs(Fraction(value)) * Fraction(multiplier) / divisor if scale else Fraction(0)
        assert code == nearest(quotient, e2m1.MAGNITUDES) | sign


@given(st.floats(2**-100, 2**127, width=32))
def test_the_multiplier_is_2688_over_amax_rounded_once(amax: float) -> None:
    got = nvfp4.multiplier_of(torch.tensor([[0.0, -amax]]))

    up, down = math.inf, 0.0
    wide = torch.tensor([up, down])
    neighbours = [Fraction(each) for each in torch.nextafter(got, wide).tolist() if each < up]
    exact = Fraction(2688) / Fraction(amax)
    assert got.shape == ()
    assert all(abs(exact - Fraction(got.item())) <= abs(exact - each) for each in neighbours)


def test_codes_and_scales_take_0_28_of_the_bytes_of_fp16() -> None:
    values = torch.ones(128, 4096, dtype=torch.float16)

    quantized = nvfp4.quantize(values)

    assert quantized.nbytes / values.nbytes == 72 / 256
    assert round(quantized.nbytes / values.nbytes, 2) == 0.28


@pytest.mark.parametrize("case", CASES)
def test_what_is_dequantized_quantizes_to_itself(case: str) -> None:
    once = nvfp4.quantize(CASES[case]())
    values = nvfp4.dequantize(once)

    codes = nvfp4.codes(values, once.scales, global_scale_multiplier=once.global_scale_multiplier)

    positive = (e4m3.decode(once.scales) > 0).repeat_interleave(16, dim=-1)
    assert torch.equal(codes[positive], e2m1.unpack(once.packed)[positive])


@pytest.mark.parametrize("case", sorted(set(CASES) - {"denormal"}))
def test_no_value_is_off_by_more_than_half_the_widest_step_and_the_rounding_of_its_scale(
    case: str,
) -> None:
    values = CASES[case]()
    quantized = nvfp4.quantize(values)

    amax = nvfp4.blocks(values.double(), 16).abs().amax(dim=-1, keepdim=True)
    step = e4m3.decode(quantized.scales).double() / quantized.global_scale_multiplier
    error = nvfp4.blocks((nvfp4.dequantize(quantized).double() - values).abs(), 16)
    # Between 4 and 6 lie 2 steps. A scale that was rounded down by 1/17 saturates 6 * 17/16 at 6; one in E4M3's
    # denormals is off by half of 2**-9 instead.
    limit = torch.maximum(step.unsqueeze(-1), amax / 17)
    floor = 6 * e4m3.SMALLEST / 2 / quantized.global_scale_multiplier
    assert bool((error <= torch.maximum(limit, floor) * (1 + 1e-6)).all())


def test_zeros_have_a_multiplier_of_1_scales_of_0_and_keep_their_signs() -> None:
    quantized = nvfp4.quantize(zeros())

    assert quantized.global_scale_multiplier.item() == 1
    assert not quantized.scales.view(torch.uint8).any()
    assert set(quantized.packed[0].flatten().tolist()) == {0x88}
    assert set(quantized.packed[1].flatten().tolist()) == {0x00}
    assert not nvfp4.dequantize(quantized).any()


def test_a_block_whose_scale_rounds_to_zero_is_all_zeros() -> None:
    values = torch.full((1, 32), 6.0)
    values[0, :16] = 6.0 * 2**-10

    quantized = nvfp4.quantize(values, global_scale_multiplier=ONE)

    assert quantized.scales.view(torch.uint8).tolist() == [[0x00, 0x38]]
    assert nvfp4.dequantize(quantized)[0, :16].tolist() == [0.0] * 16


def test_under_a_given_scale_of_zero_every_value_is_a_zero_with_its_sign() -> None:
    values = torch.tensor([[5.0, -5.0] * 8])
    scales = torch.zeros(1, 1).to(torch.float8_e4m3fn)

    codes = nvfp4.codes(values, scales, global_scale_multiplier=ONE)

    assert codes.tolist() == [[0, 8] * 8]


def test_a_multiplier_that_is_too_large_saturates_scales_and_then_codes() -> None:
    quantized = nvfp4.quantize(torch.full((1, 16), 100.0), global_scale_multiplier=ONE * 1000)

    assert quantized.scales.view(torch.uint8).item() == 0x7E
    assert set(quantized.packed.flatten().tolist()) == {0x77}


def test_a_multiplier_beyond_float32_is_its_greatest_value() -> None:
    assert nvfp4.multiplier_of(torch.full((1, 16), 1e-40)).item() == torch.finfo(torch.float32).max


def test_each_expert_has_its_own_multiplier() -> None:
    values = torch.randn(3, 8, 32, generator=torch.Generator().manual_seed(7))
    multipliers = torch.stack([nvfp4.multiplier_of(each) for each in values])

    stack = nvfp4.quantize(values, global_scale_multiplier=multipliers.reshape(3, 1, 1))

    for expert, matrix in enumerate(values):
        alone, chosen = nvfp4.quantize(matrix), nvfp4.select(stack, expert)
        assert torch.equal(alone.packed, chosen.packed)
        assert torch.equal(alone.scales.view(torch.uint8), chosen.scales.view(torch.uint8))
        assert torch.equal(nvfp4.dequantize(alone), nvfp4.dequantize(stack)[expert])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_16_bit_input_counts_as_the_numbers_that_it_holds(dtype: torch.dtype) -> None:
    values = torch.randn(4, 64, generator=torch.Generator().manual_seed(2)).to(dtype)

    short, wide = nvfp4.quantize(values), nvfp4.quantize(values.float())

    assert torch.equal(short.packed, wide.packed)
    assert torch.equal(short.global_scale_multiplier, wide.global_scale_multiplier)


@pytest.mark.parametrize(
    ("values", "multiplier", "told"),
    [
        (torch.ones(2, 24), ONE, "24"),
        (torch.full((1, 16), math.nan), ONE, "NaN"),
        (torch.full((1, 16), math.inf), ONE, "infinity"),
        (torch.ones(1, 16, dtype=torch.float64), ONE, "float64"),
        (torch.ones(1, 16), ONE * 0, "positive"),
        (torch.ones(1, 16), ONE * math.inf, "finite"),
        (torch.ones(1, 16), ONE.double(), "float32"),
    ],
)
def test_what_cannot_be_quantized_is_refused(
    values: torch.Tensor, multiplier: torch.Tensor, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        nvfp4.quantize(values, global_scale_multiplier=multiplier)


def test_a_poisoned_scale_shows() -> None:
    quantized = nvfp4.quantize(torch.ones(1, 32))
    quantized.scales.view(torch.uint8)[0, 1] = e4m3.NAN

    assert nvfp4.dequantize(quantized).isnan().tolist() == [[False] * 16 + [True] * 16]


def test_an_empty_group_of_tokens_stays_empty() -> None:
    quantized = nvfp4.quantize(torch.ones(0, 64), global_scale_multiplier=ONE)

    assert nvfp4.dequantize(quantized).shape == (0, 64)


def test_a_matrix_of_4096_x_4096_takes_seconds_at_most() -> None:
    values = torch.randn(4096, 4096, generator=torch.Generator().manual_seed(0))

    began = time.process_time()
    nvfp4.quantize(values)

    assert time.process_time() - began < 20
