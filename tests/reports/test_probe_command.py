from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pytest_httpserver import HTTPServer

from images import gpu
from matrix import schemas
from matrix.errors import OutsideError
from reports.commands import stackrun

Command = Callable[..., tuple[int, str, str]]

INTERPRETER = """#!{python}
import json, sys
if "probes.preflight" in sys.argv:
    print(json.dumps({told}))
"""


def interpreter(folder: Path, **changes: object) -> Path:
    """Write what answers as an interpreter with a stack in it would."""
    told = {
        "python": "3.12.3",
        "machine": "aarch64",
        "packages": {"vllm": "0.33.0"},
        "missing": [],
        "compilers": [],
        "gpu": [],
    } | changes
    code = INTERPRETER.format(python=sys.executable, told=repr(told))
    code += "elif '-c' in sys.argv:\n    print('nvfp4 3 12')\n"
    path = folder / "python"
    path.write_text(code, encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say where: a STACK, --image IMAGE, or --here"),
        (("--here", "--only", "corectness"), "probes begin with availability, correctness"),
        (("--here", "--python", "/nowhere"), "/nowhere is not there"),
        (("--here", "--limit", "0"), "--limit 0: seconds, from 1 to 604800"),
        (("--here", "--limit", "nan"), "--limit nan: seconds"),
        (("--here", "--soak", "inf"), "--soak inf: seconds"),
        (("--here", "--self-test", "--resume", "x"), "--self-test goes with --only"),
        (("--here", "--self-test", "--results", "x"), "nothing is kept"),
        (("--here", "vllm==0.33.0"), "say where: a STACK, --image IMAGE, or --here"),
        (("--image", "x", "vllm==0.33.0"), "say where"),
        (("--here", "--base", "x", "--wait"), "--here goes without --wait, --base: there is no"),
        (("vllm==0.33.0", "--run-limit", "0"), "--run-limit 0: seconds, from 1"),
        (("vllm==0.33.0", "--memory", "lots"), "--memory lots: write it as 64g"),
        (("vllm==0.33.0", "--memory", "1m"), "--memory 1m: write it as 64g or 900m, at least 64m"),
        (("vllm==0.33.0", "--memory", "9e9g"), "--memory 9e9g: write it"),
        (("vllm==0.33.0", "--stack", "x"), "--stack goes with --here"),
        (("vllm==0.33.0", "--self-test", "--gpu", "x"), "--self-test is of this CPU"),
        (("vllm==0.33.0", "--fresh", "--resume", "x"), "say one of them"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(
    command: Command, arguments: tuple[str, ...], said: str
) -> None:
    code, out, err = command("probe", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"missing": ["torch"]}, "torch not installed there"),
        ({"gpu": []}, "no NVIDIA GPU here (nvidia-smi names none,"),
        ({"packages": {"torch": "2.14"}}, "vllm is not installed there"),
        (
            {"gpu": [{"name": "NVIDIA L4", "uuid": "GPU-1", "compute_cap": "8.9"}]},
            "NVIDIA L4 has compute capability 8.9, which is no target",
        ),
    ],
)
def test_an_environment_that_cannot_be_probed_is_told(
    command: Command, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    python = interpreter(tmp_path, **changes)
    code, _, err = command("probe", "--here", "--python", str(python))
    assert code == 2
    assert said in err
    assert err.count("\n") == 1


def test_a_broken_interpreter_is_a_failed_tool(command: Command, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(
        f"#!{sys.executable}\nimport sys\nif '-c' in sys.argv: print('nvfp4 3 12')\n",
        encoding="utf-8",
    )
    python.chmod(0o755)
    code, _, err = command("probe", "--here", "--python", str(python))
    assert code == 3
    assert "does not say what is installed" in err


def test_a_run_that_is_not_there_is_told(command: Command, tmp_path: Path) -> None:
    gpu = {"name": "NVIDIA GB10", "uuid": "GPU-1", "compute_cap": "12.1"}
    python = interpreter(tmp_path, gpu=[gpu])
    code, _, err = command(
        "probe",
        "--here",
        "--python",
        str(python),
        "--resume",
        "x",
        "--results",
        str(tmp_path / "r"),
    )
    assert code == 2
    assert "has no run of that name" in err


@pytest.mark.parametrize(
    ("host", "code", "said"),
    [
        ("tcp://127.0.0.1:9", 3, "no Docker engine answers at tcp://127.0.0.1:9"),
        ("unix:///nowhere/docker.sock", 3, "no Docker engine answers at unix:///nowhere"),
    ],
)
def test_without_an_engine_a_run_in_an_image_is_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, host: str, code: int, said: str
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)
    told = command("probe", "--image", "nvfp4-matrix:0")
    assert told[:2] == (code, "")
    assert said in told[2]


def test_another_machines_engine_is_refused(
    command: Command, monkeypatch: pytest.MonkeyPatch, httpserver: HTTPServer
) -> None:
    told = {"Version": "20.10.24", "ApiVersion": "1.41", "Arch": "amd64", "Os": "linux"}
    for path in ("/version", "/v1.41/version"):
        httpserver.expect_request(path).respond_with_json(told)
    monkeypatch.setenv("DOCKER_HOST", f"tcp://{httpserver.host}:{httpserver.port}")
    code, _, err = command("probe", "--image", "nvfp4-matrix:0")
    assert "DOCKER_HOST is another machine's engine" in err
    assert code == 2


@pytest.mark.torch
def test_the_self_test_probes_the_reference_and_every_line_is_of_the_schema(
    command: Command,
) -> None:
    pytest.importorskip("torch")
    if shutil.which("nvidia-smi"):
        pytest.skip("the reference is probed on a CPU")
    code, out, err = command(
        "probe",
        "--here",
        "--python",
        sys.executable,
        "--self-test",
        "--json",
        "--only",
        "correctness.gemm",
    )
    assert code == 0, err
    validator = Draft202012Validator(schemas.schema("result"))
    lines = [json.loads(line) for line in out.splitlines()]
    assert lines
    for line in lines:
        validator.validate(line)
        assert line["status"] == "pass"
        assert line["kernels"] == ["reference_nvfp4_gemm"]


def test_what_a_dead_run_left_is_removed_once_its_gpu_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a run that is killed then gets its lock, while its container still computes."""
    tmp_path.chmod(0o1777)
    monkeypatch.setattr(gpu, "LOCKS", (tmp_path,))
    monkeypatch.setenv("PATH", "/nowhere")
    held: list[bool] = []

    def clear() -> list[str]:
        with (
            pytest.raises(OutsideError, match="has it"),
            gpu.held("GPU-1", wait=False, tell=print),
        ):
            pass
        held.append(True)
        return ["left"]

    engine: Any = SimpleNamespace(clear=clear)
    with stackrun._alone("GPU-1", engine, wait=True):
        assert held == [True]
