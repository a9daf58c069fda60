"""The two environments a stack is judged in, made of environment variables alone: nothing installed is touched."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

SLIM, DEVEL = "slim", "devel"

_TOOLS = ("nvcc", "ninja")

_OURS = ("VLLM_", "FLASHINFER_", "TORCH_CUDA_ARCH_LIST")
"""Settings of the person who asks would change the answer: it is about the packages as they come."""


def neutral(variables: Mapping[str, str], scratch: str) -> dict[str, str]:
    """Return `variables` without what steers a choice, and with every cache in `scratch`."""
    kept = {name: value for name, value in variables.items() if not name.startswith(_OURS)}
    return kept | {
        "HOME": scratch,
        "XDG_CACHE_HOME": scratch,
        "XDG_CONFIG_HOME": scratch,
        "FLASHINFER_WORKSPACE_BASE": scratch,
        "TRITON_CACHE_DIR": scratch,
        "TORCHINDUCTOR_CACHE_DIR": scratch,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "HF_HUB_OFFLINE": "1",
        "CUDA_VISIBLE_DEVICES": "0",
    }


def compilers(
    environment: str, variables: Mapping[str, str], scratch: str, cuda: str
) -> dict[str, str]:
    """Return PATH, CUDA_HOME and CUDA_PATH of one environment.

    `slim`: no folder of PATH holds nvcc or ninja, and CUDA's home is an empty folder. `devel`: CUDA's
    home is a folder with a stand-in `nvcc` that tells the version `cuda` and compiles nothing, and a
    stand-in `ninja`; it stands first in PATH. A library that looks whether they are there, or asks for
    their version, sees what it would see.
    """
    home = Path(scratch, environment)
    tools = home / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    if environment == DEVEL:
        told = f"Cuda compilation tools, release {cuda}, V{cuda}.0"
        _script(tools / "nvcc", told)
        _script(tools / "ninja", "1.13.0")
    folders = [
        folder
        for folder in variables.get("PATH", os.defpath).split(os.pathsep)
        if folder and not any(Path(folder, tool).exists() for tool in _TOOLS)
    ]
    path = os.pathsep.join([str(tools), *folders])
    return {"PATH": path, "CUDA_HOME": str(home), "CUDA_PATH": str(home)}


def _script(path: Path, told: str) -> None:
    path.write_text(f"#!/bin/sh\necho '{told}'\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def forget(modules: Mapping[str, object], packages: tuple[str, ...]) -> None:
    """Clear what functions of `packages` remembered of another environment while they were imported."""
    for name, module in list(modules.items()):
        if name.split(".")[0] not in packages:
            continue
        for value in list(vars(module).values()) if hasattr(module, "__dict__") else ():
            if not (callable(value) and hasattr(type(value), "cache_clear")):
                continue
            clear: Callable[[], None] = value.cache_clear
            clear()
