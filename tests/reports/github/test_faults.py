"""What GitHub and the line to it may do, as a user of the command meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.github.request import Answer, Request
from tests.reports.github.hub import COMMIT, HubServer
from tests.reports.github.posted import TOKEN, Command

NEWEST = ("--stack", "vllm==0.33.0")
AFTER = {"Retry-After": "30"}


def test_what_fails_is_kept_and_told_in_one_line_each(
    publish: Command, server: HubServer, tmp_path: Path
) -> None:
    server.hub.faults = lambda _: Answer(status=403, headers={"Retry-After": "9999"})
    code, _, err = publish("--check", "--issue", 3, "--commit", COMMIT, *NEWEST)
    assert code == 3
    assert err.splitlines()[-1].startswith("nvfp4-matrix: 2 kept in ")
    assert len(err.splitlines()) == 3
    assert len(list((tmp_path / "state/nvfp4-matrix/outbox").iterdir())) == 2
    server.hub.faults = lambda _: None
    code, out, _ = publish("--status", "--commit", COMMIT, *NEWEST)
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["created"] * 3
    assert len(server.hub.checks) == 1


def test_a_missing_permission_is_exit_code_2_and_names_it(
    publish: Command, server: HubServer
) -> None:
    refusal = b'{"message": "Resource not accessible by integration"}'
    server.hub.faults = lambda _: Answer(status=403, content=refusal)
    code, _, err = publish("--check", "--commit", COMMIT, *NEWEST)
    assert code == 2
    assert "checks: write" in err


@pytest.mark.parametrize(
    ("fault", "code", "kept"),
    [
        (Answer(status=401), 2, 1),
        (Answer(status=403), 2, 1),
        (Answer(status=403, headers=AFTER), 3, 1),
        (Answer(status=404), 2, 0),
        (Answer(status=409, content=b'{"message": "Conflict"}'), 3, 1),
        (Answer(status=422), 2, 0),
        (Answer(status=429), 3, 1),
        (Answer(status=429, headers=AFTER), 3, 1),
        (Answer(status=500), 3, 1),
        (Answer(status=502), 3, 1),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_every_answer_ends_in_order(  # noqa: PLR0917 - fixtures and cases
    publish: Command,
    server: HubServer,
    tmp_path: Path,
    fault: Answer,
    code: int,
    kept: int,
    method: str,
) -> None:
    server.hub.faults = lambda request: fault if request.method == method else None
    ended, out, err = publish("--issue", 3, *NEWEST, "--patience", 0)
    assert ended == code
    assert "Traceback" not in err
    assert TOKEN not in out + err
    assert len(list(tmp_path.glob("state/nvfp4-matrix/outbox/*"))) == kept
    server.hub.faults = lambda _: None
    ended, _, _ = publish("--issue", 3, *NEWEST)
    assert ended == 0
    assert len(server.hub.comments) == 1


def test_a_page_that_is_no_answer_is_not_taken_for_an_empty_one(
    publish: Command, server: HubServer
) -> None:
    server.hub.faults = lambda request: (
        Answer(status=200, content=b"<html>") if request.method == "GET" else None
    )
    code, _, err = publish("--issue", 3, *NEWEST)
    assert code == 3
    assert "something else than comments" in err
    assert server.hub.comments == []


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_line_that_is_always_cut_leaves_one_comment_in_the_end(
    publish: Command, server: HubServer, tmp_path: Path, when: str, method: str
) -> None:
    def cut(request: Request) -> bool:
        return request.method == method

    setattr(server, f"cut_{when}", cut)
    code, _, err = publish("--issue", 3, *NEWEST, "--patience", 0)
    lost = (
        method == "POST" and when == "after"
    )  # it was carried out, and found when it was looked for
    assert code == (0 if lost else 3)
    assert len(list(tmp_path.glob("state/nvfp4-matrix/outbox/*"))) == (not lost)
    assert "Traceback" not in err
    setattr(server, f"cut_{when}", lambda _: False)
    code, _, _ = publish("--issue", 3, *NEWEST)
    assert code == 0
    assert len(server.hub.comments) == 1


def test_a_limit_of_seconds_is_waited_for(publish: Command, server: HubServer) -> None:
    left = [Answer(status=429, headers={"Retry-After": "1"})]
    server.hub.faults = lambda _: left.pop() if left else None
    code, out, _ = publish("--issue", 3, *NEWEST)
    assert (code, out.split()[0]) == (0, "created")


def test_a_check_is_refused_for_want_of_a_permission_that_a_status_does_without(
    publish: Command, server: HubServer
) -> None:
    server.hub.faults = lambda request: Answer(status=403) if "check-runs" in request.path else None
    code, out, err = publish("--check", "--status", "--commit", COMMIT, *NEWEST)
    assert code == 2
    assert "--status does without it" in err
    assert out.startswith("created    the status")
