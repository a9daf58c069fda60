"""The commands as a workflow starts them: by their environment, and over HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

from tests.reports.driving.conftest import Command
from tests.reports.driving.test_answer_command import event

TOKEN = "made-up-token-of-a-job"


@pytest.fixture
def api(
    httpserver: HTTPServer,
    workflow: Callable[[Any], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> HTTPServer:
    workflow(event("/probe sm121"))
    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    monkeypatch.setenv("GITHUB_API_URL", httpserver.url_for("").rstrip("/"))
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    return httpserver


def test_runners_are_asked_for_with_the_token_of_the_environment(
    api: HTTPServer, run: Command, tmp_path: Path
) -> None:
    runner = {"id": 1, "name": "spark", "status": "online", "labels": [{"name": "sm121"}]}
    api.expect_ordered_request(
        "/repos/me/rigs/actions/runners",
        query_string={"per_page": "100", "page": "1"},
        headers={"Authorization": f"token {TOKEN}"},
    ).respond_with_json({"total_count": 1, "runners": [runner]})
    code, out, err = run("runners", "--output", "runners.json")
    assert (code, out, err) == (0, "1 of 1 runners are online\n", "")
    assert json.loads((tmp_path / "runners.json").read_text())["runners"][0]["name"] == "spark"
    api.check_assertions()


def test_a_comment_is_answered_over_http(api: HTTPServer, run: Command, tmp_path: Path) -> None:
    api.expect_request("/repos/me/rigs/collaborators/maintainer/permission").respond_with_json(
        {"permission": "write", "role_name": "maintain"}
    )
    api.expect_request("/repos/me/rigs/issues/12/comments", method="GET").respond_with_json([])
    api.expect_request("/repos/me/rigs/issues/12/comments", method="POST").respond_with_json(
        {"id": 1, "html_url": "https://github.com/me/rigs/issues/12#issuecomment-1"}, status=201
    )
    assert run("answer", "--github-output") == (0, "the comment on #12: created\n", "")
    assert (tmp_path / "outputs").read_text() == "go=true\nstacks=\ntargets=sm121\n"
    api.check_assertions()


def test_a_refusal_is_one_line_that_says_what_github_said(api: HTTPServer, run: Command) -> None:
    api.expect_request("/repos/me/rigs/collaborators/maintainer/permission").respond_with_json(
        {"message": "Bad credentials"}, status=401
    )
    code, out, err = run("answer", "--github-output")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "GitHub answers 401 (Bad credentials) when asked what maintainer may do" in err
