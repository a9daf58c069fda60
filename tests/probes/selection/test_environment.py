from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from probes.selection.environment import compilers, forget, neutral


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """Stand for a machine with a CUDA toolkit and ninja in PATH."""
    for folder, tool in (("cuda", "nvcc"), ("tools", "ninja"), ("plain", "ld")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / tool).write_text("#!/bin/sh\n")
        (tmp_path / folder / tool).chmod(0o755)
    path = os.pathsep.join(str(tmp_path / name) for name in ("cuda", "tools", "plain"))
    return {"PATH": path, "CUDA_HOME": str(tmp_path / "cuda")}


def test_slim_has_no_compiler_even_where_the_machine_has_one(
    machine: dict[str, str], tmp_path: Path
) -> None:
    made = compilers("slim", machine, str(tmp_path / "scratch"), "13.0")
    assert shutil.which("nvcc", path=made["PATH"]) is None
    assert shutil.which("ninja", path=made["PATH"]) is None
    assert shutil.which("ld", path=made["PATH"])
    assert list(Path(made["CUDA_HOME"]).rglob("nvcc")) == []
    assert made["CUDA_PATH"] == made["CUDA_HOME"] != machine["CUDA_HOME"]


def test_devel_has_a_compiler_of_the_stacks_cuda(machine: dict[str, str], tmp_path: Path) -> None:
    made = compilers("devel", machine, str(tmp_path / "scratch"), "12.9")
    nvcc = shutil.which("nvcc", path=made["PATH"])
    assert nvcc == str(Path(made["CUDA_HOME"], "bin", "nvcc"))
    told = subprocess.run([nvcc, "--version"], capture_output=True, text=True, check=True)
    assert "release 12.9," in told.stdout
    assert shutil.which("ninja", path=made["PATH"])


def test_settings_of_who_asks_do_not_steer_the_choice(tmp_path: Path) -> None:
    mine = {"VLLM_USE_FLASHINFER_MOE_FP4": "1", "FLASHINFER_CUDA_ARCH_LIST": "12.1a", "LANG": "C"}
    made = neutral({**mine, "HOME": "/home/me"}, str(tmp_path))
    assert made["LANG"] == "C"
    assert made["HOME"] == made["FLASHINFER_WORKSPACE_BASE"] == str(tmp_path)
    assert "VLLM_USE_FLASHINFER_MOE_FP4" not in made
    assert "FLASHINFER_CUDA_ARCH_LIST" not in made


def test_what_a_package_remembered_is_forgotten_and_others_remember() -> None:
    asked: list[str] = []
    modules = {}
    for name in ("vllm.utils", "torch"):
        module = ModuleType(name)

        @functools.cache
        def remember(name: str = name) -> None:
            asked.append(name)

        module.remember = remember  # type: ignore[attr-defined]
        modules[name] = module
        remember()
    forget(modules, ("vllm",))
    for module in modules.values():
        module.remember()
    assert asked == ["vllm.utils", "torch", "vllm.utils"]
