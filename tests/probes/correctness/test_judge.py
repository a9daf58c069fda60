"""Products: what is inside the bounds, and what each fault is called."""

from __future__ import annotations

import hashlib
import struct

import pytest

from probes.finding import refused

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.correctness import bounds, inputs, judge, multiplying, productfaults
from probes.reference import nvfp4, product

pytestmark = pytest.mark.torch

A = nvfp4.quantize(inputs.normal(40, 128, seed=1, dtype=torch.bfloat16))
B = multiplying.weights(48, 128, seed=2)
ALPHA = product.alpha(A, B)
WANT = product.gemm(A, B, alpha=ALPHA)


def told(got: torch.Tensor) -> tuple[str, str]:
    fault, _ = judge.product(got, WANT, suspects=productfaults.gemm(A, B, ALPHA))
    return ("", "") if fault is None else (fault.reason, fault.text)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_product_that_is_rounded_once_or_twice_is_right(dtype: torch.dtype) -> None:
    one = float(ALPHA)
    assert told(WANT.to(dtype)) == ("", "")
    assert told(((WANT / one).to(dtype).float() * one).to(dtype))[0] in ("", "nan_or_inf")


def test_operands_rounded_to_bfloat16_with_their_multiplier_are_right() -> None:
    left, right = (nvfp4.dequantize(each).to(torch.bfloat16).float() for each in (A, B))
    assert told((left @ right.T).to(torch.bfloat16)) == ("", "")


def test_one_element_that_is_wrong_is_found_and_where() -> None:
    got = WANT.to(torch.bfloat16)
    got[3, 5] += 1.0 * float(WANT[3].norm()) / 48**0.5
    reason, text = told(got)
    assert reason == "wrong_numbers"
    assert "in row 3 of 40" in text


@pytest.mark.parametrize(
    ("factor", "words"),
    [(1.02, "factor of 1.0"), (2.0, "twice"), (1 / 6, "divided by 6")],
)
def test_a_factor_is_a_wrong_scale(factor: float, words: str) -> None:
    reason, text = told((WANT * factor).to(torch.bfloat16))
    assert reason == "wrong_scale"
    assert words in text


def test_an_alpha_that_is_inverted_or_lacks_a_multiplier_is_named() -> None:
    one, left = float(ALPHA), float(A.global_scale_multiplier)
    assert told(WANT / one / one)[1] == "alpha is inverted"
    assert told(WANT * left)[1] == "alpha lacks the multiplier of A"
    assert told(WANT / one)[1] == "alpha is left out"


@pytest.mark.parametrize("index", range(len(productfaults.CHANGES)))
@pytest.mark.parametrize("side", ["A", "B"])
def test_an_operand_that_is_read_wrongly_is_named(index: int, side: str) -> None:
    reason, words, change = productfaults.CHANGES[index]
    left, right = (change(A), B) if side == "A" else (A, change(B))
    got = product.gemm(left, right, alpha=ALPHA).to(torch.bfloat16)
    found = told(got)
    assert found[0] == reason or (words, found[0]) == ("signs are inverted", "sign_lost")
    assert side in found[1] or reason == "sign_lost"


def test_one_element_is_found_in_a_row_so_long_that_it_hides_there() -> None:
    want = torch.randn(4, 4096, generator=inputs.generator(1))
    got = want.to(torch.bfloat16)
    assert judge.product(got, want)[0] is None
    got[2, 9] += 0.4
    fault, figures = judge.product(got, want)
    assert figures["relative_l2_worst_row"][0] < bounds.ROW * bounds.product(torch.bfloat16)
    assert fault is not None
    assert "row 2 of 4" in fault.text


def test_zeros_are_told_all_of_them_or_in_rows() -> None:
    assert told(torch.zeros_like(WANT)) == ("all_zero", "every element is zero")
    got = WANT.clone()
    got[7] = 0
    assert told(got) == ("all_zero", "1 rows are zero, the first is 7")


def test_nan_is_told_and_where() -> None:
    got = WANT.clone()
    got[32:] = torch.nan
    reason, text = told(got)
    assert reason == "nan_or_inf"
    assert "rows 32 to 39 of 40, the tail" in text


def test_rows_that_lie_elsewhere_and_a_tail_of_k_left_out_are_named() -> None:
    assert told(WANT.roll(1, 0))[1] == "each row is the one before it"
    short = product.gemm(*(productfaults._shorter(each, 32) for each in (A, B)), alpha=ALPHA)
    assert told(short)[1] == "the last 32 of K are left out"


def test_a_product_of_zeros_has_to_be_zero() -> None:
    zeros = torch.zeros(4, 8)
    assert judge.product(zeros, zeros)[0] is None
    fault, _ = judge.product(zeros + 1, zeros)
    assert fault is not None
    assert fault.reason == "wrong_numbers"


def test_another_shape_is_told() -> None:
    assert told(WANT[:-1])[0] == "wrong_numbers"


def test_a_bound_is_wider_by_what_the_type_rounds() -> None:
    assert bounds.product(torch.float16) < bounds.product(torch.bfloat16) < 0.01


@pytest.mark.parametrize(
    ("reason", "status"),
    [("wrong_numbers", "fail"), ("not_offered", "skip"), ("not_proven", "skip"),
     ("weight_only_fallback", "fallback"), ("harness_error", "error")],
)  # fmt: skip
def test_whose_fault_it_is_follows_from_the_reason(reason: str, status: str) -> None:
    assert refused(reason, "x").status == status


def test_a_digest_is_of_the_bytes_in_row_order_whatever_the_strides() -> None:
    numbers = torch.arange(6, dtype=torch.float32).reshape(2, 3).t()
    told = b"".join(struct.pack("<f", value) for row in numbers.tolist() for value in row)
    assert judge.sha256(numbers) == hashlib.sha256(told).hexdigest()
    assert judge.sha256(numbers, torch.empty(0)) == judge.sha256(numbers)
    assert judge.sha256(torch.tensor(1.0)) == hashlib.sha256(struct.pack("<f", 1.0)).hexdigest()
