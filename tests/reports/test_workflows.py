"""The workflow files, by themselves: every step is a line, and every line is a command that exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import pytest
import yaml

from matrix.configuration import Configuration
from matrix.plan import Job, labels
from reports.cli import cli
from reports.driving.approval import LABEL
from reports.driving.asked import WORD

FOLDER: Final = Path(__file__).parents[2] / ".github" / "workflows"
FILES: Final = sorted(FOLDER.glob("*.yml"))

PINNED: Final = {
    "actions/checkout": ("3d3c42e5aac5ba805825da76410c181273ba90b1", "v7.0.1"),
    "actions/upload-artifact": ("bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"),
    "actions/cache/restore": ("27d5ce7f107fe9357f9df03efb73ab90386fccae", "v5.0.5"),
    "actions/cache/save": ("27d5ce7f107fe9357f9df03efb73ab90386fccae", "v5.0.5"),
    "actions/download-artifact": ("3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c", "v8.0.1"),
}
"""Commit and tag, as the repositories' own refs have them (read on 2026-11-21)."""

OTHERS: Final = (
    "python3 -m venv .venv",
    ".venv/bin/python -m pip install --quiet --constraint .ci/constraints.txt --editable .",
    "mkdir -p kept/results",
    "mkdir -p kept/results artifacts",
    "mkdir -p kept",
    "mkdir -p outbox",
    "cp -r kept results",
)
"""What is run beside our own command."""

SELF_HOSTED: Final = "jobs.yml"
"""The one file whose jobs run on self-hosted runners."""

PROGRAM: Final = ".venv/bin/nvfp4-matrix"


class Step(NamedTuple):
    file: str
    job: str
    content: dict[str, Any]


def document(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader)
    return loaded


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in FILES:
        for name, job in document(path)["jobs"].items():
            yield path.name, name, job


def steps() -> Iterator[Step]:
    for file, name, job in jobs():
        for step in job.get("steps", ()):
            yield Step(file, name, step)


RUNS: Final = sorted({step.content["run"] for step in steps() if "run" in step.content})
OURS: Final = [line for line in RUNS if line.startswith(PROGRAM)]


def test_there_are_workflows_and_each_says_first_what_it_is_for() -> None:
    assert len(FILES) == 7
    assert all(path.read_text("utf-8").startswith("# ") for path in FILES)


@pytest.mark.parametrize("line", RUNS)
def test_a_step_is_one_line_of_a_command_and_no_script(line: str) -> None:
    assert "\n" not in line.strip()
    assert "${{" not in line
    assert not re.search(r"[|;&<>`]|\$\(", line)
    assert line in OTHERS or line.startswith(f"{PROGRAM} ")


@pytest.mark.parametrize("line", OURS)
@pytest.mark.parametrize("filled", [True, False])
def test_the_command_of_a_step_exists_and_has_its_options(line: str, *, filled: bool) -> None:
    """Variables are parsed as one word each, as a shell hands them over; those that add an option both ways."""
    optional = re.sub(r"\$\{[A-Z]+:\+([^}]*)\}", r"\1" if filled else "", line)
    plain = re.sub(r'"\$[A-Z]+"', "1", optional)
    assert "$" not in plain, "a variable outside of quotes"
    _, name, *arguments = shlex.split(plain)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    command.make_context(name, arguments)


def test_a_variable_of_a_step_is_one_that_the_step_has() -> None:
    for step in steps():
        used = set(re.findall(r"\$\{?([A-Z]+)", step.content.get("run", "")))
        given = set(step.content.get("env", {}))
        assert used <= given, step
        assert given - used <= {"GITHUB_TOKEN", "NVFP4_MATRIX_TOKEN"}, step


def test_actions_are_those_of_github_pinned_by_commit_with_their_tag_beside() -> None:
    for path in FILES:
        for line in path.read_text("utf-8").splitlines():
            if match := re.search(r"uses: ([\w/-]+)@(\S+)(?: # (\S+))?", line):
                assert PINNED[match[1]] == (match[2], match[3]), f"{path.name}: {line}"
            elif "uses:" in line:
                local = line.partition("$/.github/workflows/")[2]
                assert (FOLDER / local).is_file(), f"{path.name}: {line}"


def test_no_checkout_leaves_its_token_behind_or_takes_a_pull_request() -> None:
    found = [s.content for s in steps() if s.content.get("uses", "").startswith("actions/checkout")]
    assert found
    for step in found:
        assert step["with"]["persist-credentials"] == "false"
        assert step["with"].get("ref", "results") in ("results", "${{ inputs.before }}")
        assert "repository" not in step["with"]
        assert "allow-unsafe-pr-checkout" not in step["with"]


