"""Faults that a package tells of: what CUDA, compilers and packages raise and print, in their own words."""

from __future__ import annotations

import os
from typing import Any

import torch

from probes.faults.fault import Planted, fault
from probes.faults.matrices import ONE
from probes.subject import Operand

_HERE = f"m={ONE}"
ADVICE = """
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""
"""What torch adds to every CUDA error."""


class Raising(Planted):
    """A `gemm` that raises `message` for one number of rows."""

    message = ""
    kind: type[Exception] = RuntimeError

    def gemm(self, a: Operand, *args: Any, **kwargs: Any) -> Any:
        if a.packed.shape[0] == ONE:
            raise self.kind(self.message)
        return super().gemm(a, *args, **kwargs)


@fault("A", "gemm", "no_kernel_image", where=_HERE)
class NoKernelImage(Raising):
    """The wheel has no machine code for this GPU."""

    message = "CUDA error: no kernel image is available for execution on the device" + ADVICE


@fault("A", "quantize", "no_kernel_image", also=("not_offered",))
class ErrorLeftToTheNext(Planted):
    """A launcher does not look whether its kernel ran; the error waits for whoever asks next."""

    def quantize(self, *args: Any, **kwargs: Any) -> Any:
        packed, scales = super().quantize(*args, **kwargs)
        self.left = True
        return torch.zeros_like(packed), scales

    def synchronize(self) -> None:
        if getattr(self, "left", False):
            self.left = False
            raise RuntimeError(NoKernelImage.message)


@fault("B", "gemm", "arch_conditional", where=_HERE)
class ArchConditional(Planted):
    """Built without the a or f suffix: CUTLASS prints so from the kernel, and leaves NaN."""

    def gemm(self, a: Operand, *args: Any, **kwargs: Any) -> Any:
        made = super().gemm(a, *args, **kwargs)
        if a.packed.shape[0] != ONE:
            return made
        told = b"ERROR : Arch conditional MMA instruction used without targeting appropriate compute capability. Aborting.\n"
        os.write(1, told)
        return torch.full_like(made, torch.nan)


@fault("B", "gemm", "arch_conditional", where=_HERE)
class ArchConditionalAbort(Planted):
    """The same, where the process ends over it."""

    def gemm(self, a: Operand, *args: Any, **kwargs: Any) -> Any:
        if a.packed.shape[0] == ONE:
            told = b"ERROR : Arch conditional MMA instruction used without targeting appropriate compute capability. Aborting.\n"
            os.write(1, told)
            os.abort()
        return super().gemm(a, *args, **kwargs)


@fault("B", "gemm", "arch_conditional", where=_HERE)
class SuffixStripped(Raising):
    """Compiled at run time for a plain target, whose ptxas refuses the instruction."""

    message = "ptxas /tmp/gemm.ptx, line 75; error   : Instruction 'mma with block scale' not supported on .target 'sm_121'"


@fault("C", "gemm", "arch_guard", where=_HERE)
class ArchGuard(Raising):
    """The package refuses the GPU by name."""

    message = "mm_fp4 does not support backend 'trtllm' with capability 121"
    kind = ValueError


@fault("C", "gemm", "arch_guard", where=_HERE)
class ArchGuardTrap(Raising):
    """A guard inside the kernel prints, and traps: the host sees a launch failure only."""

    message = "CUDA error: unspecified launch failure" + ADVICE

    def gemm(self, a: Operand, *args: Any, **kwargs: Any) -> Any:
        if a.packed.shape[0] == ONE:
            os.write(1, b"This kernel only supports sm120.\n")
        return super().gemm(a, *args, **kwargs)


@fault("D", "gemm", "not_compiled", where=_HERE)
class NoSuchOperation(Raising):
    """The operation is declared in Python, and not registered by the library."""

    message = "'_OpNamespace' '_C' object has no attribute 'cutlass_scaled_fp4_mm'"
    kind = AttributeError


@fault("D", "gemm", "not_compiled", where=_HERE)
class NoSuchKernel(Raising):
    """The operation is registered, and has no kernel for the device."""

    message = (
        "Could not run '_C::cutlass_scaled_fp4_mm' with arguments from the 'CUDA' backend. This could be because "
        "the operator doesn't exist for this backend, or was omitted during the selective/custom build process."
    )
    kind = NotImplementedError


@fault("D", "gemm", "not_compiled", where=_HERE)
class NotCompiledIn(Raising):
    """The package says that it was built without the kernel."""

    message = (
        "No compiled nvfp4 mm kernel for SM 121. Recompile with CUDA >= 12.8 and the right archs."
    )
    kind = NotImplementedError


@fault("J", "gemm", "smem_overflow", where=_HERE)
class SharedMemory(Raising):
    """A tile made for 232,448 bytes of shared memory, on a GPU that has 101,376."""

    message = "Error Internal"


@fault("J", "gemm", "smem_overflow", where=_HERE)
class SharedMemoryOfTheExperts(Raising):
    """The same in the grouped kernels of TensorRT-LLM."""

    message = "[TensorRT-LLM][ERROR] Assertion failed: Failed to initialize cutlass TMA WS grouped gemm. Error: Error Internal"


@fault("K", "gemm", "illegal_instruction", where=_HERE)
class IllegalInstruction(Raising):
    """The GPU meets an instruction that it does not have."""

    message = "CUDA error: an illegal instruction was encountered" + ADVICE


@fault("K", "gemm", "illegal_memory_access", where=_HERE)
class IllegalMemoryAccess(Raising):
    """A kernel reads where nothing is."""

    message = "CUDA error: an illegal memory access was encountered" + ADVICE


@fault("N", "gemm", "ptxas_too_old", where=_HERE)
class PtxasTooOld(Raising):
    """ptxas does not know the target."""

    message = "Ninja build failed. Ninja output:\nptxas fatal   : Value 'sm_121a' is not defined for option 'gpu-name'"


@fault("N", "gemm", "jit_compile_error", where=_HERE)
class JitFails(Raising):
    """A header of another CUDA: the build at run time fails."""

    message = (
        "Ninja build failed. Ninja output:\n[1/2] /usr/local/cuda/bin/nvcc -c quantize.cu\n"
        "quantize.cu:3:10: fatal error: cuda_fp4.h: No such file or directory\nninja: build stopped"
    )


@fault("N", "gemm", "no_compiler", where=_HERE)
class NoCompiler(Raising):
    """The kernel has to be compiled, and there is no nvcc."""

    message = "Could not find nvcc and default cuda_home='/usr/local/cuda' doesn't exist"


@fault("O", "gemm", "ptx_jit", where=_HERE)
class PtxJit(Raising):
    """The driver is older than the PTX that it has to compile."""

    message = "CUDA error: the provided PTX was compiled with an unsupported toolchain." + ADVICE


@fault("-", "gemm", "oom", where=_HERE)
class OutOfMemory(Raising):
    """The GPU's memory is full."""

    message = (
        "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 31.36 GiB"
    )
    kind = torch.OutOfMemoryError


@fault("-", "gemm", "failed", where=_HERE)
class UnknownError(Raising):
    """What no rule knows is charged to the package all the same."""

    message = "CUDA error: unknown error" + ADVICE
