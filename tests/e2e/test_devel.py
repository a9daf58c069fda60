"""The environment `devel`, on a base with a real nvcc: what is compiled in the image at run time compiles there."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.builds import Build, line, told

pytestmark = pytest.mark.docker

NVCC = (
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
)
"""CUDA 13.0's compiler and its headers, all of one CUDA; the last four are what the first does not run without."""

ROOT = "/usr/local/cuda"
INSTALL = f"""\
set -e
apt-get update -qq
apt-get install -y -qq --no-install-recommends g++ >/dev/null
rm -rf /var/lib/apt/lists/*
ln -s lib {ROOT}/lib64
chmod a+x {ROOT}/bin/* {ROOT}/nvvm/bin/*
"""
KERNEL = """\
#include <cuda_fp4.h>
__global__ void pack(const float2* in, unsigned char* out) {
  out[threadIdx.x] = __nv_cvt_float2_to_fp4x2(in[threadIdx.x], __NV_E2M1, cudaRoundNearest);
}
int main() { int count = 0; return cudaGetDeviceCount(&count); }
"""
NINJA = """\
rule nvcc
  command = nvcc -gencode arch=compute_120a,code=sm_120a -o $out $in
build pack: nvcc pack.cu
"""


@pytest.fixture
def address(bridge: str) -> str:
    """Where the shelf listens: containers have to reach it."""
    return bridge


@pytest.fixture(scope="session")
def compilers(engine: Any, base: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the id of a base with g++ and nvcc, made of the index's wheels once for an engine: 15 to 30 s."""
    name = "nvfp4-matrix-tests-devel"
    if not engine.api.images(name):
        folder = tmp_path_factory.mktemp("nvcc")
        get = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*get, "--target", folder, *NVCC], check=True)
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode="w") as archive:
            archive.add(folder / "nvidia" / "cu13", arcname=ROOT.strip("/"))
        made = engine.containers.create(base, ["sh", "-c", INSTALL])
        try:
            made.put_archive("/", output.getvalue())
            made.start()
            assert made.wait(timeout=300)["StatusCode"] == 0, made.logs().decode()
            search = (
                f"ENV PATH={ROOT}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
            )
            made.commit(name, "13.0", changes=[search])
        finally:
            made.remove(force=True)
        subprocess.run(["rm", "-rf", folder], check=True)
    digest: str = engine.images.get(f"{name}:13.0").id
    return digest


STACKS = """\
as_released: []
written:
  - {name: compiling, pins: {nvidia-cuda-runtime: 13.0.96}}
  - {name: older, pins: {nvidia-cuda-runtime-cu12: 12.9.79}}
"""


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    file = tmp_path / "stacks.yaml"
    file.write_text(STACKS)
    return file


def test_nvcc_and_ninja_compile_a_kernel_as_the_images_user_without_a_network(
    build: Build, engine: Any, compilers: str
) -> None:
    made = told(build("compiling", "--json", "--base", compilers, "--environment", "devel"))
    assert made["environment"] == "devel"
    assert "ninja" in made["pins"]
    write = 'printf %s "$KERNEL" >pack.cu && printf %s "$NINJA" >build.ninja'
    output = engine.containers.run(
        made["image"],
        ["sh", "-c", f"{write} && ninja && ./pack; echo cudaError $?; id -un"],
        environment={"KERNEL": KERNEL, "NINJA": NINJA},
        remove=True,
        network_disabled=True,
        stderr=True,
    )
    said = output.decode()
    assert "\nstack\n" in said
    # It was compiled and linked: it says itself that there is no driver (cudaErrorInsufficientDriver, or no device).
    assert "cudaError 35" in said or "cudaError 100" in said, said


def test_a_compiler_of_another_cuda_than_the_stacks_is_refused(
    build: Build, compilers: str
) -> None:
    error = line(build("older", "--base", compilers, "--environment", "devel"), 3)
    assert "grep --fixed-strings 'release 12.9'" in error
    assert "the base's nvcc is of another CUDA than the stack" in error
