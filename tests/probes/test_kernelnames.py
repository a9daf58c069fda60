from __future__ import annotations

import re

import pytest

from probes.case import CAPABILITY
from probes.kernelnames import NEEDED, RULES, Kind, known

NAMES = {
    "void vllm::cvt_fp16_to_fp4<__nv_bfloat16, false>(int, int, __nv_bfloat16 const*)": ("vllm", Kind.NATIVE, "quantize"),
    "void tensorrt_llm::kernels::cvt_fp16_to_fp4_expert<__half, false>": ("flashinfer", Kind.NATIVE, "quantize"),
    "void tensorrt_llm::kernels::quantize_with_block_size<(tensorrt_llm::BlockScaleQuantizationType)0, __half, 16, false>": ("flashinfer", Kind.NATIVE, "quantize"),
    "void tensorrt_llm::kernels::quantize_with_block_size<(tensorrt_llm::BlockScaleQuantizationType)2, __half, 32, false>": ("", Kind.MOVES, ""),
    "_ZN4vllm24cvt_fp16_to_fp4_sf_majorI13__nv_bfloat16": ("vllm", Kind.NATIVE, "quantize"),
    "bmm_E2m1_E2m1E2m1_Fp32_bA16_bB16_bC16_t128x8x512u2_s4_swiGlu_dynB_sm100f": ("trtllm-gen", Kind.NATIVE, "multiply"),
    "bmm_Bfloat16_E2m1E2m1_Fp32_Ab16_Bb16_t128x32x512_s4": ("trtllm-gen", Kind.NATIVE, "multiply"),
    "bmm_Bfloat16_MxE2m1Bfloat16_Fp32_t128x16x256": ("trtllm-gen", Kind.WEIGHT_ONLY, "multiply"),
    "nvjet_sm100_ootst_128x128_256x7_4x1_2cta_v_bx_Avec16UE4M3_Bvec16UE4M3_TNT": ("cublas", Kind.NATIVE, "multiply"),
    "nvjet_sm100_tst_64x8_64x16_4x1_v_bz_TNT": ("cublas", Kind.DENSE_16, "multiply"),
    "cutlass3x_sm100_bstensorop_s256x192x64gemm_block_scaled_ue4m3xf4_ue4m3xf4_f32_f16_f16": ("cublas", Kind.NATIVE, "multiply"),
    "kernel_cutlass_kernel_flashinfergemmkernelsdense_blockscaled_gemm_sm100Sm100BlockScaledPersistentDenseGemmKernel_object_at__TiledMMA": ("cute-dsl", Kind.NATIVE, "multiply"),
    "void cutlass::device_kernel<flashinfer::gemm::DeviceGemmFp4GemmSm100_x<cutlass::bfloat16_t>>": ("flashinfer-cutlass", Kind.NATIVE, "multiply"),
    "void cutlass::device_kernel<cutlass::gemm::kernel::GemmUniversal<cute::tuple<int>, cutlass::float_e2m1_t, cutlass::float_ue4m3_t>>": ("cutlass", Kind.NATIVE, "multiply"),
    "void marlin::Marlin<__nv_bfloat16, 1125899906909960l, 256, 1, 8, 8>": ("marlin", Kind.WEIGHT_ONLY, "multiply"),
    "void vllm::reshape_and_cache_nvfp4_kernel<__nv_bfloat16>": ("vllm", Kind.NATIVE, "cache"),
    "fmhaSm100aKernel_QE4m3KvE2m1OE4m3H128PagedKvCausalP32VarSeqQ128Kv128": ("trtllm-gen", Kind.NATIVE, "attend"),
    "ampere_bf16_s16816gemm_bf16_128x64_ldg8_f2f_stages_64x4_tn": ("", Kind.DENSE_16, "multiply"),
    "_dequant_nvfp4_kernel": ("emulation", Kind.EMULATION, ""),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_kernel_is_known_by_its_name(name: str) -> None:
    rule = known(name)
    assert rule is not None
    assert (rule.family, rule.kind, rule.does) == NAMES[name]


def test_a_name_that_says_nothing_is_not_known() -> None:
    assert known("triton_poi_fused_add_0") is None


def test_every_rule_compiles_and_names_its_source() -> None:
    for rule in RULES:
        re.compile(rule.pattern)
        assert rule.source


def test_every_operation_has_what_it_needs() -> None:
    assert set(NEEDED) == set(CAPABILITY)
