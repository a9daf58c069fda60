from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.journal import Journal
from reports.driving import connection
from tests.matrix.test_proberun import result
from tests.matrix.test_returned import outline
from tests.reports.driving.conftest import Command
from tests.reports.driving.github import GitHub

Started = Callable[[Any], Path]
MAY = {"GET /collaborators/maintainer/permission": {"permission": "write"}}
NOTHING = "go=false\nstacks=\ntargets=\n"


def event(body: str, **changes: Any) -> dict[str, Any]:
    user = {"login": "maintainer", "type": "User"}
    return {
        "action": "created",
        "issue": {"number": 12},
        "comment": {"id": 99, "body": body, "user": user, "author_association": "OWNER"},
        "sender": user,
        **changes,
    }


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> GitHub:
    made = GitHub(MAY)
    monkeypatch.setattr(connection, "connected", lambda _: made.connection)
    return made


def test_a_writer_starts_a_run_and_is_told(github: GitHub, workflow: Started, run: Command) -> None:
    outputs = workflow(event("/probe sm121 vllm==0.33.0"))
    assert run("answer", "--github-output")[0] == 0
    assert outputs.read_text() == "go=true\nstacks=vllm==0.33.0\ntargets=sm121\n"
    (comment,) = github.comments
    assert "Probing `vllm==0.33.0` on `sm121`. [The run](" in comment["body"]
    assert comment["body"].startswith("<!-- nvfp4-matrix name=probe-99 ")


@pytest.mark.parametrize("permission", ["read", "none"])
def test_others_start_nothing_and_get_no_answer_whatever_the_event_calls_them(
    github: GitHub, workflow: Started, run: Command, permission: str
) -> None:
    github.answers["GET /collaborators/maintainer/permission"] = {"permission": permission}
    outputs = workflow(event("/probe sm121"))
    code, _, err = run("answer", "--github-output")
    assert (code, outputs.read_text(), github.comments) == (0, NOTHING, [])
    assert err == "maintainer has no write access: nothing is started\n"


def test_where_github_does_not_answer_nothing_is_started(
    github: GitHub, workflow: Started, run: Command
) -> None:
    github.answers["GET /collaborators/maintainer/permission"] = 502
    outputs = workflow(event("/probe sm121"))
    assert run("answer", "--github-output")[0] == 3
    assert (outputs.read_text(), github.comments) == ("", [])


@pytest.mark.parametrize(
    "odd",
    [
        event("thanks"),
        event("/probe sm121", action="edited"),
        event("/probe sm121", sender={"login": "other", "type": "User"}),
    ],
)
def test_what_is_no_order_asks_github_nothing(
    github: GitHub, workflow: Started, run: Command, odd: Any
) -> None:
    outputs = workflow(odd)
    assert run("answer", "--github-output")[0] == 0
    assert (outputs.read_text(), github.asked) == (NOTHING, [])


def test_an_order_that_is_unclear_is_answered_with_how_it_is_written(
    github: GitHub, workflow: Started, run: Command
) -> None:
    outputs = workflow(event("/probe sm12"))
    assert run("answer", "--github-output")[0] == 0
    assert outputs.read_text() == NOTHING
    assert "Nothing was started: sm12 is no target; did you mean" in github.comments[0]["body"]
    assert "Write `/probe sm121`" in github.comments[0]["body"]


def test_what_came_of_it_stands_in_the_same_comment(
    github: GitHub, workflow: Started, run: Command, tmp_path: Path
) -> None:
    workflow(event("/probe sm121"))
    run("answer", "--github-output")
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(outline()))
    Journal(tmp_path / "kept").append([result("m=1", when="2026-11-21T16:00:00Z")])
    code, out, _ = run("answer", "--plan", "plan.json", "--results", "kept")
    assert (code, out) == (0, "the comment on #12: changed\n")
    (comment,) = github.comments
    assert "3 cells: 2 missing, 1 pass." in comment["body"]


def test_a_run_without_a_plan_is_answered_too(
    github: GitHub, workflow: Started, run: Command
) -> None:
    workflow(event("/probe sm121"))
    assert run("answer", "--plan", "plan.json", "--results", "kept")[0] == 0
    assert "The run ended before it had planned anything." in github.comments[0]["body"]


@pytest.mark.parametrize("arguments", [(), ("--github-output", "--plan", "plan.json")])
def test_one_of_two_things_is_asked_for(run: Command, arguments: tuple[str, ...]) -> None:
    code, _, err = run("answer", *arguments)
    assert (code, err.count("\n")) == (2, 1)


@pytest.mark.parametrize("content", [{}, {"action": "created"}, []])
def test_another_event_is_one_line_and_exit_2(
    workflow: Started, run: Command, content: Any
) -> None:
    workflow(content)
    code, _, err = run("answer", "--github-output")
    assert (code, err.count("\n")) == (2, 1)
    assert "event.json: is no event for this command" in err


def test_without_a_token_nothing_is_done(workflow: Started, run: Command) -> None:
    workflow(event("/probe sm121"))
    code, _, err = run("answer", "--github-output")
    assert code == 2
    assert "set GITHUB_TOKEN" in err
