"""The conditions of a run: driver, GPU, clocks, versions, loaded libraries. What cannot be told is left out."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from probes.request import Request

PACKAGES: Final = (
    "torch",
    "vllm",
    "flashinfer-python",
    "flashinfer-cubin",
    "flashinfer-jit-cache",
    "nvidia-cutlass-dsl",
    "nvidia-cudnn-cu13",
    "nvidia-cudnn-cu12",
    "nvidia-cublas",
    "nvidia-cublas-cu12",
    "triton",
    "humming-kernels",
    "pytest",
)
_GPU: Final = (
    "name",
    "uuid",
    "driver_version",
    "compute_cap",
    "memory.total",
    "clocks.max.sm",
    "clocks.max.mem",
    "clocks.sm",
    "clocks.mem",
    "power.limit",
    "temperature.gpu",
    "persistence_mode",
    "clocks_event_reasons.active",
)
_LEAST: Final = _GPU[:4]
"""What every driver's nvidia-smi knows; one that does not know a field answers none."""

_SECRET: Final = re.compile(r"(KEYS?|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
"""Settings that results, which people post, must not tell."""

_LONGEST: Final = 600
"""Characters of a setting."""

_LIBRARY: Final = re.compile(
    r"/(lib(?:cuda|cudart|cudnn|cublas|nccl|nvrtc|cupti|nvJitLink)[^/]*\.so[^/]*)$"
)


def here(request: Request) -> dict[str, Any]:
    """Return what this interpreter and machine are; called once a run, before anything is imported but torch."""
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": packages(),
        "device": request.device,
        "seed": request.seed,
        "variables": {
            name: value[:_LONGEST]
            for name, value in sorted(os.environ.items())
            if name.startswith(("VLLM_", "FLASHINFER_", "CUDA_", "TORCH_", "NVIDIA_"))
            and not _SECRET.search(name)
        },
    }
    with contextlib.suppress(ImportError, AttributeError):
        import torch  # noqa: PLC0415

        found["torch"] = {"cuda": torch.version.cuda or "", "git": torch.version.git_version or ""}
    if told := tool("nvcc", "--version"):
        found["nvcc"] = told.splitlines()[-1]
    if gpus := gpu():
        found["gpu"] = gpus
    return found


def packages() -> dict[str, str]:
    """Return the versions of what a verdict can hang on."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def gpu() -> list[dict[str, str]]:
    """Return what nvidia-smi says of each GPU, by its own field names; none where it is not there."""
    for fields in (_GPU, _LEAST):
        told = tool(
            "nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"
        )
        # From the right: it is the name, the first of them, that may have a comma.
        rows = [line.rsplit(", ", len(fields) - 1) for line in told.splitlines()]
        if found := [
            dict(zip(fields, row, strict=True)) for row in rows if len(row) == len(fields)
        ]:
            return found
    return []


def libraries() -> list[str]:
    """Return the NVIDIA libraries that this process has loaded, by file name."""
    found = set()
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
            if match := _LIBRARY.search(line):
                found.add(match[1])
    return sorted(found)


def tool(name: str, *arguments: str) -> str:
    """Run one of NVIDIA's tools; "" where it is not there, fails, or takes too long."""
    where = shutil.which(name)
    if where is None:
        return ""
    try:
        told = subprocess.run(  # noqa: S603 - found on PATH, constant arguments
            [where, *arguments], capture_output=True, text=True, check=False, timeout=20,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return told.stdout.strip() if told.returncode == 0 else ""
