from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from matrix.journal import Journal
from matrix.planned import PlanOutput
from reports.cli import main
from reports.driving.planfile import digest
from tests.matrix.test_proberun import opening, result
from tests.matrix.test_returned import AWAY, NOW, outline

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("reports.commands.collect.now", lambda: NOW)
    (tmp_path / "artifacts").mkdir()

    def called(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", "collect", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return called


@pytest.fixture
def plan(tmp_path: Path) -> PlanOutput:
    made = outline(AWAY)
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(made))
    return made


ASKED = ("artifacts", "--plan", "plan.json", "--results", "kept")


def test_what_came_back_and_what_did_not_are_results(
    run: Run, plan: PlanOutput, tmp_path: Path
) -> None:
    lines = (opening("m=1", "m=2"), result("m=1"))
    folder = tmp_path / "artifacts" / "results-any"
    folder.mkdir()
    (folder / "one.jsonl").write_bytes(
        b"".join(msgspec.json.encode(line) + b"\n" for line in lines) + b'{"cut": '
    )
    code, out, err = run(*ASKED)
    assert code == 0
    assert "one: 1 results of vllm==0.33.0, sm121 aarch64 slim\n" in out
    assert (
        "missing (runner_offline): vllm==0.33.0, sm120 x86_64 slim gemm: runner offline since"
        in out
    )
    assert err == "nvfp4-matrix: left out: results-any/one.jsonl:3: the line is cut\n"
    read = Journal(tmp_path / "kept").read()
    assert [run.run for run in read.runs] == ["one"]
    assert sorted((r.status, r.reason, r.run) for r in read.results) == sorted(
        [
            ("pass", "", "one"),
            ("missing", "runner_lost", "one"),  # m=2, which the run planned itself
            ("missing", "runner_lost", plan.run),  # devel
            *[("missing", "runner_offline", plan.run)] * 3,
        ]
    )


@pytest.mark.usefixtures("plan")
def test_a_secret_that_a_probe_printed_is_not_kept(run: Run, tmp_path: Path) -> None:
    token = "ghp_abcdefghijklmnopqrst1234"
    told = result("m=1", when=NOW, text=f"HUB_TOKEN={token}")
    (tmp_path / "artifacts" / "one.jsonl").write_bytes(msgspec.json.encode(told) + b"\n")
    for _ in range(2):
        assert run(*ASKED)[0] == 0
        assert token not in "".join(path.read_text() for path in (tmp_path / "kept").iterdir())
        read = Journal(tmp_path / "kept").read()
        assert [each.text for each in read.results if each.run == "one"] == ["HUB_TOKEN=***"]


