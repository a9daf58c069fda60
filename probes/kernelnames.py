"""Kernels by their names, as CUPTI gives them: whose they are, what they do, and whether they compute on FP4.

Data, with the source of each rule. The first rule that fits counts, so that the narrow ones stand first: a weight-only
kernel has `fp4` in its name as often as a native one. A name that no rule knows proves nothing.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import cache
from typing import Final, NamedTuple


class Kind(Enum):
    """What a kernel's arithmetic is. MOVES: none on FP4 that a verdict hangs on (layout, routing, finalize)."""

    NATIVE = "native"
    WEIGHT_ONLY = "weight-only"
    EMULATION = "emulation"
    DENSE_16 = "16-bit product"
    MOVES = "moves"


class Rule(NamedTuple):
    """A pattern over a name (mangled or not, case ignored), and what it tells.

    `family`: whose kernels; what an adapter's `family` names. `does`: `quantize`, `multiply`, `attend`, `cache`, or "" for what only
    moves data.
    """

    pattern: str
    family: str
    kind: Kind
    does: str
    source: str


RULES: Final = (
    # Weight-only and emulated ones first.
    Rule(r"marlin", "marlin", Kind.WEIGHT_ONLY, "multiply", "vLLM csrc/quantization/marlin: `Marlin<…>`, `marlin_moe_wna16`"),
    Rule(r"humming", "humming", Kind.WEIGHT_ONLY, "multiply", "humming-kernels, which vLLM selects on sm90"),
    Rule(r"machete|w4a16|bf16_?x?_?fp4|awq|gptq|GemmFpAIntB|fpA_intB", "weight-only", Kind.WEIGHT_ONLY, "multiply",
         "vLLM csrc/quantization; FlashInfer `mm_bf16_fp4`; TensorRT-LLM `GemmFpAIntB`"),
    Rule(r"bmm_\w*?_\w*E2m1(Bfloat16|Fp16)|gemm_\w*?_\w*E2m1(Bfloat16|Fp16)", "trtllm-gen", Kind.WEIGHT_ONLY, "multiply",
         "trtllm-gen names output, then both operands: `bmm_Bfloat16_MxE2m1Bfloat16_…`"),
    Rule(r"emulat", "emulation", Kind.EMULATION, "multiply", "vLLM nvfp4_emulation_utils"),
    Rule(r"dequant|upconvert_?(fp4|nvfp4)_?to", "emulation", Kind.EMULATION, "", "a copy in 16 bits; what follows multiplies that"),
    # The reference of this project, on a CPU.
    Rule(r"^reference_\w*quantize", "reference", Kind.NATIVE, "quantize", "probes/subjects/reference.py"),
    Rule(r"^reference_\w*(gemm|moe)", "reference", Kind.NATIVE, "multiply", "probes/subjects/reference.py"),
    Rule(r"^reference_\w*attend", "reference", Kind.NATIVE, "attend", "probes/subjects/reference.py"),
    Rule(r"^reference_\w*kv", "reference", Kind.NATIVE, "cache", "probes/subjects/reference.py"),
    # trtllm-gen: cubins, on 10x.
    Rule(r"(bmm|gemm)_\w*?_\w*E2m1\w*E2m1_", "trtllm-gen", Kind.NATIVE, "multiply",
         "`bmm_E2m1_E2m1E2m1_Fp32_…_sm100f`, `bmm_Bfloat16_E2m1E2m1_…` in profiles of vLLM and SGLang on a B200"),
    Rule(r"(bmm|gemm)_\w*?_\w*E2m1", "trtllm-gen", Kind.NATIVE, "multiply", "as above, with MX operands: `bmm_MxE4m3_MxE2m1MxE4m3_…`"),
    Rule(r"fmhaSm\w*KvE2m1", "trtllm-gen", Kind.NATIVE, "attend", "`fmhaSm100aKernel_QE4m3KvE2m1OE4m3H128PagedKv…`, FlashInfer's cubins"),
    # cuBLAS and cuDNN.
    Rule(r"nvjet_\w*Avec(16|32)UE\w+_Bvec(16|32)UE", "cublas", Kind.NATIVE, "multiply", "`nvjet_sm100_ootst_…_Avec16UE4M3_Bvec16UE4M3_TNT` of cuBLASLt: oo is FP4 x FP4"),
    Rule(r"cutlass3x_\w*block_scaled_ue\dm\dxf4", "cublas", Kind.NATIVE, "multiply", "`cutlass3x_sm100_bstensorop_…_block_scaled_ue4m3xf4_ue4m3xf4_…`: cuBLASLt at M = 1"),
    Rule(r"cudnn_generated\w*(fp4|e2m1|block_?scale)", "cudnn", Kind.NATIVE, "multiply", "cuDNN's generated kernels begin `cudnn_generated_fort_native_…`"),
    # CUTLASS DSL: class names, cut off before the types of the operands.
    Rule(r"kernel_cutlass_\w*b12x", "b12x", Kind.NATIVE, "multiply", "the wheel b12x: CUTLASS DSL kernels by module name"),
    Rule(r"kernel_cutlass_\w*(Quant|quantiz)", "cute-dsl", Kind.NATIVE, "quantize", "flashinfer.cute_dsl: `RMSNormFP4QuantKernel`"),
    Rule(r"kernel_cutlass_\w*Block_?Scaled", "cute-dsl", Kind.NATIVE, "multiply",
         "`kernel_cutlass_kernel_flashinfergemmkernelsdense_blockscaled_gemm_sm100Sm100BlockScaledPersistentDenseGemmKernel_object_at__…`; the same class does MXFP8, "
         "which packed FP4 operands exclude"),
    # vLLM, TensorRT-LLM and FlashInfer, compiled.
    Rule(r"tensorrt_llm.*cvt_fp16_to_fp4", "flashinfer", Kind.NATIVE, "quantize", "`tensorrt_llm::kernels::cvt_fp16_to_fp4` in FlashInfer's csrc/nv_internal"),
    Rule(r"(silu_(and|mul)_)?cvt_fp16_to_fp4", "vllm", Kind.NATIVE, "quantize", "`15cvt_fp16_to_fp4I` in vLLM's wheels; SGLang and TensorRT-LLM have the name, too"),
    Rule(r"quantize_with_block_size\w*<\(?[\w:]*\)?[01]\b|quantize_with_block_size\w*BlockScaleQuantizationTypeE[01]E", "flashinfer", Kind.NATIVE, "quantize",
         "flashinfer csrc/nv_internal: BlockScaleQuantizationType 0 and 1 give FP4, 2 gives MXFP8"),
    Rule(r"nvfp4_?quant|quant\w*_?nvfp4|fp4_?quant|quant\w*_?fp4|cvt\w*e2m1", "", Kind.NATIVE, "quantize", "a name that says so"),
    Rule(r"reshape_and_cache_nvfp4|concat_and_cache_nvfp4", "vllm", Kind.NATIVE, "cache", "`void vllm::reshape_and_cache_nvfp4_kernel` in vLLM's wheels and profiles"),
    Rule(r"nvfp4_?kv|kv_?(cache)?_?(nv)?fp4|cp_gather\w*nvfp4", "", Kind.NATIVE, "cache", "FlashInfer `nvfp4_kv_quantize`; vLLM `cp_gather_and_upconvert_nvfp4_kv_cache`"),
    Rule(r"(decode|prefill|attention|mha|xqa)\w*.*(e2m1|nvfp4|fp4)|(e2m1|nvfp4|fp4).*(decode|prefill|attention|mha|xqa)", "", Kind.NATIVE, "attend",
         "FlashInfer FA2 and XQA with an FP4 cache: __nv_fp4x2_e2m1 or the word in a template's arguments"),
    Rule(r"flashinfer.*(e2m1|Fp4Gemm)|Fp4Gemm.*flashinfer", "flashinfer-cutlass", Kind.NATIVE, "multiply", "`cutlass::device_kernel<flashinfer::gemm::DeviceGemmFp4GemmSm100…>`"),
    Rule(r"GemmUniversal\w*.*float_e2m1_t|float_e2m1_t.*GemmUniversal|nv_float4_t", "cutlass", Kind.NATIVE, "multiply",
         "CUTLASS's types beside `MainloopSm1[02]0…BlockScaled`, as vLLM's wheels have them"),
    Rule(r"mxf4nvf4|e2m1|nvfp4|mxfp4|fp4_?(gemm|matmul|mm)|(gemm|matmul|mm)_?\w*fp4", "", Kind.NATIVE, "multiply", "a name that says so; Triton's `_p_matmul_…xnvfp4…`"),
    # Products in 16 bits, which follow a dequantisation.
    Rule(r"nvjet_(sm\d+_)?[a-z]*(tst|hsh|tss|hss|ttt|hhh|sss)_", "cublas", Kind.DENSE_16, "multiply", "`nvjet_sm100_tst_…`: bfloat16 in, float32 sums"),
    Rule(r"(bf16|f16|fp16|half|bfloat16)\w*gemm|gemm\w*(bf16|f16|fp16|half|bfloat16)|s16816|s1688|hgemm|gemv2|gemvx|gemvNSP|gemmk1|sgemm|addmm|aten::(mm|matmul|bmm|linear)", "", Kind.DENSE_16, "multiply",
         "cuBLAS's and CUTLASS's names for 16- and 32-bit products"),
    Rule(r"quantize_with_block_size|swizzle|block_scale_interleave|routing|finalize|permute|expand|scatter|gather|memcpy|memset|elementwise|fill|copy", "", Kind.MOVES, "", "TensorRT-LLM's and torch's"),
)  # fmt: skip
"""Every rule, in order."""

_COMPILED: Final = tuple((re.compile(rule.pattern, re.IGNORECASE), rule) for rule in RULES)

NEEDED: Final = {
    "quantize": ("quantize",),
    "silu_quantize": ("quantize",),
    "mxfp4_quantize": ("quantize",),
    "gemm": ("multiply",),
    "w4a16_gemm": ("multiply",),
    "grouped_gemm": ("multiply",),
    "mxfp4_gemm": ("multiply",),
    "moe": ("multiply",),
    "w4a16_moe": ("multiply",),
    "kv_cache": ("cache", "quantize"),
    "kv_attend": ("attend",),
    "serve": ("multiply",),
}
"""What a kernel has to do for an operation to have run on FP4: one of these."""


@cache
def known(name: str) -> Rule | None:
    """Return the rule that a kernel's name fits, None where none does."""
    return next((rule for pattern, rule in _COMPILED if pattern.search(name)), None)
