"""Machine code from source: nvcc in a builder, and whether what it made holds FP4 instructions, found before any GPU."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from images.context import pip_conf, reachable, tarred
from matrix.evidence.pipconfig import read_pip_config
from tests.conftest import MakeWheel, Shelf
from tests.e2e.builds import PYTHON, Build, told

pytestmark = pytest.mark.docker

CUDA = "13.0"
STAND_IN = Path(__file__).parents[1] / "stack"
COMPILER = f"""\
FROM {{base}}
COPY pip.conf ca.pem /build/
RUN apt-get update && apt-get install --yes --no-install-recommends gcc g++ && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/nvidia && PIP_CONFIG_FILE=/build/pip.conf /opt/nvidia/bin/pip install \
  nvidia-cuda-nvcc=={CUDA}.* nvidia-cuda-runtime=={CUDA}.* nvidia-cuda-crt=={CUDA}.* nvidia-nvvm=={CUDA}.* nvidia-cuda-cccl=={CUDA}.* \
  && ln -s /opt/nvidia/lib/python3.11/site-packages/nvidia/cu13 /usr/local/cuda && rm -r /build
"""
KERNEL = """\
#include <cstdint>
namespace vllm {
template <class Type, bool Other>
__global__ void cvt_fp16_to_fp4(int32_t count, const Type *in, const float *scale, uint32_t *out) {
  const int at = blockIdx.x * blockDim.x + threadIdx.x;
  if (at >= count) return;
#if defined(__CUDA_ARCH_FAMILY_SPECIFIC__) || defined(__CUDA_ARCH_SPECIFIC__)
  uint32_t packed;
  asm("{ .reg .b8 b; cvt.rn.satfinite.e2m1x2.f32 b, %1, %2; cvt.u32.u8 %0, b; }"
      : "=r"(packed) : "f"(float(in[2 * at]) * *scale), "f"(float(in[2 * at + 1]) * *scale));
  out[at] = packed;
#else
  out[at] = Other;  // as libraries do it: the kernel is there, and does nothing
#endif
}
template __global__ void cvt_fp16_to_fp4<float, false>(int32_t, const float *, const float *, uint32_t *);
}
"""
LISTS = """\
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
  set(CUDA_SUPPORTED_ARCHS "9.0;10.0;11.0;12.0")
endif()
cuda_archs_loose_intersection(FP4_ARCHS "12.0f" "${CUDA_ARCHS}")
"""
SETUP = """\
import os, subprocess
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

class Compiled(build_ext):
    def build_extension(self, extension):
        path = self.get_ext_fullpath(extension.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        flags = []
        for arch in os.environ["TORCH_CUDA_ARCH_LIST"].split(";"):
            number = arch.replace(".", "") + SUFFIX
            flags += ["-gencode", f"arch=compute_{number},code=sm_{number}"]
        subprocess.run(["nvcc", "-shared", "-Xcompiler", "-fPIC", "-cudart", "none", *flags, "-o", path, "kernel.cu"], check=True)

setup(packages=find_packages(include=["vllm*"]), ext_modules=[Extension("vllm._C_stable_libtorch", ["kernel.cu"])], cmdclass={"build_ext": Compiled})
"""
PROJECT = """\
[build-system]
requires = ["setuptools>=77", "setuptools-scm>=8"]
build-backend = "setuptools.build_meta"
[project]
name = "vllm"
dynamic = ["version"]
[tool.setuptools_scm]
"""


@pytest.fixture(scope="session")
def compiler(engine: Any, base: str) -> str:
    """Return the digest of the base with nvcc, made once for an engine: 35 s."""
    name = "nvfp4-matrix-tests:cuda"
    if not engine.images.list(name):
        config = reachable(read_pip_config())
        bundle = config.connection.ca_bundle
        files = {
            "Dockerfile": COMPILER.format(base=base).encode(),
            "pip.conf": pip_conf(config).encode(),
            "ca.pem": Path(bundle).read_bytes() if bundle else b"",
        }
        for part in engine.api.build(
            fileobj=io.BytesIO(tarred(files)),
            custom_context=True,
            tag=name,
            rm=True,
            decode=True,
        ):
            assert "error" not in part, part
    digest: str = engine.images.get(name).id
    return digest


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A repository that stands for vLLM's: what it chooses with, and one kernel of its own."""
    folder = tmp_path / "vllm"
    found = (STAND_IN / "vllm").rglob("*.py")
    files = {str(each.relative_to(STAND_IN)): each.read_text() for each in found}
    files |= {"kernel.cu": KERNEL, "pyproject.toml": PROJECT, "CMakeLists.txt": LISTS}
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, {**files, "setup.py": SETUP.replace("SUFFIX", '"f"')})
    git(folder, "tag", "-a", "v0.33.0", "-m", "0.33.0")
    commit(folder, {"setup.py": SETUP.replace("SUFFIX", '""')})
    git(folder, "branch", "stripped")
    git(folder, "reset", "--quiet", "--hard", "v0.33.0")
    return folder


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=someone", "-c", "user.email=someone@x"]
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True)


