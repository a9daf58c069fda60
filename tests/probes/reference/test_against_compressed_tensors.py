"""The reference against compressed-tensors. docs/reference.md explains each difference."""

from __future__ import annotations

import pytest

for needed in ("torch", "compressed_tensors"):
    pytest.importorskip(needed, reason=f"compares with {needed}: run `nox -s reference`")
import torch
from compressed_tensors.compressors.mxfp4.base import MXFP4PackedCompressor
from compressed_tensors.compressors.nvfp4 import (
    NVFP4PackedCompressor,
    pack_fp4_to_uint8,
    unpack_fp4_from_uint8,
)
from compressed_tensors.quantization import (
    QuantizationArgs,
    QuantizationScheme,
    QuantizationStrategy,
    QuantizationType,
)
from compressed_tensors.quantization.utils.fp4_utils import cast_to_fp4
from compressed_tensors.quantization.utils.helpers import calculate_qparams, generate_gparam

from probes.reference import e2m1, mxfp4, nvfp4
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

NVFP4 = QuantizationArgs(
    num_bits=4,
    type=QuantizationType.FLOAT,
    strategy=QuantizationStrategy.TENSOR_GROUP,
    group_size=16,
    symmetric=True,
    dynamic=False,
    scale_dtype=torch.float8_e4m3fn,
)
MXFP4 = QuantizationArgs(
    num_bits=4,
    type=QuantizationType.FLOAT,
    strategy=QuantizationStrategy.GROUP,
    group_size=32,
    symmetric=True,
    dynamic=False,
    scale_dtype=torch.uint8,
)


def quantize(values: torch.Tensor) -> Theirs:
    """Quantize as its observers and its compressor do; its `global_scale` is the multiplier."""
    multiplier = generate_gparam(values.min(), values.max())
    groups = nvfp4.blocks(values, 16)
    scales, _ = calculate_qparams(
        groups.amin(dim=-1), groups.amax(dim=-1), NVFP4, global_scale=multiplier
    )
    state = NVFP4PackedCompressor.compress(
        {"weight": values, "weight_scale": scales, "weight_global_scale": multiplier},
        QuantizationScheme(targets=["Linear"], weights=NVFP4),
    )
    return Theirs(
        packed=state["weight_packed"],
        scales=state["weight_scale"],
        multiplier=multiplier.reshape(()),
    )


