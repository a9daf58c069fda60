from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.driving import connection
from tests.matrix.test_returned import outline
from tests.reports.driving.conftest import Command
from tests.reports.driving.github import GitHub
from tests.reports.driving.test_approval import COMMIT, event

Started = Callable[[Any], Path]
STACKS = b"as_released: []\nwritten: []\n"
ASKED = ("approve", "--stacks", "stacks.yaml", "--github-output")
OFF = "DELETE /issues/2/labels/probe"
WHO = "GET /collaborators/maintainer/permission"
FILE = f"GET /contents/matrix/stacks.yaml?ref={COMMIT}"


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> GitHub:
    content = {"content": base64.encodebytes(STACKS).decode()}
    made = GitHub({OFF: [], WHO: {"permission": "write"}, FILE: content})
    monkeypatch.setattr(connection, "connected", lambda _: made.connection)
    return made


def started(workflow: Started, **changes: Any) -> Path:
    return workflow(msgspec.to_builtins(event(**changes)))


def test_the_label_is_used_up_before_the_stacks_of_its_commit_are_handed_on(
    github: GitHub, workflow: Started, run: Command, tmp_path: Path
) -> None:
    outputs = started(workflow)
    code, out, _ = run(*ASKED)
    assert (code, out) == (0, f"maintainer approves {COMMIT}\n")
    assert github.asked == [OFF, WHO, FILE]
    assert outputs.read_text() == f"commit={COMMIT}\n"
    assert (tmp_path / "stacks.yaml").read_bytes() == STACKS


def test_whoever_may_label_but_not_write_approves_nothing(
    github: GitHub, workflow: Started, run: Command, tmp_path: Path
) -> None:
    """The role Triage."""
    github.answers[WHO] = {"permission": "read", "role_name": "triage"}
    outputs = started(workflow)
    code, _, err = run(*ASKED)
    assert (code, outputs.read_text()) == (0, "commit=\n")
    assert err == "nothing is approved: maintainer has no write access\n"
    assert github.asked == [OFF, WHO]
    assert not (tmp_path / "stacks.yaml").exists()


def test_a_push_takes_the_label_off_and_approves_nothing(
    github: GitHub, workflow: Started, run: Command
) -> None:
    outputs = started(workflow, action="synchronize", label=None)
    assert run(*ASKED)[0] == 0
    assert (outputs.read_text(), github.asked) == ("commit=\n", [OFF])


def test_a_label_is_used_once_whoever_repeats_the_job(
    github: GitHub, workflow: Started, run: Command
) -> None:
    github.answers[OFF] = 404
    outputs = started(workflow)
    code, _, err = run(*ASKED)
    assert (code, outputs.read_text()) == (0, "commit=\n")
    assert err == "the label is off already: used, or taken back\n"
    assert github.asked == [OFF]


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, 2, "the token is wrong, expired or revoked"),
        (403, 2, "lacks the permission Pull requests: write"),
        (500, 3, "run it again later"),
    ],
)
def test_a_label_that_stays_approves_nothing(
    github: GitHub, workflow: Started, run: Command, *, status: int, code: int, said: str
) -> None:
    github.answers[OFF] = status
    outputs = started(workflow)
    told = run(*ASKED)
    assert told[0] == code
    assert said in told[2]
    assert (outputs.read_text(), github.asked) == ("", [OFF])


def test_a_commit_without_stacks_is_one_line(
    github: GitHub, workflow: Started, run: Command
) -> None:
    github.answers[FILE] = 404
    outputs = started(workflow)
    code, _, err = run(*ASKED)
    assert (code, err.count("\n"), outputs.read_text()) == (2, 1, "")


def test_the_pull_request_is_told_what_came_of_it(
    github: GitHub, workflow: Started, run: Command, tmp_path: Path
) -> None:
    started(workflow)
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(outline()))
    for _ in range(2):
        assert run("approve", "--plan", "plan.json", "--results", "kept")[0] == 0
    (comment,) = github.comments
    assert f"Of `{COMMIT}`: 3 cells: 3 missing." in comment["body"]


def test_one_of_two_things_is_asked_for(run: Command) -> None:
    assert run("approve")[0] == 2
    assert run("approve", "--stacks", "a", "--plan", "b")[0] == 2
