"""Rooflines: what a shape costs at least, and which of two roofs it is under."""

from __future__ import annotations

from typing import Any

import pytest

from probes.speed import roofline

RATES = {"fp4_tflops": 2000, "memory_gb_s": 1792}


def test_decoding_is_bound_by_memory() -> None:
    cost = roofline.gemm(1, 28672, 4096)

    assert cost.moved == pytest.approx(28673 * 4096 * 9 / 16 + 2 * 28672)
    assert cost.bound(RATES) == pytest.approx(cost.moved / 1.792e12)


def test_prefill_is_bound_by_computing() -> None:
    cost = roofline.gemm(4096, 28672, 4096)

    assert cost.flops == 2 * 4096 * 28672 * 4096
    assert cost.bound(RATES) == pytest.approx(cost.flops / 2e15)


def test_a_quantizer_needs_the_memory_alone() -> None:
    cost = roofline.quantize(64, 4096)

    assert cost.moved == 64 * 4096 * (2 + 9 / 16)
    assert cost.bound({"fp4_tflops": None, "memory_gb_s": 273}) == cost.moved / 273e9


def test_experts_without_a_token_are_not_read() -> None:
    few, many = (roofline.moe(1, 8, experts, 2048, 768) for experts in (8, 128))

    assert few.flops == many.flops == 2 * 8 * 3 * 2048 * 768
    assert many.moved - few.moved == 120 * 3 * 2048 * 768 * 9 / 16


@pytest.mark.parametrize(
    "rates",
    [{}, {"fp4_tflops": 2000}, {"memory_gb_s": 273}, {"fp4_tflops": None, "memory_gb_s": 4800}],
)
def test_half_a_roof_is_none(rates: dict[str, Any]) -> None:
    assert roofline.gemm(1, 64, 64).bound(rates) is None
