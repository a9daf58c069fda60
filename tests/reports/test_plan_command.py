from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from matrix.cell import Report
from matrix.configuration import Configuration
from matrix.executed import Executed
from matrix.journal import Journal
from matrix.knowledge import Knowledge
from matrix.namedstack import NamedStack
from reports.cli import main
from tests.matrix.test_proberun import result
from tests.matrix.test_runner import listed, runner

NOW = "2026-11-21T03:00:00Z"


class Told(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Told]


class Known:
    """Knowledge of a report that is already folded."""

    def __init__(self, report: Report) -> None:
        self.whole = report
        self.configuration = Configuration()
        self.stacks = [NamedStack(stack.name, {"vllm": stack.version}) for stack in report.stacks]

    def report(
        self,
        *,
        generated: str,
        stacks: tuple[str, ...],
        targets: list[str],
        machines: tuple[str, ...],
        environments: tuple[str, ...],
        capabilities: tuple[str, ...],
        executed: Executed,
    ) -> Report:
        assert not list(executed.stacks([stack.name for stack in self.stacks]))
        return msgspec.structs.replace(
            self.whole,
            generated=generated,
            cells=tuple(
                cell
                for cell in self.whole.cells
                if ("all" in stacks or cell.stack in stacks)
                and cell.target in targets
                and (not machines or cell.machine in machines)
                and (not environments or cell.environment in environments)
                and (not capabilities or cell.capability in capabilities)
            ),
        )


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command on what the program comes with."""
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("reports.commands.plan.now", lambda: NOW)

    def run(*arguments: str) -> Told:
        monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", "plan", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return Told(code, told.out, told.err)

    return run


@pytest.fixture
def run(real: Run, report: Report, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command on the tests' report."""
    monkeypatch.setattr(Knowledge, "load", lambda: Known(report))
    return real


def plan(told: Told) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(told.out)
    return decoded


def test_without_a_stack_the_newest_is_planned_and_stderr_says_so(run: Run) -> None:
    told = run("--json")
    assert {entry["stack"] for entry in plan(told)["include"]} == {"vllm==0.33.0"}
    assert told.err == "planning vllm==0.33.0, the newest stack; --stack chooses others\n"


def test_a_stack_that_is_named_is_planned_without_a_word(run: Run) -> None:
    told = run("--json", "--stack", "vllm==0.32.1")
    assert {entry["stack"] for entry in plan(told)["include"]} == {"vllm==0.32.1"}
    assert told.err == ""


def test_the_control_is_planned_only_when_it_is_asked_for(run: Run) -> None:
    told = plan(run("--json"))
    everything = told["include"] + told["pruned"]
    assert "sm90" not in {entry["target"] for entry in everything}
    asked = plan(run("--json", "--target", "sm90"))["include"]
    assert [(entry["target"], entry["machine"]) for entry in asked] == [
        ("sm90", "x86_64"),
        ("sm90", "aarch64"),
    ]


def test_what_earlier_runs_took_is_what_is_saved(run: Run, tmp_path: Path) -> None:
    """On another stack: of this one nothing may have been run."""
    asked = ["--stack", "vllm==0.31.0", "--target", "sm121", "--capability", "gemm"]
    ran = [result(load, run="a", durations={"probe": 90.0}) for load in ("m=1", "m=2")]
    Journal(tmp_path).append(ran)
    made = plan(run("--json", *asked, "--results", str(tmp_path)))
    assert [each["seconds"] for each in (*made["include"], *made["pruned"])] == [180.0, 180.0]
    told = run(*asked, "--results", str(tmp_path)).out
    assert "1 job, 1 of 2 cells to probe, about 3.0 min of GPUs" in told
    assert "Not sent to a runner: 1 cell, about 3.0 min of GPUs saved" in told
    assert "GPUs" not in run(*asked).out


