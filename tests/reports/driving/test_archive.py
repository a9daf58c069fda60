from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.errors import OutsideError
from matrix.evidence.git import blob
from reports.driving import archive as archiving
from reports.driving import connection
from reports.driving.archive import archive
from reports.github.pages import Standing
from reports.github.request import Answer, Request
from tests.reports.driving.conftest import Command
from tests.reports.driving.github import REPOSITORY, GitHub, found


class Branch:
    """A repository with one branch: GitHub's git data, as far as it is asked for."""

    def __init__(self) -> None:
        self.files: dict[str, str] | None = None
        self.made: dict[str, str] = {}
        self.commits = 0
        self.quicker = 0
        self.standing: Standing | None = None

    def send(self, request: Request) -> Answer:  # noqa: PLR0911 - one arm a request
        path = request.path.removeprefix("/repos/me/rigs")
        body: dict[str, Any] = request.body or {}
        match request.method, path.partition("?")[0]:
            case "GET", "/branches/results":
                if self.files is None:
                    return Answer(status=404)
                tip = {"sha": f"c{self.commits}", "commit": {"tree": {"sha": "t"}}}
                return found({"commit": tip})
            case "GET", "/contents/state.json" if self.standing is not None:
                return found({"content": b64encode(msgspec.json.encode(self.standing)).decode()})
            case "GET", "/git/trees/t":
                held = self.files or {}
                tree = [
                    {"path": name, "type": "blob", "sha": blob(text)} for name, text in held.items()
                ]
                return found({"tree": tree, "truncated": False})
            case "GET", wanted if wanted.startswith("/git/blobs/"):
                every = {blob(text): text for text in (self.files or {}).values()}
                content = b64encode(every[wanted.rpartition("/")[2]].encode()).decode()
                return found({"content": content, "encoding": "base64"})
            case "POST", "/git/trees":
                self.made = {each["path"]: each["content"] for each in body["tree"]}
                return found({"sha": "t2"}, 201)
            case "POST", "/git/commits":
                return found({"sha": "c"}, 201)
            case ("PATCH", "/git/refs/heads/results") | ("POST", "/git/refs"):
                if self.quicker:
                    self.quicker -= 1
                    return Answer(status=422, content=b'{"message": "not a fast forward"}')
                self.files = {**(self.files or {}), **self.made}
                self.commits += 1
                return found({})
        return Answer(status=404)


def test_results_are_added_to_those_that_are_there() -> None:
    branch = Branch()
    assert archive(branch.send, REPOSITORY, "results", {"a.jsonl": "1\n"}) == 1
    assert archive(branch.send, REPOSITORY, "results", {"b.jsonl": "2\n"}) == 1
    assert branch.files == {"results/a.jsonl": "1\n", "results/b.jsonl": "2\n"}


def test_page_and_badges_on_the_same_branch_stay() -> None:
    """They are named in what stands there, and a commit that knew of it would take them for gone."""
    branch = Branch()
    branch.files = {"index.html": "<html>"}
    branch.standing = Standing(files=("index.html",))
    archive(branch.send, REPOSITORY, "results", {"a.jsonl": "1\n"})
    assert branch.files == {"index.html": "<html>", "results/a.jsonl": "1\n"}


def test_the_same_again_makes_no_commit() -> None:
    branch = Branch()
    archive(branch.send, REPOSITORY, "results", {"a.jsonl": "1\n"})
    assert archive(branch.send, REPOSITORY, "results", {"a.jsonl": "1\n"}) == 0
    assert branch.commits == 1


@pytest.mark.parametrize(
    ("ours", "after", "added"),
    [
        ("1\n3\n", "1\n2\n3\n", 1),
        ("1\n", "1\n2\n", 0),
        ("1\n2\n3\n", "1\n2\n3\n", 1),
        ('"\u2028"\n', '1\n2\n"\u2028"\n', 1),  # what ends a line for Python, and not for JSON
    ],
)
def test_lines_that_another_run_added_to_the_same_file_stay(
    ours: str, after: str, added: int
) -> None:
    branch = Branch()
    archive(branch.send, REPOSITORY, "results", {"a.jsonl": "1\n2\n"})
    assert archive(branch.send, REPOSITORY, "results", {"a.jsonl": ours}) == added
    assert branch.files == {"results/a.jsonl": after}


