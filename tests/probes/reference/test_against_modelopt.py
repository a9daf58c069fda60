"""The reference against nvidia-modelopt. docs/reference.md explains each difference."""

from __future__ import annotations

import warnings

import pytest

for needed in ("torch", "modelopt"):
    pytest.importorskip(needed, reason=f"compares with {needed}: run `nox -s reference`")
import torch

with warnings.catch_warnings():
    # It scripts functions with torch.jit while it is imported, which torch has deprecated.
    warnings.simplefilter("ignore")
    from modelopt.torch.quantization.qtensor import MXFP4QTensor, NVFP4QTensor

from probes.reference import e2m1, e4m3, mxfp4, nvfp4
from probes.reference.mxfp4 import Rule
from tests.probes.reference.comparison import (
    NEAR,
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
    """Quantize as its export does; its `weights_scaling_factor_2` is the inverse of the multiplier."""
    tensor, scales, inverse = NVFP4QTensor.quantize(values.clone(), 16)
    return Theirs(packed=tensor._quantized_data, scales=scales, multiplier=inverse.reciprocal())


def quantize_mx(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return its E8M0 bytes and its packed codes."""
    tensor, exponents = MXFP4QTensor.quantize(values.clone(), 32)
    return exponents.reshape(*values.shape[:-1], -1), tensor._quantized_data


def expected_scales(values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return scales as modelopt has them: 1 for a block of zeros, else 2**-9 at least."""
    amax = nvfp4.blocks(values, 16).abs().amax(dim=-1)
    return torch.where(amax == 0, 1.0, scales.clamp(min=e4m3.SMALLEST))


def negative_zeros(values: torch.Tensor) -> torch.Tensor:
    return (values == 0) & torch.signbit(values)


def test_every_bfloat16_rounds_the_same_except_that_negative_zero_loses_its_sign() -> None:
    values = every_bfloat16()

    theirs = NVFP4QTensor._cast_fp4(values.clone())

    assert torch.equal(theirs != e2m1.encode(values), negative_zeros(values))


def test_codes_mean_and_pack_the_same_except_that_code_8_is_plus_zero() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(16, 16)
    ones = torch.ones(16, 2)

    theirs = NVFP4QTensor(torch.Size((16, 32)), torch.float32, every).dequantize(
        scale=ones, double_scale=torch.tensor(1.0), block_sizes={-1: 16}
    )

    ours = e2m1.decode(e2m1.unpack(every))
    assert torch.equal(theirs, ours)
    assert torch.equal(torch.signbit(theirs) != torch.signbit(ours), negative_zeros(ours))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ORDINARY, "greatest", "zero_blocks", "small_scales"])
def test_all_is_the_same_but_for_scales_of_zero_and_the_sign_of_zero(
    name: str, dtype: torch.dtype
) -> None:
    values = case(name, dtype)

    found = differences(
        values, quantize(values), scale_rule=lambda ours: expected_scales(values, ours)
    )

    assert torch.equal(found.codes & negative_zeros(values), negative_zeros(values))
    rounded = found.codes & ~negative_zeros(values)
    assert bool((found.code_ties[rounded] < NEAR).all())
    assert bool((found.scale_ties[found.scales] < NEAR).all())


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


def test_a_block_of_zeros_has_a_scale_of_1_and_one_that_underflows_2_to_the_minus_9() -> None:
    values = torch.zeros(1, 48)
    values[0, 0], values[0, 16] = 1.0, 1e-6

    theirs = quantize(values)

    assert theirs.scales.float().tolist() == [[448.0, 2.0**-9, 1.0]]
    assert nvfp4.quantize(values).scales.float().tolist() == [[448.0, 0.0, 0.0]]


def test_a_tensor_of_zeros_becomes_zero_over_zero() -> None:
    theirs = quantize(torch.zeros(1, 16))

    assert theirs.multiplier.isinf()
    assert theirs.scales.float().isnan().all()


def test_a_tensor_of_denormals_has_an_inverse_that_is_mostly_rounding() -> None:
    assert quantize(case("denormal", torch.float32)).multiplier.isinf()


@pytest.mark.parametrize("name", ORDINARY)
def test_dequantized_values_are_the_same_up_to_the_rounding_of_the_inverse(name: str) -> None:
    quantized = nvfp4.quantize(CASES[name]())
    values = nvfp4.dequantize(quantized)

    theirs = NVFP4QTensor(values.shape, torch.float32, quantized.packed).dequantize(
        scale=quantized.scales,
        double_scale=quantized.global_scale_multiplier.reciprocal(),
        block_sizes={-1: 16},
    )

    torch.testing.assert_close(theirs, values, rtol=3 * 2.0**-24, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(CASES))
def test_mxfp4_is_the_ceil_rule_but_ties_go_down_and_zeros_are_negative(
    name: str, dtype: torch.dtype
) -> None:
    values = case(name, dtype)

    exponents, packed = quantize_mx(values)

    ours = mxfp4.quantize(values, rule=Rule.CEIL)
    theirs, codes = e2m1.unpack(packed), e2m1.unpack(ours.packed)
    assert torch.equal(exponents, ours.exponents)
    differ = theirs != codes
    powers = torch.exp2(127 - exponents.double()).repeat_interleave(32, dim=-1)
    ties = e2m1.GRID.tie_distance(values.double() * powers) == 0
    zeros = (theirs == 8) & (codes == 0)
    assert bool((ties | zeros)[differ].all())
    assert torch.equal(theirs[ties & differ], codes[ties & differ] - 1)
