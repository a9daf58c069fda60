"""The reference against torchao's NVFP4 and MXFP4 in plain torch. docs/reference.md explains each difference."""

from __future__ import annotations

import pytest

for needed in ("torch", "torchao"):
    pytest.importorskip(needed, reason=f"compares with {needed}: run `nox -s reference`")
import torch
from torchao.prototype.moe_training.nvfp4_grouped_mm import (
    _emulated_nvfp4_scaled_grouped_mm_2d_3d as torchao_grouped,
)
from torchao.prototype.mx_formats.config import ScaleCalculationMode
from torchao.prototype.mx_formats.kernels import (
    f4_unpacked_to_f32,
    f32_to_f4_unpacked,
    pack_uint4,
    unpack_uint4,
)
from torchao.prototype.mx_formats.mx_tensor import to_mx
from torchao.prototype.mx_formats.nvfp4_tensor import (
    NVFP4Tensor,
    nvfp4_quantize,
    per_tensor_amax_to_scale,
)
from torchao.prototype.mx_formats.utils import from_blocked, to_blocked

from probes.reference import e2m1, e4m3, layout, mxfp4, nvfp4, product
from probes.reference.layout import Layout
from probes.reference.mxfp4 import Rule
from tests.probes.reference.comparison import (
    ORDINARY,
    Theirs,
    case,
    differences,
    every_bfloat16,
    normal,
    share,
)
from tests.probes.reference.inputs import CASES

pytestmark = pytest.mark.torch

DTYPES = [torch.float32, torch.bfloat16]


def quantize(values: torch.Tensor) -> Theirs:
    """Quantize with torchao, whose `per_tensor_scale` is the inverse of the multiplier."""
    inverse = per_tensor_amax_to_scale(values.abs().amax())
    scales, packed = nvfp4_quantize(values, 16, inverse)
    return Theirs(packed=packed, scales=scales, multiplier=inverse.reciprocal())


def floor_of_normals(scales: torch.Tensor) -> torch.Tensor:
    """Return scales as torchao has them: none below E4M3's smallest normal number."""
    return scales.clamp(min=e4m3.SMALLEST_NORMAL)


def test_every_bfloat16_has_the_same_code() -> None:
    values = every_bfloat16()

    assert torch.equal(f32_to_f4_unpacked(values), e2m1.encode(values))


def test_codes_mean_and_pack_the_same() -> None:
    codes = torch.arange(16, dtype=torch.uint8)
    pairs = torch.cartesian_prod(codes, codes).flatten()

    assert torch.equal(f4_unpacked_to_f32(codes), e2m1.decode(codes))
    assert torch.equal(pack_uint4(pairs), e2m1.pack(pairs))
    assert torch.equal(unpack_uint4(e2m1.pack(pairs)), e2m1.unpack(e2m1.pack(pairs)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ORDINARY, "greatest", "zero_blocks", "small_scales"])
def test_all_but_ties_is_the_same_once_scales_stay_above_the_denormal_ones(
    name: str, dtype: torch.dtype
) -> None:
    values = case(name, dtype)

    found = differences(values, quantize(values), scale_rule=floor_of_normals)

    assert found.only_near_ties()


