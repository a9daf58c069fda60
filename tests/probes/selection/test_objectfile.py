from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from probes.selection.objectfile import functions, wanted

SOURCE = """
extern int cuInit(unsigned), cuMemAlloc_v2(void), cublasCreate_v2(void), cudaMalloc(void);
int cuMine(void) { return 1; }
int go(void) { return cuInit(0) + cuMemAlloc_v2() + cublasCreate_v2() + cudaMalloc() + cuMine(); }
"""

needs_compiler = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


@pytest.fixture
def built(tmp_path: Path) -> Path:
    """Compile an object that needs libcuda.so.1, and one that does not."""
    driver, user = tmp_path / "libcuda.so.1", tmp_path / "_C.abi3.so"
    source = tmp_path / "source.c"
    source.write_text("int cuInit(unsigned a) { return 100; }")
    soname = "-Wl,-soname,libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", soname, source, "-o", driver], check=True)
    source.write_text(SOURCE)
    base: list[str | Path] = ["gcc", "-shared", "-fPIC", source]
    subprocess.run([*base, driver, "-o", user], check=True)
    subprocess.run([*base, "-o", tmp_path / "other.so"], check=True)
    return tmp_path


@needs_compiler
def test_undefined_driver_functions_are_found_and_others_are_not(built: Path) -> None:
    assert functions(built / "_C.abi3.so") == {"cuInit", "cuMemAlloc_v2"}


@needs_compiler
def test_an_object_that_does_not_need_the_driver_is_passed_over(built: Path) -> None:
    assert functions(built / "other.so") == set()
    assert wanted([str(built)]) == {"cuInit", "cuMemAlloc_v2"}


@needs_compiler
def test_a_damaged_object_is_passed_over(built: Path) -> None:
    whole = (built / "_C.abi3.so").read_bytes()
    for size in (0, 5, 63, 64, 200, 1000, len(whole) // 2):
        (built / "cut.so").write_bytes(whole[:size])
        functions(built / "cut.so")
    (built / "cut.so").write_bytes(whole[:64] + b"\xff" * 4000)
    assert functions(built / "cut.so") == set()
    assert functions(built / "none.so") == set()
