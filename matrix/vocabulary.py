"""The closed lists of words that YAML, JSON, the command line and the reports share."""

from __future__ import annotations

from typing import Final, Literal, get_args

Machine = Literal["x86_64", "aarch64"]
"""CPU architecture, as in a wheel's platform tag."""

Environment = Literal["slim", "devel"]
"""`slim`: what pip installs, no CUDA compiler. `devel`: plus nvcc and ninja of the stack's CUDA."""

Delivery = Literal["image", "jit", "cubin", "dsl", "library", "python"]
"""How a piece reaches the GPU: machine code in a wheel, nvcc at run time, a cubin file, a compiler
in Python, a version of an NVIDIA library, plain torch."""

Format = Literal["nvfp4", "mxfp4"]

Answer = Literal["yes", "no", "unknown"]
"""What a package says of itself (the declared lamp)."""

Compiled = Literal["yes", "partial", "trap", "no", "jit", "dsl", "unknown"]
"""What the published binary holds (the compiled lamp)."""

Selected = Literal["native", "weight_only", "emulation", "refused", "unknown", "not_asked"]
"""What the library said that it would choose (the selected lamp): FP4 instructions on both operands, a
fallback, or that it serves no such layer at all. `unknown`: it was asked, and what it said is not known
to the data; `not_asked`: nobody asked it for this cell."""

Verdict = Literal["works", "likely", "slow", "fallback", "broken", "unavailable", "unknown"]
"""Best first."""

Reason = Literal[
    "",
    "no_kernel_image",
    "trap_kernel",
    "partial_kernels",
    "unreachable_dispatch",
    "torch_without_cuda",
    "torch_without_target",
    "conflicting_pins",
    "on_request",
    "no_wheel",
    "no_release",
    "arch_guard",
    "not_compiled",
    "no_compiler",
    "no_path",
    "not_declared",
    "wrong_numbers",
    "nan_or_inf",
    "all_zero",
    "illegal_instruction",
    "illegal_memory_access",
    "smem_overflow",
    "ptxas_too_old",
    "jit_compile_error",
    "import_error",
    "segfault",
    "hang",
    "oom",
    "library_too_old",
    "library_defect",
    "known_defect",
    "missing_package",
    "cuda_mismatch",
    "not_measured",
    "not_asked",
    "refused",
    "unlisted_path",
    "weight_only_fallback",
    "emulation_fallback",
    "slower_than_baseline",
    "throttled",
    "runner_lost",
    "runner_offline",
    "no_baseline",
    "different_load",
    "requests_failed",
    "incomplete_log",
    "unreadable_number",
    "inconsistent_numbers",
    "not_proven",
    "failed",
    "arch_conditional",
    "ptx_jit",
    "driver_too_old",
    "launch_failure",
    "abort",
    "wrong_scale",
    "wrong_scale_layout",
    "wrong_packing",
    "wrong_rounding",
    "not_saturated",
    "sign_lost",
    "nondeterministic",
    "stale_output",
    "padding_read",
    "uninitialised_scale",
    "kv_corruption",
    "corruption",
    "setting_ignored",
    "autotune_stall",
    "xid",
    "killed",
    "harness_error",
    "not_offered",
    "no_gpu",
    "too_small",
]
"""Why something is not a pass. Closed: a new word is added here, and only here."""

Mark = Literal[
    "single-run",
    "kernels-unproven",
    "numbers-unchecked",
    "one-kernel",
    "host-latency",
    "xid-unwatched",
]
"""What a result does not show: no A/A run tells how far two equal runs differ; nothing names the kernels
that ran; nobody compared its numbers with a reference; it is of one kernel by itself, which the stack
need not choose; times hold the host's latency of a launch; nobody could read the driver's Xid messages."""

MACHINES: Final[tuple[Machine, ...]] = get_args(Machine)
ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)
VERDICTS: Final[tuple[Verdict, ...]] = get_args(Verdict)