@pytest.mark.parametrize("name", ["weights", "activations", "outlier", "equal_blocks"])
def test_float32_inputs_that_are_real_have_no_difference_at_all(name: str) -> None:
    values = case(name, torch.float32)

    found = differences(values, quantize(values))

    assert (share(found.scales), share(found.codes)) == (0, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_of_sixteen_million_normal_numbers_only_ties_differ(dtype: torch.dtype) -> None:
    values = normal(4096, 4096).to(dtype)

    found = differences(values, quantize(values))

    assert found.only_near_ties()
    assert share(found.scales) < (1e-5 if dtype is torch.float32 else 1e-2)
    assert share(found.codes) < 1e-6


def test_exact_ties_fall_short_for_the_inverse_is_rounded_before_they_come() -> None:
    """2688 / 6 is 448, but 6 / 2688 is no float32: x * (1 / (6 / 2688) / s) is a little less than x."""
    values = case("ties", torch.float32)
    theirs = quantize(values)
    exact = Theirs(
        packed=theirs.packed, scales=theirs.scales, multiplier=nvfp4.multiplier_of(values)
    )

    found = differences(values, exact)

    assert exact.multiplier.item() == 448
    assert share(found.codes) == 6 / 16  # 0.75, 1.75 and 3.5 of both signs should have gone up
    assert not found.code_ties[found.codes].any()


def test_denormal_scales_become_the_smallest_normal_one() -> None:
    values = case("small_scales", torch.float32)
    theirs = quantize(values)

    ours = nvfp4.block_scales(values, global_scale_multiplier=theirs.multiplier).float()

    assert float(theirs.scales.float().min()) == 2.0**-6
    assert bool(((ours < 2.0**-6) & (ours > 0)).any())
    assert share(differences(values, theirs).scales) > 0.5


def test_far_below_an_outlier_the_smaller_values_of_a_block_are_lost() -> None:
    """Under its smallest scale, 2**-6, what is a quarter of a block's amax rounds to 0; 2**-9 keeps it."""
    values = torch.full((1, 32), 0.00015)
    values[0, 0], values[0, 16] = 128.0, 0.0006
    theirs = quantize(values)

    ours = nvfp4.dequantize(nvfp4.quantize(values))

    assert not theirs.packed[0, 9:].any()
    assert 0.00013 < float(ours[0, 17:].min()) < 0.00015


def test_the_block_scales_of_zeros_are_not_zero() -> None:
    values = case("zero_blocks", torch.float32)
    empty = nvfp4.blocks(values, 16).abs().amax(dim=-1) == 0

    assert set(quantize(values).scales.float()[empty].flatten().tolist()) == {2.0**-6}
    assert set(nvfp4.quantize(values).scales.float()[empty].flatten().tolist()) == {0.0}


def test_a_tensor_of_zeros_becomes_zero_over_zero_which_it_encodes_as_two() -> None:
    values = torch.zeros(1, 16)
    inverse = per_tensor_amax_to_scale(values.abs().amax())

    scales, packed = nvfp4_quantize(values, 16, inverse)

    assert inverse.item() == 0
    assert scales.float().isnan().all()
    assert set(e2m1.decode(e2m1.unpack(packed)).abs().flatten().tolist()) == {2.0}
    assert not nvfp4.dequantize(nvfp4.quantize(values)).any()


def test_a_tensor_of_denormals_has_an_inverse_that_is_mostly_rounding() -> None:
    theirs = quantize(case("denormal", torch.float32))

    assert theirs.multiplier.isinf()


@pytest.mark.parametrize("name", ORDINARY)
def test_dequantized_values_are_the_same_up_to_the_rounding_of_the_inverse(name: str) -> None:
    quantized = nvfp4.quantize(CASES[name]())
    theirs = NVFP4Tensor(
        quantized.packed,
        quantized.scales,
        16,
        torch.float32,
        quantized.global_scale_multiplier.reciprocal(),
    ).dequantize()

    torch.testing.assert_close(theirs, nvfp4.dequantize(quantized), rtol=3 * 2.0**-24, atol=0)


@pytest.mark.parametrize(("rows", "columns"), [(128, 4), (1, 1), (130, 7), (512, 256), (100, 12)])
def test_the_128x4_layout_is_the_same_both_ways(rows: int, columns: int) -> None:
    scales = (torch.arange(rows * columns) % 255).to(torch.uint8).reshape(rows, columns)

    swizzled = layout.swizzle(scales, layout=Layout.ROWS_128)

    assert torch.equal(to_blocked(scales), swizzled)
    assert torch.equal(from_blocked(swizzled, rows, columns), scales)


def test_a_linear_layer_is_the_same() -> None:
    x, weights = CASES["activations"]()[:, :2048], nvfp4.quantize(CASES["weights"]())
    inverse = weights.global_scale_multiplier.reciprocal()
    theirs = NVFP4Tensor(weights.packed, weights.scales, 16, torch.float32, inverse)

    got = torch.nn.functional.linear(x, theirs)

    wanted = product.linear(x, nvfp4.dequantize(weights))
    assert float((got - wanted).norm() / wanted.norm()) < 1e-6


def test_a_grouped_product_is_the_same() -> None:
    """Its grouped product knows no global scale, so the multiplier is 1."""
    one = torch.tensor(1.0)
    generator = torch.Generator().manual_seed(0)
    x = nvfp4.quantize(torch.randn(48, 64, generator=generator), global_scale_multiplier=one)
    w = nvfp4.quantize(torch.randn(3, 32, 64, generator=generator), global_scale_multiplier=one)
    ends = torch.tensor([16, 16, 48], dtype=torch.int32)

    got = torchao_grouped(
        x.packed, x.scales, w.packed, w.scales, offs=ends, out_dtype=torch.float32
    )

    wanted = product.grouped(
        nvfp4.dequantize(x), nvfp4.dequantize(w), rows=torch.tensor([16, 0, 32])
    )
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-4)


MODES = {
    Rule.FLOOR: ScaleCalculationMode.FLOOR,
    Rule.CEIL: ScaleCalculationMode.RCEIL,
    Rule.EVEN: ScaleCalculationMode.EVEN,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", Rule)
@pytest.mark.parametrize("name", sorted(set(CASES) - {"denormal"}))
def test_mxfp4_is_the_same_bit_by_bit(name: str, rule: Rule, dtype: torch.dtype) -> None:
    values = case(name, dtype)

    exponents, packed = to_mx(values, torch.float4_e2m1fn_x2, 32, MODES[rule])

    ours = mxfp4.quantize(values, rule=rule)
    assert torch.equal(exponents.view(torch.uint8), ours.exponents)
    assert torch.equal(packed, ours.packed)


@pytest.mark.parametrize(("rule", "factor"), [(Rule.FLOOR, 2.0**126), (Rule.CEIL, 1.0)])
def test_mxfp4_of_denormals_is_scaled_by_something_else_than_its_byte_says(
    rule: Rule, factor: float
) -> None:
    values = case("denormal", torch.float32)

    exponents, packed = to_mx(values, torch.float4_e2m1fn_x2, 32, MODES[rule])

    ours = mxfp4.quantize(values, rule=rule)
    assert torch.equal(exponents.view(torch.uint8), ours.exponents)
    low = (ours.exponents == 0).repeat_interleave(32, dim=-1)
    assert bool(low.any())
    assert torch.equal(e2m1.unpack(packed)[low], e2m1.encode(values.double() * factor)[low])


def test_torchaos_ceil_is_none_of_the_three_rules() -> None:
    """It rounds amax up to a power of two before it takes 2 off: 5 gets 2**1, though 2**0 holds up to 6."""
    values = torch.full((1, 32), 5.0)

    exponents, _ = to_mx(values, torch.float4_e2m1fn_x2, 32, ScaleCalculationMode.CEIL)

    assert exponents.view(torch.uint8).item() == 128
    assert mxfp4.block_exponents(values, rule=Rule.CEIL).item() == 127