def test_the_commit_before_is_read_after_a_push_alone() -> None:
    """Its stacks are data, as ours are; only who can push to the branch made it."""
    given = {path.name: path.read_text("utf-8").count("before: ${{") for path in FILES}
    assert {name for name, count in given.items() if count} == {"matrix.yml"}
    assert "github.event.before" in (FOLDER / "matrix.yml").read_text("utf-8")
    assert "pull_request_target" not in document(FOLDER / "matrix.yml")["on"]


def test_nothing_is_granted_to_a_whole_workflow_and_every_job_says_what_it_needs() -> None:
    for path in FILES:
        assert document(path)["permissions"] == {}, path.name
    for file, name, job in jobs():
        assert "permissions" in job, f"{file}: {name}"
        assert "write-all" not in str(job["permissions"])


def test_only_one_file_runs_on_self_hosted_runners_and_it_can_do_nothing_else() -> None:
    for file, name, job in jobs():
        if "runs-on" not in job:
            continue
        if file == SELF_HOSTED:
            assert job["runs-on"] == "${{ matrix.runs_on }}"
            assert job["permissions"] == {"contents": "read"}
        else:
            assert job["runs-on"] == "ubuntu-latest", f"{file}: {name}"
    text = (FOLDER / SELF_HOSTED).read_text("utf-8")
    assert "secrets." not in text
    assert "github.token" not in text
    assert document(FOLDER / SELF_HOSTED)["on"].keys() == {"workflow_call"}


def test_no_workflow_that_a_fork_writes_reaches_a_self_hosted_runner() -> None:
    """`pull_request` takes the workflow from the pull request: none is started by it, and `secrets: inherit` by none."""
    for path in FILES:
        events = document(path)["on"]
        assert "pull_request" not in events
        assert "workflow_run" not in events
        assert "inherit" not in path.read_text("utf-8")


def test_what_plans_has_no_secret() -> None:
    for file, name, job in jobs():
        if "secrets." in str(job.get("steps", ())):
            assert (file, name) == ("run.yml", "runners")
    plan = document(FOLDER / "run.yml")["jobs"]["plan"]
    assert "token" not in str(plan["steps"])


def test_every_job_has_an_end() -> None:
    for file, name, job in jobs():
        assert ("timeout-minutes" in job) is ("steps" in job), f"{file}: {name}"


def test_a_job_that_fails_stops_no_other() -> None:
    strategies = [job["strategy"] for _, _, job in jobs() if "strategy" in job]
    assert len(strategies) == 2
    assert all(strategy["fail-fast"] == "false" for strategy in strategies)


def test_the_runners_of_a_target_are_one_runs_at_a_time_and_nobody_is_dropped() -> None:
    held = document(FOLDER / "run.yml")["jobs"]["jobs"]["concurrency"]
    assert held == {
        "group": "gpu-${{ matrix.chunk.target }}-${{ matrix.chunk.machine }}",
        "queue": "max",
        "cancel-in-progress": "false",
    }


def test_no_push_is_dropped_where_what_it_changed_is_planned() -> None:
    """GitHub keeps one that waits unless it is told otherwise, and the next push does not tell of this one's stacks."""
    for path in FILES:
        if "before: ${{ github.event.before" in path.read_text("utf-8"):
            assert document(path)["concurrency"]["queue"] == "max"


def test_results_are_handed_on_whatever_became_of_the_job() -> None:
    *_, handed, results, logs = document(FOLDER / SELF_HOSTED)["jobs"]["job"]["steps"]
    assert handed["if"] == results["if"] == logs["if"] == "always()"
    assert handed["run"].endswith("handback --results results --before kept --output back")
    assert results["with"]["path"] == "back/*.jsonl"
    (taken,) = [s.content["with"] for s in steps() if "pattern" in s.content.get("with", {})]
    assert fnmatch(results["with"]["name"], taken["pattern"])
    assert not fnmatch(logs["with"]["name"], taken["pattern"])


def test_artifacts_are_not_unpacked() -> None:
    (taken,) = [s.content["with"] for s in steps() if "pattern" in s.content.get("with", {})]
    assert taken["skip-decompress"] == "true"


def test_the_words_that_start_a_run_are_those_of_the_commands() -> None:
    assert f"startsWith(github.event.comment.body, '{WORD}')" in str(
        document(FOLDER / "comment.yml")
    )
    assert f"github.event.label.name == '{LABEL}'" in str(document(FOLDER / "pull.yml"))


def test_every_target_has_labels_that_a_runner_can_carry() -> None:
    for target in Configuration().targets:
        for machine in target.machines:
            job = Job(stack="x", target=target.name, machine=machine, cells={})
            assert labels(job)[0] == "self-hosted"
            assert all(re.fullmatch(r"[a-z0-9-]+", label) for label in labels(job))
