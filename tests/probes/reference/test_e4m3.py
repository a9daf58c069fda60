"""E4M3: all 256 bytes, all boundaries, and torch's own conversion beside them."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.reference import e4m3

pytestmark = pytest.mark.torch

BYTES = torch.arange(256).to(torch.uint8)
POSITIVE = torch.tensor(e4m3.MAGNITUDES, dtype=torch.float64)


def bits(scales: torch.Tensor) -> list[int]:
    return [int(each) for each in scales.view(torch.uint8).tolist()]


def test_all_256_bytes_mean_what_torch_says_they_mean() -> None:
    ours, theirs = e4m3.decode(BYTES), BYTES.view(torch.float8_e4m3fn).to(torch.float32)

    assert torch.equal(ours.nan_to_num(nan=1e9), theirs.nan_to_num(nan=1e9))
    assert torch.equal(torch.signbit(ours[:127]), torch.signbit(theirs[:127]))
    assert ours.isnan().nonzero().flatten().tolist() == [0x7F, 0xFF]


def test_the_landmarks_of_the_specification() -> None:
    marks = {0x00: 0.0, 0x01: 2**-9, 0x07: 7 * 2**-9, 0x08: 2**-6, 0x38: 1.0, 0x7E: 448.0}

    assert {byte: e4m3.decode(BYTES)[byte].item() for byte in marks} == marks
    assert math.copysign(1, e4m3.decode(BYTES)[0x80].item()) == -1


def test_every_value_encodes_to_its_own_byte() -> None:
    assert bits(e4m3.encode(POSITIVE)) == list(range(127))


def test_every_tie_goes_to_the_even_byte_and_its_neighbours_do_not() -> None:
    middle = (POSITIVE[:-1] + POSITIVE[1:]) / 2
    above = torch.nextafter(middle, torch.tensor(math.inf, dtype=torch.float64))
    below = torch.nextafter(middle, torch.tensor(0.0, dtype=torch.float64))

    assert bits(e4m3.encode(middle)) == [byte + byte % 2 for byte in range(126)]
    assert bits(e4m3.encode(above)) == list(range(1, 127))
    assert bits(e4m3.encode(below)) == list(range(126))


def test_what_is_beyond_448_saturates_and_what_is_tiny_becomes_zero() -> None:
    values = torch.tensor([448.1, 464.0, 1e30, math.inf, 2**-10, 2**-10 * 1.0001, 0.0])

    assert bits(e4m3.encode(values)) == [0x7E] * 4 + [0, 1, 0]


@pytest.mark.parametrize("value", [-1.0, -1e-30, math.nan])
def test_a_negative_number_and_nan_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"negative|NaN"):
        e4m3.encode(torch.tensor([1.0, value]))


@given(st.floats(min_value=0, max_value=500, width=32))
def test_rounding_is_to_nearest_by_exact_arithmetic(value: float) -> None:
    distance = [abs(Fraction(value) - Fraction(each)) for each in e4m3.MAGNITUDES]

    wanted = min(range(127), key=lambda byte: (distance[byte], byte % 2))

    assert bits(e4m3.encode(torch.tensor([value]))) == [wanted]


def test_torch_rounds_every_16_bit_pattern_as_the_table_does() -> None:
    halves = torch.arange(0x7C00, dtype=torch.int32).to(torch.int16).view(torch.float16)
    within = halves[halves <= 448]

    assert bits(e4m3.encode(within)) == bits(within.to(torch.float32).to(torch.float8_e4m3fn))
