"""E2M1: the whole table, every tie, and packing."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.reference import e2m1

pytestmark = pytest.mark.torch


def test_the_sixteen_codes_have_the_values_of_the_specification() -> None:
    codes = torch.arange(16, dtype=torch.uint8)

    expected = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    assert e2m1.decode(codes).tolist() == [*expected, *(-each for each in expected)]
    assert math.copysign(1, e2m1.decode(codes)[8].item()) == -1


def test_the_values_follow_from_sign_exponent_and_mantissa() -> None:
    for code in range(16):
        exponent, mantissa = (code >> 1) & 3, code & 1
        magnitude = (2 + mantissa) * 2.0 ** (exponent - 2) if exponent else mantissa * 0.5
        value = e2m1.decode(torch.tensor([code], dtype=torch.uint8)).item()
        assert abs(value) == magnitude


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_every_value_encodes_to_its_own_code(dtype: torch.dtype) -> None:
    codes = torch.arange(16, dtype=torch.uint8)

    assert torch.equal(e2m1.encode(e2m1.decode(codes).to(dtype)), codes)


@pytest.mark.parametrize(
    ("tie", "code"),
    [(0.25, 0), (0.75, 2), (1.25, 2), (1.75, 4), (2.5, 4), (3.5, 6), (5.0, 6)],
)
def test_ties_go_to_the_even_code_and_their_neighbours_do_not(tie: float, code: int) -> None:
    above, below = math.nextafter(tie, 9), math.nextafter(tie, 0)
    upper = code if code % 2 == 0 and e2m1.MAGNITUDES[code] > tie else code + 1

    values = torch.tensor([tie, -tie, above, below], dtype=torch.float64)

    assert e2m1.encode(values).tolist() == [code, code | 8, upper, upper - 1]


def test_what_is_beyond_the_greatest_saturates() -> None:
    values = torch.tensor([6.0, 7.0, 3e38, math.inf, -6.1, -math.inf])

    assert e2m1.encode(values).tolist() == [7, 7, 7, 7, 15, 15]


def test_zeros_and_what_becomes_zero_keep_their_sign() -> None:
    values = torch.tensor([0.0, -0.0, 0.2, -0.2, 1e-45, -1e-45])

    assert e2m1.encode(values).tolist() == [0, 8, 0, 8, 0, 8]


def test_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="NaN"):
        e2m1.encode(torch.tensor([1.0, math.nan]))


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounding_is_to_nearest_by_exact_arithmetic(value: float) -> None:
    got = int(e2m1.encode(torch.tensor([value])).item())

    wanted = min(
        range(8),
        key=lambda code: (abs(Fraction(abs(value)) - Fraction(e2m1.MAGNITUDES[code])), code % 2),
    )
    assert got & 7 == wanted
    assert got >> 3 == (math.copysign(1, value) < 0)


def test_the_even_element_is_the_low_nibble() -> None:
    codes = torch.tensor([[0x1, 0x2, 0xF, 0x0]], dtype=torch.uint8)

    assert e2m1.pack(codes).tolist() == [[0x21, 0x0F]]


def test_every_byte_unpacks_to_the_codes_that_make_it() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(2, 8, 16)

    assert e2m1.unpack(every).shape == (2, 8, 32)
    assert torch.equal(e2m1.pack(e2m1.unpack(every)), every)


def test_an_odd_number_of_codes_is_refused() -> None:
    with pytest.raises(ValueError, match="7"):
        e2m1.pack(torch.zeros(2, 7, dtype=torch.uint8))


def test_distance_to_a_tie_is_relative_to_the_tie() -> None:
    values = torch.tensor([5.0, 2.5 * (1 + 2**-20), -0.75, 6.0, 0.0, math.inf])

    assert e2m1.GRID.tie_distance(values).tolist() == [
        0.0,
        pytest.approx(2**-20, rel=1e-6),
        0.0,
        pytest.approx(0.2),
        1.0,
        math.inf,
    ]
