"""The command as a user calls it, over HTTP on loopback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.configuration import HERE
from matrix.knowledge import Knowledge
from tests.reports.github.hub import COMMIT, HubServer
from tests.reports.github.posted import TOKEN, Command

NEWEST = ("--stack", "vllm==0.33.0")


def test_what_became_of_each_posting_is_told(publish: Command) -> None:
    everything = (
        "--check",
        "--status",
        "--issue",
        3,
        "--branch",
        "gh-pages",
        "--asset",
        "v1",
        "--commit",
        COMMIT,
    )
    code, out, err = publish(*everything, *NEWEST)
    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()] == ["created"] * 5
    code, out, err = publish(*everything, *NEWEST)
    assert [line.split()[0] for line in out.splitlines()] == ["unchanged"] * 5
    assert TOKEN not in out + err


def test_what_is_required_and_broken_is_exit_code_1(publish: Command, server: HubServer) -> None:
    code, _, err = publish(
        "--check", "--commit", COMMIT, "--require", "kv-cache", "--target", "sm121"
    )
    assert code == 1
    assert "kv-cache: 0 of 1 required cells work" in err
    assert server.hub.checks[0]["conclusion"] == "failure"


@pytest.mark.parametrize(("asked", "conclusion"), [("gemm; kv-cache", "failure"), ("", "neutral")])
def test_a_workflow_has_one_field_for_what_is_required(
    publish: Command, server: HubServer, asked: str, conclusion: str
) -> None:
    publish("--check", "--commit", COMMIT, "--require", asked, "--target", "sm121")
    assert server.hub.checks[0]["conclusion"] == conclusion


def test_nothing_is_required_of_the_control_unless_it_is_named(publish: Command) -> None:
    wish = ("--check", "--commit", COMMIT, "--require", "gemm")
    assert publish(*wish, "--all")[0] == 0
    assert publish(*wish, "--target", "sm90")[0] == 1


@pytest.mark.parametrize("checkout", [True, False])
def test_the_line_that_broke_is_annotated_in_a_checkout(
    publish: Command,
    server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    *,
    checkout: bool,
) -> None:
    folder = tmp_path / "rigs" / "matrix"
    folder.mkdir(parents=True)
    text = (HERE / "stacks.yaml").read_text(encoding="utf-8")
    (folder / "stacks.yaml").write_text(text, encoding="utf-8")
    if checkout:
        (tmp_path / "rigs" / ".git").mkdir()
    monkeypatch.setattr("matrix.configuration.HERE", folder)
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path / "rigs"))
    publish("--check", "--commit", COMMIT, "--require", "kv-cache", "--target", "sm121")
    remarks = server.hub.checks[0]["annotations"]
    assert len(remarks) == checkout
    for remark in remarks:
        assert remark["path"] == "matrix/stacks.yaml"
        assert text.splitlines()[remark["start_line"] - 1] == "  - range: vllm>=0.11.1"


def test_the_newest_stack_is_what_is_required(publish: Command) -> None:
    code, _, _ = publish("--check", "--commit", COMMIT, "--require", "gemm", "--target", "sm121")
    assert code == 0
    code, _, _ = publish(
        "--check",
        "--commit",
        COMMIT,
        "--require",
        "gemm",
        "--target",
        "sm121",
        "--stack",
        "vllm==0.11.0",
    )
    assert code == 1


@pytest.mark.usefixtures("publish")
def test_in_actions_all_is_known(
    server: HubServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    command: Command,
) -> None:
    event, summary = tmp_path / "event.json", tmp_path / "summary.md"
    event.write_text(json.dumps({"pull_request": {"head": {"sha": COMMIT}}}))
    for name, value in {
        "GITHUB_REPOSITORY": "o/n", "GITHUB_SHA": "f" * 40, "GITHUB_REF": "refs/pull/3/merge",
        "GITHUB_EVENT_PATH": str(event), "GITHUB_STEP_SUMMARY": str(summary), "GITHUB_RUN_ID": "5",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    code, _, err = command("publish", "--check", "--comment", "--summary", *NEWEST)
    assert (code, err) == (0, "")
    assert server.hub.checks[0]["head_sha"] == COMMIT
    assert server.hub.sent("POST")[1] == "/repos/o/n/issues/3/comments"
    assert "https://github.com/o/n/actions/runs/5" in server.hub.comments[0]["body"]
    once = summary.read_text()
    assert "what really works" in once
    command("publish", "--check", "--comment", "--summary", *NEWEST)
    assert summary.read_text() == once


@pytest.mark.usefixtures("publish")
def test_a_summary_alone_needs_neither_token_nor_repository(
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    server: HubServer,
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    (tmp_path / "s.md").write_text("before")
    code, out, _ = command("publish", "--summary", *NEWEST)
    assert (code, out) == (0, "created    the job's summary\n")
    assert (tmp_path / "s.md").read_text().startswith("before\n\n<!-- nvfp4-matrix")
    assert server.hub.requests == []


def test_a_summary_alone_is_compared_with_a_checkout_of_the_branch(
    publish: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: HubServer
) -> None:
    """A job that may not write has the branch's files, and nothing else to compare with."""
    publish("--branch", "results", *NEWEST)
    (made,) = [each for each in server.hub.requests if each.path.endswith("/git/trees")]
    files = {each["path"]: each["content"] for each in (made.body or {})["tree"]}
    summary, state = tmp_path / "s.md", tmp_path / "state.json"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    for content, said in (
        (files["state.json"], "**Nothing changed since"),
        (re.sub(r'"likely"', '"broken"', files["state.json"]), "fixed** since"),
        ("damaged", ""),
    ):
        state.write_text(content)
        summary.unlink(missing_ok=True)
        assert publish("--summary", "--before", state, *NEWEST)[0] == 0
        assert said in summary.read_text()
        assert ("since" in summary.read_text()) is bool(said)


