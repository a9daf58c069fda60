"""Why a probe is no pass: a word of the closed list, read from what a package raised, printed, or died of.

The words are those of `Reason` in matrix/vocabulary.py, which a test holds this file to. The letters are the failure classes of
docs/probes.md. A pattern is what CUDA, ptxas, torch, vLLM or FlashInfer print; the first that fits counts, so that the
narrow ones stand first.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from typing import Final, NamedTuple


class Rule(NamedTuple):
    """A pattern over a message, case ignored, and what it means."""

    pattern: str
    reason: str


RULES: Final = (
    # Nobody's kernels: there is no GPU to run them.
    Rule(r"Torch not compiled with CUDA", "torch_without_cuda"),
    Rule(r"no CUDA-capable device|No CUDA GPUs are available|Found no NVIDIA driver", "no_gpu"),
    Rule(r"driver version is insufficient|driver.{0,40}too old|unsupported display driver", "driver_too_old"),
    # A, B, O: the machine code is not there, or is not what it says.
    Rule(r"no kernel image is available|cudaErrorNoKernelImageForDevice|NO_BINARY_FOR_GPU", "no_kernel_image"),
    Rule(r"invalid device function", "no_kernel_image"),
    Rule(r"Arch conditional MMA instruction used without targeting", "arch_conditional"),
    Rule(r"not supported on \.target '?sm_", "arch_conditional"),
    Rule(r"PTX (was )?compiled with an unsupported toolchain|UNSUPPORTED_PTX_VERSION", "ptx_jit"),
    Rule(r"PTX JIT compil\w+ failed|CUDA_ERROR_INVALID_PTX|device kernel image is invalid", "ptx_jit"),
    # N: the toolchain.
    Rule(r"sm_\w+'? is not defined for option|Unsupported gpu architecture|unknown .*gpu-architecture", "ptxas_too_old"),
    Rule(r"(not find|no such file|not found)\b[^\n]*\b(nvcc|ninja)\b", "no_compiler"),
    Rule(r"\b(nvcc|ninja)\b[^\n]*(not found|no such file|is required|not installed)", "no_compiler"),
    Rule(r"Ninja build failed|Error building extension|nvcc fatal|ninja: build stopped", "jit_compile_error"),
    # J, K: what ran and died.
    Rule(r"illegal instruction", "illegal_instruction"),
    Rule(r"illegal memory access|misaligned address|invalid address space|\bIMA\b", "illegal_memory_access"),
    Rule(r"out of (resources?|shared memory)|too (much|many) (shared|resources)|exceeds? .{0,30}shared memory", "smem_overflow"),
    Rule(r"Error Internal|Failed to initialize.{0,80}TMA|cudaFuncSetAttribute", "smem_overflow"),
    # Not "device-side assertions", which torch's advice names under every error.
    Rule(r"unspecified launch failure|device-side assert triggered|STATUS_EXECUTION_FAILED", "launch_failure"),
    Rule(r"the launch timed out", "hang"),
    Rule(r"uncorrectable ECC|GPU is lost|fallen off the bus", "xid"),
    Rule(r"out of memory|can't allocate memory|cannot allocate memory|bad_alloc|STATUS_ALLOC_FAILED", "oom"),
    # C, D: said no when it was called.
    Rule(r"only support(s|ed) (on )?(sm|compute|blackwell)|requires? (sm|compute capability|an? sm|GPUs with sm)", "arch_guard"),
    Rule(r"No supported CUDA architectures|expects arch to be one of|unsupported arch", "arch_guard"),
    Rule(r"(CUDNN|CUBLAS)_STATUS_(NOT_SUPPORTED|ARCH_MISMATCH)|No valid engine configs", "arch_guard"),
    Rule(r"not support(ed)? .{0,60}(compute capability|sm_?\d+|architecture|backend|device)", "arch_guard"),
    Rule(r"(compute capability|architecture|sm_?\d+)\S* .{0,60}not support", "arch_guard"),
    Rule(r"no compiled|not compiled|compiled without|was not built|no module named", "not_compiled"),
    Rule(r"('_OpNamespace' '\w+' object|module '[\w.]+') has no attribute", "not_compiled"),
    Rule(r"Could not run '\S+' with arguments from|No such operator|NotImplementedError", "not_compiled"),
)  # fmt: skip

_COMPILED: Final = tuple((re.compile(rule.pattern, re.IGNORECASE), rule.reason) for rule in RULES)

UNNAMED: Final = "failed"
"""A product that raised what no rule knows; its words are in the result's text."""