def quantize_mx(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return its E8M0 bytes and its packed codes."""
    groups = nvfp4.blocks(values, 32)
    scales, _ = calculate_qparams(groups.amin(dim=-1), groups.amax(dim=-1), MXFP4)
    state = MXFP4PackedCompressor.compress(
        {"weight": values, "weight_scale": scales},
        QuantizationScheme(targets=["Linear"], weights=MXFP4),
    )
    return state["weight_scale"], state["weight_packed"]


def eighth_for_zero(scales: torch.Tensor) -> torch.Tensor:
    """Return scales as compressed-tensors has them: 0.125 where they round to 0."""
    return torch.where(scales == 0, 0.125, scales)


def negative_zeros(values: torch.Tensor) -> torch.Tensor:
    return (values == 0) & torch.signbit(values)


def test_every_bfloat16_rounds_the_same_except_that_negative_zero_loses_its_sign() -> None:
    values = every_bfloat16()

    theirs = pack_fp4_to_uint8(cast_to_fp4(values.clone()).reshape(1, -1))

    differ = e2m1.unpack(theirs)[0] != e2m1.encode(values)
    assert torch.equal(differ, negative_zeros(values))


def test_codes_mean_and_pack_the_same() -> None:
    every = torch.arange(256, dtype=torch.uint8).reshape(16, 16)

    theirs = unpack_fp4_from_uint8(every, 16, 32, dtype=torch.float32)

    assert torch.equal(theirs, e2m1.decode(e2m1.unpack(every)))
    assert torch.equal(torch.signbit(theirs), torch.signbit(e2m1.decode(e2m1.unpack(every))))
    assert torch.equal(pack_fp4_to_uint8(theirs), every)


@pytest.mark.parametrize("name", [*ORDINARY, "greatest", "zero_blocks", "small_scales"])
def test_float32_is_the_same_but_for_scales_of_zero_and_the_sign_of_zero(name: str) -> None:
    values = case(name, torch.float32)

    found = differences(values, quantize(values), scale_rule=eighth_for_zero)

    signs = found.codes & negative_zeros(values)
    assert torch.equal(signs, negative_zeros(values))
    assert not (found.codes & ~signs).any()
    assert not found.scales.any()


def test_of_sixteen_million_normal_numbers_only_ties_differ() -> None:
    values = normal(4096, 4096)

    found = differences(values, quantize(values))

    assert found.only_near_ties()
    assert share(found.scales) < 1e-5
    assert share(found.codes) < 1e-6


@pytest.mark.parametrize("name", sorted(set(CASES) - {"zeros", "denormal"}))
def test_its_global_scale_is_the_multiplier_up_to_one_more_rounding(name: str) -> None:
    """torch turns `2688 / amax` of a number and a tensor into a reciprocal and a product."""
    values = case(name, torch.float32)

    ratio = quantize(values).multiplier.double() / nvfp4.multiplier_of(values).double()

    assert abs(float(ratio) - 1) < 2 * 2.0**-24


@pytest.mark.parametrize("name", ["weights", "activations"])
def test_bfloat16_gets_a_global_scale_and_scales_of_eight_bits(name: str) -> None:
    """It divides 2688 by amax, and amax by 6, in the dtype of the values; then it goes on in float32."""
    values = case(name, torch.bfloat16)
    theirs = quantize(values)

    exact = nvfp4.multiplier_of(values).double()
    found = differences(values, theirs)

    assert theirs.multiplier == theirs.multiplier.bfloat16()
    assert abs(float(theirs.multiplier.double() / exact - 1)) < 2.0**-8
    assert 0.01 < share(found.scales) < 0.05
    assert 2.0**-12 < float(found.scale_ties[found.scales].max()) < 2.0**-8
    assert bool((found.code_ties[found.codes] < NEAR).all())


def test_a_tensor_of_zeros_is_zeros_with_scales_of_an_eighth() -> None:
    theirs = quantize(torch.zeros(1, 32))

    assert theirs.scales.float().tolist() == [[0.125, 0.125]]
    assert not theirs.packed.any()


def test_a_tensor_whose_multiplier_is_beyond_float32_becomes_zeros() -> None:
    theirs = quantize(case("denormal", torch.float32))

    assert theirs.multiplier.item() == 1
    assert not (theirs.packed & 0x77).any()
    assert nvfp4.dequantize(nvfp4.quantize(case("denormal", torch.float32))).any()


def test_dequantized_weights_are_bfloat16_divided_in_bfloat16() -> None:
    quantized = nvfp4.quantize(CASES["weights"]())
    state = {
        "weight_packed": quantized.packed,
        "weight_scale": quantized.scales,
        "weight_global_scale": quantized.global_scale_multiplier.reshape(1),
    }

    theirs = NVFP4PackedCompressor.decompress(
        state, QuantizationScheme(targets=["Linear"], weights=NVFP4)
    )["weight"]

    ours = nvfp4.dequantize(quantized)
    assert theirs.dtype == torch.bfloat16
    torch.testing.assert_close(theirs.float(), ours, rtol=2.0**-7, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(set(CASES) - {"greatest"}))
def test_mxfp4_is_the_even_rule_but_for_the_sign_of_zero(name: str, dtype: torch.dtype) -> None:
    values = case(name, dtype)

    exponents, packed = quantize_mx(values)

    ours = mxfp4.quantize(values, rule=Rule.EVEN)
    assert torch.equal(exponents, ours.exponents)
    differ = e2m1.unpack(packed) != e2m1.unpack(ours.packed)
    # In bfloat16 x / 2**-127 is 0 for what is small enough, and zeros have no sign here.
    assert not e2m1.decode(e2m1.unpack(ours.packed))[differ].any()
    assert bool((torch.signbit(values) & (values.abs() < 2.0**-126))[differ].all())


def test_mxfp4_overflows_where_amax_rounds_up_to_two_to_the_128() -> None:
    values = torch.full((1, 32), torch.finfo(torch.float32).max)

    exponents, packed = quantize_mx(values)

    ours = mxfp4.quantize(values, rule=Rule.EVEN)
    assert ours.exponents.item() == 253
    assert exponents.item() != 253
    assert not packed.any()