def commit(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "more")


@pytest.fixture
def own(bridge: str) -> Iterator[Shelf]:
    """An index beside those that pip is told of."""
    with Shelf(bridge) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def build(
    base: str,
    compiler: str,
    upstream: Path,
    *,
    own: Shelf,
    make_wheel: MakeWheel,
    monkeypatch: pytest.MonkeyPatch,
) -> Build:
    """Build a stack of the source at a name, with a torch and a FlashInfer that only an index of their own has."""
    monkeypatch.setenv("PIP_TRUSTED_HOST", str(own.server_address[0]))
    pins: dict[str, str] = {}
    for name, version in (("torch", "2.14.0+tests"), ("flashinfer-python", "0.7.2.post1+tests")):
        folder = name.partition("-")[0]
        files = (STAND_IN / folder).rglob("*.py")
        bodies = {str(file.relative_to(STAND_IN)): file.read_bytes() for file in files}
        own.add(make_wheel(name, version, bodies))
        pins[name] = f"{version} @ {own.base}/simple"
    names = ("main", "stripped")
    written = [
        {"name": ref, "pins": {"vllm": f"@{ref}", **pins}, "repositories": {"vllm": str(upstream)}}
        for ref in names
    ]
    stacks = upstream.parent / "stacks.yaml"
    stacks.write_text(json.dumps({"as_released": [], "written": written}))

    def run(ref: str, *more: str) -> subprocess.CompletedProcess[str]:
        program = [sys.executable, "-c", "from reports.cli import main; main()", "build", ref]
        options = ["--base", base, "--builder", compiler, "--python", PYTHON]
        where = ["--stacks", str(stacks), "--kept", str(upstream.parent / "kept")]
        command = [*program, *options, *where, "--target", "sm120", *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


def test_a_source_build_that_lost_its_fp4_kernels_is_told_before_it_reaches_a_gpu(
    build: Build, engine: Any
) -> None:
    """The same kernel twice: for sm_120f as it should be, and with the suffix stripped on the way to nvcc."""
    whole = told(build("main", "--json"), 1)
    stripped = told(build("stripped", "--json"), 1)
    engine.images.remove(whole["image"], force=True)
    engine.images.remove(stripped["image"], force=True)
    good, bad = whole["audited"][0], stripped["audited"][0]
    assert good["release"] == bad["release"] == "0.33.0"
    assert good["compiled"]["quantize"]["sm120"] == "yes"
    assert bad["compiled"]["quantize"]["sm120"] == "trap"
    lost = {
        "kind": "compiled",
        "what": "vllm quantize",
        "target": "sm120",
        "promised": "yes, as 0.33.0 has it",
        "found": "trap, 0 kernels",
    }
    assert lost in stripped["differences"]
    assert lost["what"] not in [each["what"] for each in whole["differences"]]
    # The one kernel is all that the stand-in has: that the products are not there is told of both.
    assert {"vllm gemm", "vllm moe"} <= {each["what"] for each in whole["differences"]}


def test_a_list_of_architectures_that_would_lose_them_is_refused(build: Build) -> None:
    done = build("main", "--arch-list", "12.0+PTX")
    assert done.returncode == 2, done.stderr
    assert "+PTX is dropped for FP4 kernels; with CUDA 13.0 write it as 12.0" in done.stderr
