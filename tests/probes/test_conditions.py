from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from probes import conditions
from probes.preflight import visible
from probes.request import Request

REQUEST = Request(
    run="r", stack="s", target="sm121", machine="aarch64", subject="x", results="r.jsonl"
)
LINE = "{name}, GPU-1, 580.1, 12.1, [N/A], 3003, [N/A], 208, [N/A], [N/A], 40, [N/A], 0x0"
GPUS = [{"uuid": "GPU-aa"}, {"uuid": "GPU-ab"}, {"uuid": "GPU-b"}]


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


def smi(folder: Path, code: str) -> None:
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{code}\n", encoding="utf-8")
    file.chmod(0o755)


@pytest.mark.parametrize("name", ["NVIDIA GB10", "NVIDIA RTX 6000, Blackwell, Max-Q"])
def test_a_gpu_is_read_whatever_its_name_and_whatever_it_does_not_tell(
    tools: Path, name: str
) -> None:
    smi(tools, f"echo '{LINE.format(name=name)}'")
    (gpu,) = conditions.gpu()
    assert (gpu["name"], gpu["compute_cap"]) == (name, "12.1")
    assert gpu["memory.total"] == "[N/A]"


def test_a_driver_that_does_not_know_a_field_still_tells_which_gpu(tools: Path) -> None:
    smi(
        tools,
        'case "$1" in *clocks_event*) echo "Field \\"x\\" is not a valid field to query."; exit 2;; esac\n'
        "echo 'NVIDIA GB10, GPU-1, 520.1, 12.1'",
    )
    assert conditions.gpu() == [
        {"name": "NVIDIA GB10", "uuid": "GPU-1", "driver_version": "520.1", "compute_cap": "12.1"}
    ]


@pytest.mark.parametrize("code", ["exit 9", "echo nothing", "printf '\\377\\n'", "echo a, b, c"])
def test_what_makes_no_sense_names_no_gpu(tools: Path, code: str) -> None:
    smi(tools, code)
    assert conditions.gpu() == []


@pytest.mark.parametrize(
    ("value", "left"),
    [
        (None, [0, 1, 2]),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("GPU-b", [2]),
        ("0,7,1", [0]),
        ("", []),
        ("-1", []),
        ("MIG-1", [0, 1, 2]),
    ],
)
def test_what_cuda_hides_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, value: str | None, left: list[int]
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    assert visible(GPUS) == [GPUS[number] for number in left]


def test_settings_are_told_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "hush")
    monkeypatch.setenv("VLLM_USE_V1", "1" * 5000)
    variables = conditions.here(REQUEST)["variables"]
    assert "VLLM_API_KEY" not in variables
    assert len(variables["VLLM_USE_V1"]) < 1000


def test_the_preflight_needs_nothing_but_the_standard_library() -> None:
    told = subprocess.run(
        [sys.executable, "-S", "-m", "probes.preflight"],
        cwd=Path(conditions.__file__).parents[1],
        capture_output=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(told.stdout)
    assert answer["missing"] == ["torch", "pytest"]


def test_the_preflight_answers_from_a_python_that_is_too_old_for_the_suite() -> None:
    code = "import probes.preflight, sys; print('probes.request' in sys.modules)"
    told = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(conditions.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "False\n"
