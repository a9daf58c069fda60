from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from matrix.document import load
from matrix.stack import StacksFile
from reports.cli import main
from tests.matrix.test_schemas import refused_when_planted


class Told(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Told]
ASKED = ("vllm#35947", "--on", "vllm==0.33.0", "--target", "sm121")


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("COLUMNS", "100")

    def command(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", "try", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return Told(code, told.out, told.err)

    return command


def test_what_it_prints_is_a_file_of_stacks_with_the_plan_in_comments(
    run: Run, tmp_path: Path
) -> None:
    told = run(*ASKED)
    assert (told.code, told.err) == (0, "")
    (tmp_path / "patched.yaml").write_text(told.out)
    (stack,) = load(tmp_path / "patched.yaml", StacksFile).written
    assert stack.pins == {"vllm": "@v0.33.0 + #35947"}
    assert "# 1 job, 14 of 14 cells to probe\n" in told.out


def test_the_stack_goes_to_a_file_and_the_plan_to_the_terminal(run: Run, tmp_path: Path) -> None:
    told = run(*ASKED, "--output", str(tmp_path / "patched.yaml"))
    assert (told.code, told.err) == (
        0,
        f"{tmp_path / 'patched.yaml'}: stack vllm-0.33.0-with-vllm-35947\n",
    )
    assert told.out.startswith("1 job, ")
    assert load(tmp_path / "patched.yaml", StacksFile).written


def test_without_a_target_it_is_planned_for_every_gpu_with_fp4(run: Run) -> None:
    plan = json.loads(run(*ASKED[:3], "--json").out)["plan"]
    assert "sm121" in {job["target"] for job in plan["include"]}
    assert "sm90" not in {job["target"] for job in plan["include"]}


def test_what_it_prints_as_json_is_by_its_schema(run: Run) -> None:
    told = json.loads(run(*ASKED, "--json").out)
    assert told["stack"]["pins"] == {"vllm": "@v0.33.0 + #35947"}
    refused_when_planted("try", told)


def test_it_is_tried_on_what_a_pin_alone_names(run: Run) -> None:
    told = json.loads(run("vllm#7", "--on", "vllm@main + #35947", "--json").out)
    assert told["stack"]["pins"] == {"vllm": "@main + #35947 + #7"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["vllm#35947"], "Missing option '--on'"),
        (["vllm", "--on", "vllm==0.33.0"], "is no pull request"),
        (
            ["cutlass#3030", "--on", "vllm==0.33.0"],
            "nothing says how to build 'cutlass' from source",
        ),
        (["vllm#7", "--on", "vllm==0.33"], "unknown stack 'vllm==0.33'"),
        (["flashinfer#7", "--on", "vllm==0.8.5"], "vllm==0.8.5 has no flashinfer-python"),
        (["vllm#7", "--on", "vllm==0.33.0", "--target", "sm12"], "unknown target 'sm12'"),
        (["vllm#7", "--on", "vllm==0.33.0", "--output", "/nowhere/x"], "no folder to write"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(run: Run, arguments: list[str], words: str) -> None:
    told = run(*arguments)
    assert (told.code, told.out) == (2, "")
    assert told.err.count("\n") == 1
    assert words in told.err
