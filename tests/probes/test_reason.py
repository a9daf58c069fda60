from __future__ import annotations

import itertools
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.reason import (
    UNNAMED,
    WORDS,
    of_death,
    of_device,
    of_exception,
    of_text,
    words,
)

ADVICE = """
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""

MESSAGES = [
    # CUDA, as torch raises it
    ("CUDA error: no kernel image is available for execution on the device", "no_kernel_image"),
    ("CUDA error: invalid device function", "no_kernel_image"),
    ("CUDA error: an illegal instruction was encountered", "illegal_instruction"),
    ("CUDA error: an illegal memory access was encountered", "illegal_memory_access"),
    ("CUDA error: misaligned address", "illegal_memory_access"),
    ("CUDA error: unspecified launch failure", "launch_failure"),
    ("CUDA error: device-side assert triggered", "launch_failure"),
    ("CUDA error: the provided PTX was compiled with an unsupported toolchain.", "ptx_jit"),
    ("CUDA error: a PTX JIT compilation failed", "ptx_jit"),
    ("CUDA error: device kernel image is invalid", "ptx_jit"),
    ("CUDA error: too many resources requested for launch", "smem_overflow"),
    ("CUDA error: the launch timed out and was terminated", "hang"),
    ("CUDA error: uncorrectable ECC error encountered", "xid"),
    ("CUDA error: out of memory", "oom"),
    ("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 31.36 GiB", "oom"),
    ("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", "oom"),
    ("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasLtMatmul(...)`", "launch_failure"),
    ("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmul(...)`", "arch_guard"),
    ("CUDA driver version is insufficient for CUDA runtime version", "driver_too_old"),
    ("CUDA error: system has unsupported display driver / cuda driver combination", "driver_too_old"),
    ("The NVIDIA driver on your system is too old (found version 12020).", "driver_too_old"),
    ("No CUDA GPUs are available", "no_gpu"),
    ("CUDA error: no CUDA-capable device is detected", "no_gpu"),
    ("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU", "no_gpu"),
    ("Torch not compiled with CUDA enabled", "torch_without_cuda"),
    # ptxas, nvcc, ninja
    ("ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'", "ptxas_too_old"),
    ("nvcc fatal   : Unsupported gpu architecture 'compute_121a'", "ptxas_too_old"),
    (
        ("Ninja build failed. Ninja output:\n[1/9] nvcc --threads=1 -c a.cu\nFAILED: a.o\n"
        "nvcc fatal   : Unsupported gpu architecture 'compute_121f'\nninja: build stopped: subcommand failed."),
        "ptxas_too_old",
    ),
    (
        "ptxas a.ptx, line 75; error   : Instruction 'mma with block scale' not supported on .target 'sm_120'",
        "arch_conditional",
    ),
    (
        ("Ninja build failed. Ninja output:\n[1/2] /usr/local/cuda/bin/nvcc -c quantize.cu\n"
        "quantize.cu:3:10: fatal error: cuda_fp4.h: No such file or directory\nninja: build stopped"),
        "jit_compile_error",
    ),
    ("Error building extension 'fused_moe_120': [1/49] c++ -MMD", "jit_compile_error"),
    ("Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist", "no_compiler"),
    ("Ninja is required to load C++ extensions (pip install ninja to get it)", "no_compiler"),
    ("[Errno 2] No such file or directory: 'ninja'", "no_compiler"),
    ("/bin/sh: 1: nvcc: not found\nninja: build stopped: subcommand failed.", "no_compiler"),
    # CUTLASS, Triton, CuTe DSL, cuDNN
    ("ERROR : Arch conditional MMA instruction used without targeting appropriate compute capability. Aborting.",
     "arch_conditional"),
    ("Error Internal", "smem_overflow"),
    ("[TensorRT-LLM][ERROR] Assertion failed: Failed to initialize cutlass TMA WS grouped gemm. Error: Error Internal",
     "smem_overflow"),
    ("out of resource: shared memory, Required: 147456, Hardware limit: 101376.", "smem_overflow"),
    ("Triton Error [CUDA]: an illegal instruction was encountered", "illegal_instruction"),
    (("PTXAS error: Internal Triton PTX codegen error\n`ptxas` stderr:\n"
     "ptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"), "ptxas_too_old"),
    ("expects arch to be one of [Arch.sm_100a, Arch.sm_103a], but got Arch.sm_121a", "arch_guard"),
    ("cudnn_frontend error: No valid engine configs for Matmul_MUL_", "arch_guard"),
    # vLLM, FlashInfer, torch's own
    ("This kernel only supports sm120.", "arch_guard"),
    ("mm_fp4 does not support backend 'trtllm' with capability 121", "arch_guard"),
    ("trtllm_fp4_block_scale_moe does not support compute capability 12.1", "arch_guard"),
    ("FlashInfer requires GPUs with sm75 or higher", "arch_guard"),
    ("No supported CUDA architectures found for major versions [10].", "arch_guard"),
    ("No compiled nvfp4 mm kernel for SM 121. Recompile with CUDA >= 12.8 and the right archs.", "not_compiled"),
    ("'_OpNamespace' '_C' object has no attribute 'scaled_fp4_quant'", "not_compiled"),
    ("module 'flashinfer' has no attribute 'mm_fp4'", "not_compiled"),
    (("Could not run '_C::cutlass_scaled_fp4_mm' with arguments from the 'CUDA' backend. This could be because the "
     "operator doesn't exist for this backend, or was omitted during the selective/custom build process (if using "
     "custom build). '_C::cutlass_scaled_fp4_mm' is only available for these backends: [Meta, BackendSelect]."),
     "not_compiled"),
    ("terminate called after throwing an instance of 'std::bad_alloc'", "oom"),
    # no rule knows them, and no rule may
    ("'NoneType' object has no attribute 'shape'", UNNAMED),
    ("CUDA error: unknown error", UNNAMED),
    ("the minima and maxima of the lima", UNNAMED),
    ("", UNNAMED),
]  # fmt: skip


@pytest.mark.parametrize(("message", "reason"), MESSAGES, ids=range(len(MESSAGES)))
def test_a_message_of_the_field_has_its_reason(message: str, reason: str) -> None:
    assert of_text(message) == reason
    assert of_text(message.upper()) == reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [pair for pair in MESSAGES if pair[0].startswith("CUDA error")],
    ids=itertools.count(),
)
def test_the_advice_that_torch_adds_is_no_reason(message: str, reason: str) -> None:
    assert of_text(message + ADVICE) == reason


@given(st.text())
def test_any_text_has_a_word_of_the_list(text: str) -> None:
    assert of_text(text) in WORDS
    assert of_exception(RuntimeError(text)) in WORDS
    assert of_device(text) in WORDS | {""}
    assert len(words(RuntimeError(text))) <= 300


@given(number=st.integers(1, 64), printed=st.text(), memory=st.booleans())
def test_any_death_has_a_word_of_the_list(number: int, printed: str, *, memory: bool) -> None:
    assert of_death(number, printed, out_of_memory=memory) in WORDS


def test_the_first_link_of_a_chain_that_says_something_counts() -> None:
    cause = RuntimeError("no kernel image is available for execution on the device")
    outer = RuntimeError("the engine died")
    outer.__cause__ = cause
    assert of_exception(outer) == "no_kernel_image"
    cause.__cause__ = outer  # a circle ends
    assert of_exception(outer) == "no_kernel_image"


def test_what_python_hides_of_a_chain_is_no_reason() -> None:
    with pytest.raises(RuntimeError) as caught:  # noqa: PT012 - the chain is the point
        try:
            raise ModuleNotFoundError("No module named 'optional'")
        except ModuleNotFoundError:
            raise RuntimeError("bad shape") from None
    assert of_exception(caught.value) == UNNAMED


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "oom"),
        (ImportError("libcudart.so.12: cannot open shared object file"), "import_error"),
        (NotImplementedError(), "not_compiled"),
        (SystemExit(1), UNNAMED),
    ],
)
def test_an_exception_tells_by_its_type_too(error: BaseException, reason: str) -> None:
    assert of_exception(error) == reason


def test_an_exception_that_cannot_tell_is_still_named() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no")

    assert of_exception(SilentError()) == UNNAMED
    assert words(SilentError()) == "SilentError"


def test_a_long_message_is_cut() -> None:
    assert words(ValueError("x " * 500)).endswith("…")


@pytest.mark.parametrize(
    ("number", "printed", "reason"),
    [
        (signal.SIGSEGV, "", "segfault"),
        (signal.SIGBUS, "", "segfault"),
        (signal.SIGILL, "", "illegal_instruction"),
        (signal.SIGABRT, "", "abort"),
        (signal.SIGTERM, "", "killed"),
        (60, "", "killed"),
        (signal.SIGABRT, "terminate called after throwing 'std::bad_alloc'", "oom"),
        (signal.SIGABRT, "Arch conditional MMA instruction used without targeting", "arch_conditional"),
        (signal.SIGABRT, "no kernel image is available\nan illegal memory access was encountered",
         "illegal_memory_access"),
        (signal.SIGSEGV, "WARNING: nvcc not found, JIT kernels are off", "segfault"),
        (signal.SIGSEGV, "INFO: No module named 'optional'", "segfault"),
    ],
)  # fmt: skip
def test_a_death_has_what_was_said_last_and_could_be_deadly_as_its_reason(
    number: int, printed: str, reason: str
) -> None:
    assert of_death(number, printed, out_of_memory=False) == reason


def test_a_kill_is_for_want_of_memory_only_where_the_kernel_says_so() -> None:
    assert of_death(signal.SIGKILL, "", out_of_memory=True) == "oom"
    assert of_death(signal.SIGKILL, "", out_of_memory=False) == "killed"


@pytest.mark.parametrize(
    ("printed", "reason"),
    [
        ("ERROR : Arch conditional MMA instruction used without targeting appropriate", "arch_conditional"),
        ("This kernel only supports sm120.", "arch_guard"),
        ("WARNING: backend x is only supported on SM100", ""),
        ("INFO: kernel list printed", ""),
    ],
)  # fmt: skip
def test_what_a_kernel_printed_is_told_from_what_its_host_did(printed: str, reason: str) -> None:
    assert of_device(printed) == reason
