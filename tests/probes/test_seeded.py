"""Seeded inputs: the same on every machine, and of the kinds that they are called."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.correctness import inputs
from probes.reference import e2m1, e4m3, nvfp4

pytestmark = pytest.mark.torch


@pytest.mark.parametrize("kind", inputs.KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_values_of_a_seed_are_the_same_and_of_another_seed_are_not(
    kind: str, dtype: torch.dtype
) -> None:
    one, two, other = (inputs.values(kind, 16, 64, seed=seed, dtype=dtype)[0] for seed in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.dtype == dtype


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_ties_lie_on_ties_under_scales_of_every_mantissa(dtype: torch.dtype) -> None:
    values, one = inputs.values("ties", 8, 128, seed=1, dtype=dtype)
    scales = nvfp4.block_scales(values, global_scale_multiplier=one)
    distance = nvfp4.code_tie_distance(values, scales, global_scale_multiplier=one)
    assert float((distance == 0).double().mean()) == 14 / 16
    assert len(torch.unique(scales.view(torch.uint8) & 7)) == 8


def test_saturating_values_saturate_scales_and_codes() -> None:
    values, multiplier = inputs.values("saturating", 16, 128, seed=1, dtype=torch.bfloat16)
    made = nvfp4.quantize(values, global_scale_multiplier=multiplier)
    assert bool((made.scales.view(torch.uint8) == 0x7E).any())
    real = values.double() * multiplier.double()
    held = e4m3.decode(made.scales).repeat_interleave(16, -1)
    assert bool((real.abs() > e2m1.MAX * held).any())


def test_small_values_have_scales_that_are_denormal_or_zero() -> None:
    values, multiplier = inputs.values("small", 40, 64, seed=1, dtype=torch.bfloat16)
    scales = e4m3.decode(nvfp4.block_scales(values, global_scale_multiplier=multiplier))
    assert bool((scales == 0).any())
    assert bool(((scales > 0) & (scales < e4m3.SMALLEST_NORMAL)).any())


def test_zeros_are_blocks_and_rows_of_either_sign() -> None:
    values, _ = inputs.values("zeros", 12, 64, seed=1, dtype=torch.bfloat16)
    assert bool((values[0] == 0).all())
    assert bool(torch.signbit(values[1, :16]).all())
    assert bool((values[1, 16:] != 0).any())


@pytest.mark.parametrize("experts", [1, 2, 5, 256])
@pytest.mark.parametrize("kind", ["even", "half", "one"])
def test_rows_are_shared_out_and_add_up(experts: int, kind: str) -> None:
    rows = inputs.shares(100, experts, kind=kind, seed=3)
    assert int(rows.sum()) == 100
    assert len(rows) == experts
    if kind == "one":
        assert int((rows > 0).sum()) == 1
    if kind == "half" and experts > 1:
        assert not bool(rows[experts // 2 :].any())


def test_a_token_goes_to_different_experts_with_weights_that_add_up_to_one() -> None:
    ids, weights = inputs.routing(50, 8, 3, kind="even", seed=1)
    assert all(len(set(row)) == 3 for row in ids.tolist())
    assert torch.allclose(weights.sum(-1), torch.ones(50))
    half, _ = inputs.routing(50, 8, 3, kind="half", seed=1)
    assert int(half.max()) < 4
    one, _ = inputs.routing(50, 8, 3, kind="one", seed=1)
    assert bool((one == 4).any(-1).all())
