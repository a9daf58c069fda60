"""What the commands that drive runners ask of GitHub, held against GitHub's own description of its API."""

from __future__ import annotations

import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reports.cli import main
from reports.driving import connection
from reports.driving.archive import archive
from reports.driving.connection import Connection
from reports.github.request import Answer, Request
from tests.e2e.described import Description
from tests.matrix.test_returned import outline
from tests.reports.driving.github import LINK, REPOSITORY, GitHub
from tests.reports.driving.test_answer_command import event as commented
from tests.reports.driving.test_approval import COMMIT, event
from tests.reports.driving.test_archive import Branch

pytestmark = pytest.mark.github

LABEL = "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}"
PERMISSION = "/repos/{owner}/{repo}/collaborators/{username}/permission"
COMMENTS = "/repos/{owner}/{repo}/issues/{issue_number}/comments"


class Described:
    """A GitHub that takes only what its description has."""

    def __init__(self, there: GitHub | Branch, description: Description) -> None:
        self.there = there
        self.description = description

    def send(self, request: Request) -> Answer:
        body = None if request.body is None else msgspec.json.encode(request.body)
        self.description.check(request.method, f"https://api.github.com{request.path}", body)
        return self.there.send(request)


@pytest.fixture(scope="module")
def whole() -> Description:
    """GitHub's description, which `nox -s github` put into a folder."""
    folder = os.environ.get("NVFP4_MATRIX_NPM")
    if folder is None:
        pytest.fail("NVFP4_MATRIX_NPM names no folder: run `nox -s github`")
    packages = Path(folder) / "node_modules"
    return Description(packages / "@octokit/openapi/generated/api.github.com.json")


@pytest.fixture
def described(whole: Description) -> Description:
    whole.checked.clear()
    return whole


def run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, started: Any, there: Described, *arguments: str
) -> None:
    (tmp_path / "event.json").write_text(json.dumps(started))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_EVENT_PATH", str(tmp_path / "event.json"))
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "outputs"))
    found = Connection(there.send, REPOSITORY, LINK)
    monkeypatch.setattr(connection, "connected", lambda _: found)
    monkeypatch.setattr(connection, "connect", lambda _: found)
    monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", *arguments])
    main()


def test_a_comment_is_answered_as_github_describes_it(
    described: Description, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    github = GitHub({"GET /collaborators/maintainer/permission": {"permission": "admin"}})
    there = Described(github, described)
    (tmp_path / "plan.json").write_bytes(msgspec.json.encode(outline()))
    started = commented("/probe sm121")
    run(monkeypatch, tmp_path, started, there, "answer", "--github-output")
    run(monkeypatch, tmp_path, started, there, "answer", "--plan", "plan.json", "--results", "kept")
    assert f"GET {PERMISSION}" in described.checked
    assert f"POST {COMMENTS}" in described.checked
    assert "PATCH /repos/{owner}/{repo}/issues/comments/{comment_id}" in described.checked


def test_a_label_is_used_up_as_github_describes_it(
    described: Description, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    github = GitHub(
        {
            "DELETE /issues/2/labels/probe": [],
            "GET /collaborators/maintainer/permission": {"permission": "write"},
            f"GET /contents/matrix/stacks.yaml?ref={COMMIT}": {
                "content": base64.encodebytes(b"as_released: []\n").decode()
            },
        }
    )
    asked = ("approve", "--stacks", "stacks.yaml", "--github-output")
    started = msgspec.to_builtins(event())
    run(monkeypatch, tmp_path, started, Described(github, described), *asked)
    assert described.checked == [
        f"DELETE {LABEL}",
        f"GET {PERMISSION}",
        "GET /repos/{owner}/{repo}/contents/{path}",
    ]


def test_runners_are_listed_as_github_describes_it(
    described: Description, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runner = {"name": "spark", "status": "online", "labels": [{"name": "sm121"}]}
    github = GitHub({"GET /actions/runners": {"total_count": 1, "runners": [runner]}})
    asked = ("runners", "--output", "runners.json")
    run(monkeypatch, tmp_path, {}, Described(github, described), *asked)
    assert described.checked == ["GET /repos/{owner}/{repo}/actions/runners"]


def test_results_are_added_as_github_describes_it(described: Description) -> None:
    there = Described(Branch(), described)
    for name in ("a.jsonl", "b.jsonl"):
        assert archive(there.send, REPOSITORY, "results", {name: "1\n"}) == 1
    assert archive(there.send, REPOSITORY, "results", {"a.jsonl": "2\n"}) == 1
    assert {
        "GET /repos/{owner}/{repo}/git/blobs/{file_sha}",
        "GET /repos/{owner}/{repo}/git/trees/{tree_sha}",
        "POST /repos/{owner}/{repo}/git/trees",
        "POST /repos/{owner}/{repo}/git/commits",
        "POST /repos/{owner}/{repo}/git/refs",
        "PATCH /repos/{owner}/{repo}/git/refs/{ref}",
    } <= set(described.checked)