def test_an_entry_is_what_a_workflow_needs(run: Run) -> None:
    told = plan(
        run("--json", "--stack", "vllm==0.31.0", "--target", "sm121", "--capability", "gemm")
    )
    assert told.pop("run").startswith("plan-20261121T030000-")
    assert told == {
        "when": "2026-11-21T03:00:00Z",
        "missing": [],
        "include": [
            {
                "id": told["include"][0]["id"],
                "stack": "vllm==0.31.0",
                "target": "sm121",
                "machine": "aarch64",
                "environments": ["devel"],
                "capabilities": ["gemm"],
                "cells": {"devel": ["gemm"]},
                "runs_on": ["self-hosted", "linux", "arm64", "gpu", "sm121"],
                "seconds": 0.0,
                "minutes": 120,
            }
        ],
        "pruned": [
            {
                "stack": "vllm==0.31.0",
                "target": "sm121",
                "machine": "aarch64",
                "environment": "slim",
                "capability": "gemm",
                "verdict": "broken",
                "reason": "no_kernel_image",
                "seconds": 0.0,
            }
        ],
    }


def test_capabilities_of_an_entry_are_told_once(run: Run) -> None:
    (entry,) = plan(run("--json", "--target", "sm121"))["include"]
    assert entry["capabilities"] == list(dict.fromkeys(entry["capabilities"]))
    assert set(entry["capabilities"]) == {n for names in entry["cells"].values() for n in names}


def test_filters_narrow_what_is_probed(run: Run) -> None:
    told = run(
        "--json", "--machine", "x86_64", "--environment", "slim", "--capability", "gemm",
    )  # fmt: skip
    include = plan(told)["include"]
    assert {entry["machine"] for entry in include} == {"x86_64"}
    assert all(entry["cells"] == {"slim": ["gemm"]} for entry in include)


def test_releases_with_the_same_jobs_are_one_line(run: Run) -> None:
    lines = run("--stack", "all", "--target", "sm121", "--capability", "gemm").out.splitlines()
    assert lines[0] == "4 jobs, 5 of 16 cells to probe"
    assert "vllm 0.33.0           sm121   aarch64     1  gemm" in lines
    assert "vllm 0.31.0 \u2013 0.32.1  sm121   aarch64     3  devel: gemm" in lines


def test_what_is_pruned_stands_under_its_verdict_and_reason(run: Run) -> None:
    lines = run("--stack", "all", "--target", "sm121", "--capability", "gemm").out.splitlines()
    start = lines.index("broken: no_kernel_image")
    assert lines[start + 1 : start + 3] == [
        "vllm 0.31.0 \u2013 0.32.1  sm121  aarch64  3  slim: gemm",
        "vllm 0.24.0 \u2013 0.28.0  sm121  aarch64  4  gemm",
    ]
    assert "Not sent to a runner: 11 cells" in lines


def test_no_job_is_told_on_stderr_and_the_object_stays_whole(run: Run) -> None:
    told = run(
        "--json", "--stack", "vllm==0.24.0", "--target", "sm121", "--capability", "gemm",
    )  # fmt: skip
    assert told.code == 0
    assert plan(told)["include"] == []
    assert told.err == "nvfp4-matrix: no job: every cell is pruned\n"


@pytest.mark.parametrize(("releases", "warned"), [(36, False), (37, True)])
def test_more_jobs_than_github_takes_are_told_on_stderr(
    real: Run,
    large: Report,
    monkeypatch: pytest.MonkeyPatch,
    releases: int,
    warned: bool,
) -> None:
    kept = {stack.name for stack in large.stacks[:releases]}
    cells = [
        msgspec.structs.replace(cell, verdict="likely", reason="")
        for cell in large.cells
        if cell.stack in kept and cell.target != "sm90"
    ]
    few = msgspec.structs.replace(large, cells=tuple(cells))
    monkeypatch.setattr(Knowledge, "load", lambda: Known(few))
    told = real("--json", "--stack", "all")
    assert len(plan(told)["include"]) == releases * 7
    assert ("GitHub runs 256 of one matrix at most" in told.err) is warned
    assert told.err.count("\n") == warned


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--target", "sm12"), "did you mean sm121?"),
        (("--target", "sm121", "--machine", "x86_64"), "sm121 exists with aarch64 only"),
        (("--stack", "vlm==0.33.0"), "unknown stack"),
        (("--capability", "gem"), "did you mean gemm?"),
    ],
)
def test_a_wrong_name_is_one_line_and_exit_2(
    real: Run, arguments: tuple[str, ...], word: str
) -> None:
    told = real(*arguments)
    assert (told.code, told.out) == (2, "")
    assert word in told.err
    assert told.err.count("\n") == 1


