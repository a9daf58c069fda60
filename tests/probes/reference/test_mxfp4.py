"""MXFP4: the three rules for a block's exponent, by exact arithmetic, and its codes."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.reference import e2m1, mxfp4
from probes.reference.mxfp4 import Rule
from tests.probes.reference.inputs import CASES

pytestmark = pytest.mark.torch

MAGNITUDES = st.floats(min_value=0, width=32, allow_nan=False, allow_infinity=False)


def exponent(amax: float, rule: Rule) -> int:
    block = torch.zeros(1, 32)
    block[0, 9] = -amax
    return int(mxfp4.block_exponents(block, rule=rule).item()) - 127


def power(exponent: int) -> Fraction:
    return Fraction(2) ** exponent


@given(MAGNITUDES)
def test_floor_is_the_exponent_of_amax_less_two(amax: float) -> None:
    got = exponent(amax, Rule.FLOOR)

    assert got == -127 or power(got + 2) <= Fraction(amax)
    assert Fraction(amax) < power(got + 3)


@given(MAGNITUDES)
def test_ceil_is_the_least_exponent_under_which_nothing_saturates(amax: float) -> None:
    got = exponent(amax, Rule.CEIL)

    assert Fraction(amax) <= 6 * power(got)
    assert got == -127 or Fraction(amax) > 6 * power(got - 1)


@given(MAGNITUDES)
def test_even_goes_up_where_amax_would_round_to_eight(amax: float) -> None:
    got = exponent(amax, Rule.EVEN)

    assert Fraction(amax) < 7 * power(got)
    assert got == -127 or Fraction(amax) >= 7 * power(got - 1)


@pytest.mark.parametrize(
    ("amax", "floor", "ceil", "even"),
    [
        (4.0, 0, 0, 0),
        (6.0, 0, 0, 0),
        (math.nextafter(6.0, 7.0) + 2**-20, 0, 1, 0),
        (7.0, 0, 1, 1),
        (8.0, 1, 1, 1),
        (1.0, -2, -2, -2),
        (0.0, -127, -127, -127),
        (1e-45, -127, -127, -127),
        (3.4028234663852886e38, 125, 126, 126),
    ],
)
def test_the_rules_side_by_side(amax: float, floor: int, ceil: int, even: int) -> None:
    got = [exponent(amax, rule) for rule in (Rule.FLOOR, Rule.CEIL, Rule.EVEN)]

    assert got == [floor, ceil, even]


@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("case", CASES)
def test_what_is_dequantized_is_the_nearest_of_its_block(case: str, rule: Rule) -> None:
    values = CASES[case]()
    quantized = mxfp4.quantize(values, rule=rule)

    back = mxfp4.dequantize(quantized).double()
    powers = torch.exp2(quantized.exponents.double() - 127).repeat_interleave(32, dim=-1)
    grid = torch.tensor(e2m1.MAGNITUDES, dtype=torch.float64)
    # Chunks of rows keep the table of distances small.
    for start in range(0, len(values), 64):
        rows = slice(start, start + 64)
        scaled = (values[rows].double() / powers[rows]).abs().unsqueeze(-1)
        best = (scaled - grid).abs().amin(dim=-1) * powers[rows]
        held = back[rows].isfinite()
        assert torch.equal((back[rows] - values[rows].double()).abs()[held], best[held])


def test_what_rounds_up_beyond_float32_is_infinite() -> None:
    values = torch.full((1, 32), torch.finfo(torch.float32).max)

    assert mxfp4.dequantize(mxfp4.quantize(values, rule=Rule.CEIL)).isinf().all()
    assert mxfp4.dequantize(mxfp4.quantize(values, rule=Rule.FLOOR)).isfinite().all()


def test_a_value_takes_four_and_a_quarter_bits() -> None:
    assert mxfp4.quantize(torch.ones(4, 256), rule=Rule.CEIL).nbytes * 8 / 1024 == 4.25


def test_the_byte_255_is_nan() -> None:
    quantized = mxfp4.quantize(torch.ones(1, 32), rule=Rule.CEIL)
    quantized.exponents.fill_(255)

    assert mxfp4.dequantize(quantized).isnan().all()


def test_blocks_are_of_32() -> None:
    with pytest.raises(ValueError, match="48"):
        mxfp4.quantize(torch.ones(1, 48), rule=Rule.CEIL)