@pytest.mark.usefixtures("publish")
def test_a_full_summary_is_told(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s.md"))
    (tmp_path / "s.md").write_bytes(b"x" * 1_048_570)
    code, _, err = command("publish", "--summary", *NEWEST)
    assert code == 3
    assert "all that GitHub shows" in err


def test_a_dry_run_writes_nothing_and_prints_what_is_then_sent(
    publish: Command, server: HubServer
) -> None:
    wish = (
        "--check",
        "--status",
        "--issue",
        3,
        "--branch",
        "gh-pages",
        "--asset",
        "v1",
        "--commit",
        COMMIT,
        *NEWEST,
    )
    code, out, _ = publish(*wish, "--dry-run")
    assert code == 0
    assert {request.method for request in server.hub.requests} == {"GET"}
    planned = [
        line
        for line in out.splitlines()
        if line.startswith(("POST /", "PATCH /", f"POST {server.base}"))
    ]
    server.hub.requests.clear()
    publish(*wish)
    sent = [f"{request.method} {request.path}" for request in server.hub.requests if request.writes]
    assert [line.replace(server.base, "") for line in planned] == sent
    for request in server.hub.requests:
        if request.body:
            shown = out.split(f"{request.method} {request.path}\n", 1)[1]
            assert undated(json.JSONDecoder().raw_decode(shown)[0]) == undated(request.body)


def undated(body: Any) -> Any:
    """A body without the second at which it was made, and without the names that git makes of it."""
    text = re.sub(
        r"2026-\d\d-\d\dT[\d:]+Z|(?<=\")[0-9a-f]{40}(?=\")| 2026-\d\d-\d\d [\d:]+ UTC",
        "",
        json.dumps(body),
    )
    return re.sub(r"eNq[\w+/=]+", "", text)


def test_a_dry_run_without_a_token_takes_nothing_to_be_there(
    publish: Command, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    code, out, err = publish(
        "--check",
        "--status",
        "--issue",
        3,
        "--branch",
        "x",
        "--asset",
        "v1",
        "--commit",
        COMMIT,
        *NEWEST,
        "--dry-run",
    )
    assert code == 0
    assert "no token" in err
    assert out.count("POST /repos/o/n/check-runs") == 1
    assert server.hub.requests == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say what to post"),
        (("--check",), "--commit"),
        (("--check", "--commit", "abc"), "all 40 digits"),
        (("--comment",), "on what?"),
        (("--pull", 1, "--issue", 2), "one of them"),
        (("--issue", 3, "--link", "javascript:alert(1)"), "--link"),
        (("--issue", 3, "--name", "a--b"), "--name"),
        (("--issue", 3, "--name", "a b"), "--name"),
        (("--branch", "a..b"), "--branch"),
        (("--branch", "-x"), "--branch"),
        (("--summary",), "GITHUB_STEP_SUMMARY"),
        (("--issue", 3, "--require", "gem"), "gem"),
        (("--issue", 3, "--require", "gemm", "--capability", "moe"), "--capability leaves it out"),
        (("--issue", 3, "--stack", "vllm==99"), "unknown stack"),
    ],
)  # fmt: skip
def test_a_wrong_wish_is_refused_before_anything_is_sent(
    publish: Command, server: HubServer, arguments: tuple[object, ...], words: str
) -> None:
    code, _, err = publish(*arguments)
    assert code == 2
    assert words in err
    assert server.hub.requests == []


def test_somebody_without_a_token_is_told_how_to_get_one(
    publish: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    code, _, err = publish("--issue", 3)
    assert code == 2
    assert "GITHUB_TOKEN" in err


def test_secrets_of_the_results_do_not_get_out(
    publish: Command, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:

    from matrix.knowledge import Knowledge  # noqa: PLC0415

    real = Knowledge.report

    def leaky(self: Knowledge, **asked: object) -> object:
        made = real(self, **asked)  # type: ignore[arg-type]
        first, *rest = made.contradictions
        first = msgspec.structs.replace(
            first, text=f"printed {TOKEN} and hf_abcdefghijklmnopqrstuv"
        )
        return msgspec.structs.replace(made, contradictions=(first, *rest))

    monkeypatch.setattr(Knowledge, "report", leaky)
    code, out, err = publish(
        "--issue", 3, "--branch", "b", "--asset", "v1", "--stack", "vllm==0.11.0", "--all"
    )
    assert code == 0
    everything = out + err + str(server.hub.requests)
    assert "printed" in everything
    assert TOKEN not in everything
    assert "hf_abc" not in everything