def test_the_same_again_changes_nothing(run: Run, plan: PlanOutput, tmp_path: Path) -> None:
    (tmp_path / "artifacts" / "one.jsonl").write_bytes(
        msgspec.json.encode(result("m=1", when=NOW)) + b"\n"
    )
    run(*ASKED)
    kept = {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    assert run(*ASKED)[0] == 0
    assert {path: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == kept
    assert plan.run in {path.stem for path in kept}


def test_a_run_that_was_cut_off_goes_on_and_what_is_kept_of_it_stays(
    run: Run, plan: PlanOutput, tmp_path: Path
) -> None:
    del plan
    kept = tmp_path / "kept"
    Journal(kept).append([result("m=1")])
    before = (kept / "one.jsonl").read_bytes()
    lines = (result("m=1"), result("m=2"))
    (tmp_path / "artifacts" / "one.jsonl").write_bytes(
        b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
    )
    assert run(*ASKED)[::2] == (0, "")
    after = (kept / "one.jsonl").read_bytes()
    assert after.startswith(before)
    assert [r.load for r in Journal(kept).read().results if r.run == "one"] == [("m=1",), ("m=2",)]


def test_a_run_of_another_place_is_not_added_to(run: Run, plan: PlanOutput, tmp_path: Path) -> None:
    del plan
    kept = tmp_path / "kept"
    Journal(kept).append([result("m=1", stack="vllm==0.20.0")])
    before = (kept / "one.jsonl").read_bytes()
    (tmp_path / "artifacts" / "one.jsonl").write_bytes(msgspec.json.encode(result("m=1")) + b"\n")
    _, _, err = run(*ASKED)
    assert "one.jsonl:1: the run is of another place than this line" in err
    assert (kept / "one.jsonl").read_bytes() == before


def test_what_a_runner_was_handed_and_hands_back_is_neither_news_nor_a_complaint(
    run: Run, plan: PlanOutput, tmp_path: Path
) -> None:
    """Of this plan's place as well: that it was found before does not say that anything came back today."""
    del plan
    old = result("m=1", run="old", when="2026-11-01T00:00:00Z")
    other = result("m=1", run="other", stack="vllm==0.20.0", when="2026-11-01T00:00:00Z")
    Journal(tmp_path / "kept").append([old, other])
    for name in ("old", "other"):
        content = (tmp_path / "kept" / f"{name}.jsonl").read_bytes()
        (tmp_path / "artifacts" / f"{name}.jsonl").write_bytes(content)
    code, out, err = run(*ASKED)
    assert (code, err) == (0, "")
    assert "old: " not in out
    assert "missing (runner_lost): vllm==0.33.0, sm121 aarch64 slim gemm" in out


def test_nothing_that_a_runner_writes_begins_a_line_or_commands_a_terminal(
    run: Run, plan: PlanOutput, tmp_path: Path
) -> None:
    del plan
    hostile = result("m=1", text="\n::error::owned\x1b[2J").stack
    line = msgspec.json.encode(result("m=1", stack=hostile + " ::stop-commands::x")) + b"\n"
    (tmp_path / "artifacts" / "one.jsonl").write_bytes(line)
    (tmp_path / "artifacts" / "::error::x").symlink_to("/etc/passwd")
    (tmp_path / "artifacts" / "two.jsonl").write_bytes(b'{"\\n::set-env name=X::": 1}\n')
    _, out, err = run(*ASKED)
    for each in (out + err).splitlines():
        assert each.startswith(("nvfp4-matrix: left out: ", "missing (runner"))
        assert "\x1b" not in each


@pytest.mark.parametrize("content", ["", "{}", "null", "[1]", '{"include": []}'])
def test_what_is_no_plan_is_one_line_and_exit_2(run: Run, tmp_path: Path, content: str) -> None:
    (tmp_path / "plan.json").write_text(content)
    code, out, err = run(*ASKED)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "plan.json: is no plan that `plan --output` wrote" in err


def test_a_file_that_is_not_there_is_one_line_and_exit_2(run: Run, tmp_path: Path) -> None:
    assert run(*ASKED)[0] == 2
    (tmp_path / "plan.json").write_text(json.dumps(msgspec.to_builtins(outline())))
    assert run("nothing", *ASKED[1:]) == (
        2, "", "nvfp4-matrix: nothing: is no folder of artifacts\n",
    )  # fmt: skip


def test_the_summary_of_a_run_says_what_is_missing_and_why(
    run: Run, plan: PlanOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del plan
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    (tmp_path / "artifacts" / "one.jsonl").write_bytes(
        msgspec.json.encode(result("m=1")) + b"\n{}\n"
    )
    assert run(*ASKED, "--summary")[0] == 0
    told = summary.read_text()
    assert told.startswith("before\n## What came back\n\n1 results of 1 runs.\n")
    assert "**4 cells are missing:**" in told
    assert "- `sm120` x86\\_64: runner offline since 2026" in told.replace("x86_64", "x86\\_64")
    assert "(3 cells)" in told
    assert "1 lines or files were left out" in told


def test_a_summary_outside_of_a_workflow_is_one_line_and_exit_2(
    run: Run, plan: PlanOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    del plan
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    code, _, err = run(*ASKED, "--summary")
    assert (code, err.count("\n")) == (2, 1)


def test_a_plan_that_somebody_replaced_is_refused(
    run: Run, plan: PlanOutput, tmp_path: Path
) -> None:
    """A job of the run may put another artifact in its place."""
    made = digest(msgspec.json.encode(plan))
    assert run(*ASKED, "--digest", made)[0] == 0
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(plan) + b"\n")
    code, _, err = run(*ASKED, "--digest", made)
    assert (code, err) == (
        2, "nvfp4-matrix: plan.json: is not the plan that was made; somebody changed it\n",
    )  # fmt: skip
