from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]

ONE = ("--stack", "vllm==0.11.0", "--target", "sm120", "--capability", "gemm")


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")


def test_json_is_the_contract(command: Command) -> None:
    code, out, _ = command("show", "--format", "json", *ONE, "--environment", "slim")
    report = json.loads(out)
    assert code == 0
    assert list(report) == ["generated", "targets", "stacks", "cells", "contradictions"]
    (cell,) = report["cells"]
    evidence = cell.pop("evidence")
    assert cell == {
        "stack": "vllm==0.11.0",
        "target": "sm120",
        "machine": "x86_64",
        "environment": "slim",
        "capability": "gemm",
        "declared": "yes",
        "compiled": "yes",
        "selected": "not_asked",
        "executed": "missing",
        "verdict": "broken",
        "reason": "unreachable_dispatch",
    }
    assert {"path", "piece", "gate", "defect", "stack"} == {item["kind"] for item in evidence}


def test_text_shows_the_headline_on_gpus_with_fp4_unless_asked_for_more(command: Command) -> None:
    stack = ("--stack", "vllm==0.33.0")
    _, brief, _ = command("show", *stack)
    assert "gemm  slim" in brief
    assert "moe  slim" in brief
    assert "kv-cache" not in brief
    assert "sm90" not in brief
    _, everything, _ = command("show", *stack, "--all")
    assert "kv-cache  slim" in everything
    assert "sm90" in everything
    _, control, _ = command("show", *stack, "--target", "sm90")
    assert "sm90" in control


def test_machine_and_environment_filter(command: Command) -> None:
    arguments = ("--stack", "vllm==0.33.0", "--machine", "aarch64", "--environment", "devel")
    _, out, _ = command("show", "--format", "json", *arguments)
    cells = json.loads(out)["cells"]
    assert {(cell["machine"], cell["environment"]) for cell in cells} == {("aarch64", "devel")}
    assert {cell["target"] for cell in cells} == {"sm90", "sm100", "sm103", "sm110", "sm121"}


def test_one_cell_is_told_with_its_evidence(command: Command) -> None:
    _, out, _ = command("show", *ONE)
    assert "vllm==0.11.0 sm120 x86_64 slim gemm  broken (unreachable_dispatch)" in out
    assert "vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl" in out


@pytest.mark.parametrize(
    ("form", "begins"), [("markdown", "## NVFP4"), ("html", "<!doctype html>")]
)
def test_the_other_forms_go_to_a_file(
    command: Command, tmp_path: Path, form: str, begins: str
) -> None:
    file = tmp_path / "report"
    code, out, _ = command("show", *ONE, "--format", form, "--output", file)
    assert (code, out) == (0, "")
    assert file.read_text("utf-8").lower().startswith(begins.lower())
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_markdown_of_the_whole_ledger_fits_a_comment_and_counts_what_it_left_out(
    command: Command,
) -> None:
    code, out, _ = command("show", "--format", "markdown", "--all")
    assert code == 0
    assert len(out) <= 65_536
    assert "contradictions" in out


def test_a_device_is_written_as_it_is(command: Command) -> None:
    code, _, err = command("show", *ONE, "--output", "/dev/null")
    assert (code, err) == (0, "")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--stack", "vllm==0.11.77"), "unknown stack 'vllm==0.11.77'; did you mean"),
        (("--stack", "vllm>=99"), "unknown stack 'vllm>=99'"),
        (("--stack", ""), "unknown stack ''"),
        (("--target", "sm122"), "unknown target 'sm122'; did you mean"),
        (("--capability", "gem"), "unknown capability 'gem'; did you mean gemm?"),
        (("--machine", "arm64"), "arm64"),
        (("--format", "pdf"), "pdf"),
    ],
)
def test_a_wrong_name_is_exit_2_and_says_the_nearest(
    command: Command, arguments: tuple[str, ...], told: str
) -> None:
    code, out, err = command("show", *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert "Traceback" not in err


def test_a_folder_that_is_not_there_is_exit_3_in_one_line(command: Command, tmp_path: Path) -> None:
    code, out, err = command("show", *ONE, "--output", tmp_path / "none" / "report.txt")
    assert (code, out) == (3, "")
    assert err.count("\n") == 1
    assert "No such file or directory" in err


def test_a_full_disk_leaves_the_old_file(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "report"
    file.write_text("old", "utf-8")

    def full(*_: object, **__: object) -> int:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("tempfile._TemporaryFileWrapper.flush", full, raising=False)
    code, _, err = command("show", *ONE, "--output", file)
    assert code == 3
    assert "No space left on device" in err
    assert file.read_text("utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_a_link_stays_a_link_and_a_mode_stays(command: Command, tmp_path: Path) -> None:
    file, link = tmp_path / "report", tmp_path / "link"
    file.write_text("old", "utf-8")
    file.chmod(0o600)
    link.symlink_to(file)
    assert command("show", *ONE, "--output", link)[0] == 0
    assert link.is_symlink()
    assert file.read_text("utf-8") != "old"
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_empty_output_and_a_machine_that_the_target_does_not_exist_with(
    command: Command,
) -> None:
    code, _, err = command("show", *ONE, "--output", "")
    assert (code, "names no file" in err) == (2, True)
    code, _, err = command("show", "--target", "sm121", "--machine", "x86_64")
    assert (code, "sm121 exists with aarch64 only" in err) == (2, True)
