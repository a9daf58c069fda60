"""The adapters over a real vLLM and its FlashInfer: their own Python takes every call, models on the CPU answer for the kernels."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.install

ROOT = Path(__file__).parents[2]
NOT_FOR_12X = {("mxfp4_gemm", "cute-dsl")}
"""What FlashInfer's table says yes to and its function refuses by a plain ValueError."""

Calls = dict[tuple[str, str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def python(place: Path) -> Path:
    return place / "bin" / "python"


def survey(python: Path, *asked: str) -> Calls:
    variables = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(python), "-m", "tests.kernelmodels", *asked],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=variables,
    )
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(each["operation"], each["backend"], each["variant"]): each for each in told}


def outcomes(calls: Calls, *kinds: str) -> set[tuple[str, str]]:
    return {call[:2] for call, told in calls.items() if told["outcome"] in kinds}


def test_vllm_takes_every_call_and_its_own_code_comes_to_the_references_numbers(
    python: Path,
) -> None:
    calls = survey(python, "vllm", "12.1")
    assert outcomes(calls, "wrong", "raised", "refused") == set()
    assert outcomes(calls, "reached") == {("gemm", "flashinfer-cute-dsl")}
    assert outcomes(calls, "taken") == {("w4a16_gemm", "marlin"), ("w4a16_moe", "marlin")}
    assert outcomes(calls, "right") == {
        ("quantize", "vllm"),
        ("silu_quantize", "vllm"),
        ("gemm", "cutlass"),
        ("gemm", "qutlass"),
        ("gemm", "torch"),
        ("gemm", "flashinfer-cutlass"),
        ("grouped_gemm", "cutlass"),
        ("moe", "cutlass"),
        ("moe", "flashinfer-cutlass"),
        ("mxfp4_quantize", "cutlass"),
        ("mxfp4_gemm", "cutlass"),
        ("mxfp4_gemm", "qutlass"),
        ("kv_cache", "vllm"),
    }
    wanted = "cutlass_scaled_mm_supports_fp4(121) is True"
    assert calls[("gemm", "cutlass", "")]["advertised"] == wanted


@pytest.mark.parametrize("capability", ["10.0", "12.1"])
def test_flashinfer_takes_every_call_as_far_as_a_machine_without_a_gpu_goes(
    python: Path, capability: str
) -> None:
    calls = survey(python, "flashinfer", capability)
    assert outcomes(calls, "wrong") == set()
    assert outcomes(calls, "raised") == (NOT_FOR_12X if capability == "12.1" else set())
    assert outcomes(calls, "not_offered") == set()
    assert outcomes(calls, "right") >= {
        ("quantize", "cuda"),
        ("mxfp4_quantize", "cuda"),
        ("gemm", "cutlass"),
        ("moe", "cutlass"),
        ("kv_cache", "append"),
        ("kv_cache", "kv_quantize"),
    }
    right = outcomes(calls, "right")
    assert (("grouped_gemm", "groupwise") in right) == (capability == "12.1")


def test_vllms_emulation_is_right_on_this_cpu_but_for_codes_near_a_tie(python: Path) -> None:
    calls = survey(python, "vllm_emulation")
    assert outcomes(calls, "raised", "reached", "refused") == set()
    assert outcomes(calls, "wrong") <= {("quantize", "emulation")}
    assert outcomes(calls, "right") >= {
        ("gemm", "emulation"),
        ("gemm", "emulation-swizzled"),
        ("w4a16_gemm", "emulation"),
    }