def test_no_stack_at_all_is_one_line_and_exit_2(
    real: Run, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = msgspec.structs.replace(report, stacks=(), cells=())
    monkeypatch.setattr(Knowledge, "load", lambda: Known(nothing))
    told = real()
    assert told.code == 2
    assert "there is no stack to plan for" in told.err


def test_help_shows_the_workflow_that_takes_the_plan(real: Run) -> None:
    told = real("--help").out
    assert "plan --runners runners.json --output plan.json --github-output" in told
    workflow = Path(__file__).parents[2] / ".github" / "workflows" / "run.yml"
    assert workflow.name in told
    assert "--github-output" in workflow.read_text("utf-8")


def test_nothing_that_a_terminal_obeys_comes_through(
    real: Run, hostile: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Knowledge, "load", lambda: Known(hostile))
    told = real("--stack", "all")
    assert "<img" in told.out
    assert not any(character in told.out + told.err for character in "\x1b\x07\u202e")


def test_every_real_cell_is_planned_or_pruned_once(real: Run) -> None:
    told = plan(real("--json", "--stack", "vllm>=0.30"))
    places = [
        (e["stack"], e["target"], e["machine"], environment, name)
        for e in told["include"]
        for environment, names in e["cells"].items()
        for name in names
    ] + [
        (e["stack"], e["target"], e["machine"], e["environment"], e["capability"])
        for e in told["pruned"]
    ]
    knowledge = Knowledge.load()
    cells = knowledge.report(
        generated="",
        stacks=["vllm>=0.30"],
        targets=[gpu.name for gpu in knowledge.configuration.targets if gpu.fp4],
    ).cells
    assert Counter(places) == Counter(
        (c.stack, c.target, c.machine, c.environment, c.capability) for c in cells
    )


def test_a_choice_that_needs_a_compiler_goes_to_no_runner_without_one(real: Run) -> None:
    told = plan(real("--json", "--stack", "vllm==0.20.2", "--target", "sm120"))
    pruned = {(e["environment"], e["capability"]): e["reason"] for e in told["pruned"]}
    assert pruned["slim", "gemm"] == pruned["slim", "moe"] == "no_compiler"
    (job,) = told["include"]
    assert {"gemm", "moe"} <= set(job["cells"]["devel"])


SPARK = ("--stack", "vllm==0.33.0", "--target", "sm121", "--capability", "gemm")


@pytest.fixture
def runners(tmp_path: Path) -> Path:
    """GitHub's list: a Spark that is switched off, and a workstation."""
    path = tmp_path / "runners.json"
    path.write_bytes(
        listed(
            runner(status="offline"),
            runner("work", labels=("self-hosted", "linux", "x64", "gpu", "sm120")),
        )
    )
    return path


def test_a_job_without_a_runner_is_missing_and_not_sent(run: Run, runners: Path) -> None:
    told = run(
        "--json", "--capability", "gemm", "--target", "sm120", "--target", "sm121",
        "--runners", str(runners),
    )  # fmt: skip
    made = plan(told)
    assert {entry["target"] for entry in made["include"]} == {"sm120"}
    assert {(each["target"], each["why"], each["since"]) for each in made["missing"]} == {
        ("sm121", "runner offline", NOW)
    }
    assert told.err.splitlines()[-1] == (
        f"nvfp4-matrix: missing: sm121 aarch64: runner offline since {NOW} (1 job)"
    )


def test_since_when_a_runner_is_away_is_what_results_tell(
    run: Run, runners: Path, tmp_path: Path
) -> None:
    away = {"status": "missing", "reason": "runner_offline", "metrics": {}, "kernels": ()}
    Journal(tmp_path / "r").append([result("", when="2026-11-19T03:00:00Z", **away)])
    told = run(*SPARK, "--json", "--runners", str(runners), "--results", str(tmp_path / "r"))
    assert plan(told)["missing"][0]["since"] == "2026-11-19T03:00:00Z"
    assert told.err.endswith("nvfp4-matrix: no job: no runner is there\n")


def test_runners_that_start_with_a_job_are_waited_for(run: Run, runners: Path) -> None:
    told = run(*SPARK, "--json", "--runners", str(runners), "--elastic", "sm121")
    assert (len(plan(told)["include"]), plan(told)["missing"], told.err) == (1, [], "")


def test_a_workflow_is_handed_chunks_and_the_plan_is_a_file(
    run: Run, runners: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, file = tmp_path / "outputs", tmp_path / "plan.json"
    outputs.write_text("before=1\n")
    monkeypatch.setenv("GITHUB_OUTPUT", str(outputs))
    asked = ("--stack", "all", "--capability", "gemm", "--runners", str(runners))
    told = run(*asked, "--github-output", "--output", str(file))
    before, *lines = outputs.read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines)
    made = json.loads(file.read_text())
    (chunk,) = json.loads(values["chunks"])
    assert (before, told.code) == ("before=1", 0)
    assert (chunk["name"], chunk["at_once"]) == ("sm120 x86_64", 1)
    assert [e["id"] for e in chunk["include"]] == [e["id"] for e in made["include"]]
    assert values["digest"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (values["jobs"], values["missing"]) == (
        str(len(made["include"])),
        str(len(made["missing"])),
    )


def test_an_output_too_large_for_github_is_one_line_and_exit_2(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    monkeypatch.setattr("reports.workflow.LARGEST", 100)
    told = run("--github-output")
    assert told.code == 2
    assert "more than a job may hand on (100)" in told.err
    assert not (tmp_path / "outputs").exists()


def test_outside_of_a_workflow_there_is_nothing_to_hand_on_to(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_OUTPUT", raising=False)
    told = run("--github-output")
    assert told.code == 2
    assert "$GITHUB_OUTPUT names no file" in told.err


def test_one_field_names_several_and_an_empty_one_none(run: Run) -> None:
    told = run("--json", "--stack", "vllm==0.32.1; vllm==0.32.0", "--target", "sm121;sm120")
    include = plan(told)["include"]
    assert {entry["stack"] for entry in include} == {"vllm==0.32.1", "vllm==0.32.0"}
    assert {entry["target"] for entry in include} == {"sm121", "sm120"}
    assert run("--json", "--stack", "", "--target", "") == run("--json")


def test_without_a_list_of_runners_every_job_is_sent(run: Run, tmp_path: Path) -> None:
    (tmp_path / "unknown.json").write_text("null")
    asked = run("--json", "--runners", str(tmp_path / "unknown.json"))
    assert asked == run("--json")


def test_stacks_that_a_push_changed_are_planned_beside_the_newest(
    real: Run, tmp_path: Path
) -> None:
    """Of the files that the program comes with; before the push they held no stack by hand."""
    before = tmp_path / "stacks.yaml"
    before.write_text("as_released: []\n")
    named = [stack.name for stack in Configuration().stacks.written]
    told = real("--json", "--target", "sm121", "--changed-since", str(before))
    newest = Knowledge.load().stacks[0].name
    made = plan(told)
    everything = {each["stack"] for each in (*made["include"], *made["pruned"])}
    assert everything == {newest, *named}
    missing = real("--json", "--target", "sm121", "--changed-since", str(tmp_path / "none"))
    assert {each["stack"] for each in plan(missing)["include"]} == {newest}
    assert "nothing is held against it" in missing.err


def test_what_a_pull_request_proposes_is_planned_and_nothing_else(
    real: Run, tmp_path: Path
) -> None:
    file = tmp_path / "stacks.yaml"
    file.write_text("as_released: []\nwritten: [{name: theirs, pins: {vllm: 0.33.0}}]\n")
    made = plan(real("--json", "--target", "sm121", "--proposed", str(file)))
    assert {each["stack"] for each in made["include"]} == {"theirs"}
    file.write_text("as_released: []\n")
    told = real("--proposed", str(file))
    assert (told.code, told.err.count("\n")) == (2, 1)
    assert "has no stack by hand that we have not" in told.err


@pytest.mark.parametrize("text", ["vllm@main + #35947", "vllm@main+#35947"])
def test_a_commit_with_pull_requests_is_planned_though_nothing_is_known_of_it(
    real: Run, text: str
) -> None:
    made = plan(real("--json", "--target", "sm121", "--stack", text))
    assert [each["stack"] for each in made["include"]] == ["vllm@main + #35947"]
    assert made["pruned"] == []


def test_a_pin_that_is_none_is_one_line_and_exit_2(real: Run) -> None:
    told = real("--stack", "vllm@--upload-pack=x")
    assert (told.code, told.out, told.err.count("\n")) == (2, "", 1)