def test_what_somebody_else_added_meanwhile_stays() -> None:
    branch = Branch()
    branch.quicker = 2
    assert archive(branch.send, REPOSITORY, "results", {"a.jsonl": "1\n"}) == 1
    branch.quicker = 3
    with pytest.raises(OutsideError, match="others were quicker"):
        archive(branch.send, REPOSITORY, "results", {"b.jsonl": "1\n"})


def test_what_is_too_much_for_a_commit_is_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archiving, "_MOST", 10)
    branch = Branch()
    files = {f"{n}.jsonl": "x" * size for n, size in enumerate((4, 4, 4, 50, 1))}
    assert archive(branch.send, REPOSITORY, "results", files) == 5
    assert branch.commits == 4
    assert branch.files == {f"results/{name}": text for name, text in files.items()}


def test_the_hash_is_gits_own() -> None:
    """`git hash-object` of "hello\\n"."""
    assert blob("hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_command_keeps_results_and_follows_no_link(
    workflow: Callable[[Any], Path], run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow({})
    branch = Branch()
    there = connection.Connection(branch.send, REPOSITORY, "")
    monkeypatch.setattr(connection, "connected", lambda _: there)
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a.jsonl").write_text("1\n")
    (kept / "a.log").write_text("no result")
    (kept / "b.jsonl").symlink_to("/etc/passwd")
    asked = ("archive", "--branch", "results", "--results", "kept")
    assert run(*asked) == (0, "the branch results: 1 of 1 runs are new\n", "")
    assert branch.files == {"results/a.jsonl": "1\n"}


def test_runners_are_written_down_page_by_page(
    workflow: Callable[[Any], Path], run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workflow({})
    one = {"name": "a", "status": "online", "labels": [{"id": 1, "name": "gpu"}], "os": "linux"}
    pages = {
        "GET /actions/runners?per_page=100&page=1": {"total_count": 101, "runners": [one] * 100},
        "GET /actions/runners?per_page=100&page=2": {
            "total_count": 101,
            "runners": [{**one, "status": "offline"}],
        },
    }
    github = GitHub(pages)
    monkeypatch.setattr(connection, "connect", lambda _: github.connection)
    assert run("runners", "--output", "runners.json")[1] == "100 of 101 runners are online\n"
    written = json.loads((tmp_path / "runners.json").read_text())["runners"]
    assert len(written) == 101
    assert written[0] == {"name": "a", "status": "online", "labels": [{"name": "gpu"}]}


def test_without_a_token_it_says_that_nobody_could_ask(
    workflow: Callable[[Any], Path], run: Command, tmp_path: Path
) -> None:
    workflow({})
    code, _, err = run("runners", "--output", "runners.json")
    assert (code, (tmp_path / "runners.json").read_text()) == (0, "null\n")
    assert "every job is sent" in err


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (401, "the token is wrong, expired or revoked"),
        (403, "lacks the permission Administration: read"),
        (404, "lacks the permission Administration: read"),
    ],
)
def test_a_token_that_may_not_ask_is_told_what_it_needs(
    workflow: Callable[[Any], Path],
    run: Command,
    monkeypatch: pytest.MonkeyPatch,
    *,
    status: int,
    said: str,
) -> None:
    workflow({})
    github = GitHub({"GET /actions/runners": status})
    monkeypatch.setattr(connection, "connect", lambda _: github.connection)
    code, _, err = run("runners", "--output", "runners.json")
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


@pytest.mark.parametrize("told", [{}, {"runners": 7}, {"runners": [{"name": 1}]}, []])
def test_a_list_of_runners_that_is_none_is_one_line(
    workflow: Callable[[Any], Path], run: Command, monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    workflow({})
    github = GitHub({"GET /actions/runners": told})
    monkeypatch.setattr(connection, "connect", lambda _: github.connection)
    code, _, err = run("runners", "--output", "runners.json")
    assert (code, err.count("\n")) == (3, 1)
    assert "GitHub's list of runners is none" in err