_SIGNALS: Final[Mapping[int, str]] = {
    signal.SIGSEGV: "segfault",
    signal.SIGBUS: "segfault",
    signal.SIGILL: "illegal_instruction",
    signal.SIGFPE: "segfault",
    signal.SIGABRT: "abort",
}

WORDS: Final = frozenset(
    {rule.reason for rule in RULES}
    | set(_SIGNALS.values())
    | {
        UNNAMED,
        # found by comparing numbers
        "wrong_numbers", "nan_or_inf", "all_zero", "wrong_scale", "wrong_scale_layout", "wrong_packing",
        "wrong_rounding", "not_saturated", "sign_lost", "nondeterministic", "stale_output", "padding_read",
        "uninitialised_scale", "kv_corruption", "corruption",
        # found by what ran, or how fast
        "weight_only_fallback", "emulation_fallback", "setting_ignored", "slower_than_baseline", "throttled",
        "not_proven",
        # found by waiting, or by what was left
        "hang", "autotune_stall", "killed", "import_error", "runner_lost", "harness_error", "xid",
        "requests_failed",
        # nothing to find
        "not_offered", "no_baseline", "too_small",
    }
)  # fmt: skip
"""Every reason that a probe gives."""


_LAST: Final = frozenset(
    {
        "no_kernel_image", "arch_conditional", "ptx_jit", "illegal_instruction", "illegal_memory_access",
        "smem_overflow", "launch_failure", "oom", "arch_guard", "xid",
    }
)  # fmt: skip
"""What a process can say as it dies. The rest is said and lived on from: a warning that nvcc is not there."""

_PRINTED: Final = re.compile(
    r"(Arch conditional MMA instruction used)|(kernel\W.{0,40}only support(?:s|ed) (?:on )?sm)",
    re.IGNORECASE,
)
"""What kernels print: CUTLASS's own guard, and those of packages around it ("This kernel only supports sm120")."""


def of_text(text: str) -> str:
    """Return the reason that a message tells of, UNNAMED where no rule fits."""
    for pattern, reason in _COMPILED:
        if pattern.search(text):
            return reason
    return UNNAMED


def of_exception(error: BaseException) -> str:
    """Return the reason for what a package raised: the first link of its chain that a rule knows.

    The chain is what Python would print: causes, and contexts that no `from None` hides.
    """
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        if isinstance(link, MemoryError):
            return "oom"
        if (reason := of_text(_told(link))) != UNNAMED:
            return reason
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return "import_error" if isinstance(error, ImportError) else UNNAMED


def of_device(printed: str) -> str:
    """Return the reason that a kernel itself printed (device printf), "" for none.

    It stands above whatever follows: NaN where the kernel was left out, a launch failure where it trapped.
    """
    found = _PRINTED.search(printed)
    if found is None:
        return ""
    return "arch_conditional" if found[1] else "arch_guard"


def of_death(number: int, printed: str, *, out_of_memory: bool) -> str:
    """Return the reason for a process that signal `number` ended.

    `printed`: the end of what it wrote; a device that traps says why before the process dies. `out_of_memory`:
    whether the kernel ended a process for want of memory meanwhile.
    """
    if number == signal.SIGKILL:
        return "oom" if out_of_memory else "killed"
    for line in reversed(printed.splitlines()):
        if (told := of_text(line)) in _LAST:
            return told
    return _SIGNALS.get(number, "killed")


def words(error: BaseException, most: int = 300) -> str:
    """Return an exception as one line of at most `most` characters."""
    told = " ".join(_told(error).split())
    return told if len(told) <= most else told[: most - 1] + "…"


def _told(error: BaseException) -> str:
    """Return an exception's type and message; the type alone of one that cannot tell more."""
    name = type(error).__name__
    try:
        return f"{name}: {error}"
    except Exception:  # noqa: BLE001 - a package's own class may do anything
        return name
