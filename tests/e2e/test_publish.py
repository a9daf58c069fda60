"""Publishing to an emulator of GitHub's API over HTTP, each request held against GitHub's own description of it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import requests
from requests.adapters import HTTPAdapter

from reports.github import pages
from reports.github.content import MARKER
from tests.e2e.described import Description
from tests.e2e.npmpackage import node
from tests.reports.github.hub import COMMIT, HubServer

pytestmark = pytest.mark.github

TOKEN = "made-up-token-of-octo"
APP = 4711
SEED = {
    "tokens": {TOKEN: {"login": "octo", "scopes": ["repo"]}, "made-up-outsider": {"login": "evil", "scopes": ["repo"]}},
    "github": {
        "users": [{"login": "octo"}, {"login": "evil"}],
        "repos": [{"owner": "octo", "name": "rigs", "auto_init": True}],
        "apps": [
            {
                "app_id": app, "slug": slug, "name": slug, "events": [], "permissions": permissions,
                "installations": [{"installation_id": app, "account": "octo", "repository_selection": "all"}],
            }
            for app, slug, permissions in (
                (APP, "matrix", {"checks": "write", "issues": "write", "contents": "write", "metadata": "read"}),
                (APP + 1, "reader", {"issues": "read", "metadata": "read", "checks": "read"}),
            )
        ],
    },
}  # fmt: skip
SERVE = """
import { createEmulator } from 'emulate';
const made = await createEmulator({ service: 'github', port: Number(process.argv[1]), seed: JSON.parse(process.argv[2]) });
console.log(JSON.stringify({ url: made.url, keys: Object.fromEntries(made.generatedSecrets.map((each) => [each.id, each.value])) }));
"""
NEWEST = ("--stack", "vllm>=0.32", "--target", "sm121")
OLDER = ("--stack", "vllm>=0.31", "--target", "sm121")

Command = Callable[..., tuple[int, str, str]]


class Emulator(NamedTuple):
    url: str
    keys: Mapping[str, str]

    def ask(self, path: str, body: object = None, token: str = TOKEN) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}{path}", data, {"Authorization": f"token {token}"}
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def issue(self) -> int:
        return int(self.ask("/repos/octo/rigs/issues", {"title": "Matrix"})["number"])

    def comments(self, number: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask(f"/repos/octo/rigs/issues/{number}/comments")
        return found

    def commit(self) -> str:
        """A commit that is new, so that it has no check yet."""
        at = "/repos/octo/rigs/git/commits"
        head = self.ask("/repos/octo/rigs/commits")[0]
        made = self.ask(
            at, {"message": "x", "tree": head["commit"]["tree"]["sha"], "parents": [head["sha"]]}
        )
        return str(made["sha"])


@pytest.fixture(scope="session")
def parts() -> Path:
    """Where `nox -s github` put what npm has."""
    folder = os.environ.get("NVFP4_MATRIX_NPM")
    if folder is None:
        pytest.fail("NVFP4_MATRIX_NPM names no folder: run `nox -s github`")
    return Path(folder) / "node_modules"


@pytest.fixture(scope="session")
def description(parts: Path) -> Description:
    return Description(parts / "@octokit/openapi/generated/api.github.com.json")


@pytest.fixture(scope="session")
def emulator(parts: Path) -> Iterator[Emulator]:
    os.environ["NO_PROXY"] = "localhost,127.0.0.1"
    command = (node(), "--input-type=module", "-e", SERVE, "0", json.dumps(SEED))
    with subprocess.Popen(command, cwd=parts.parent, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        told = json.loads(running.stdout.readline())
        yield Emulator(told["url"], told["keys"])
        running.terminate()


@pytest.fixture
def server() -> Iterator[HubServer]:
    """What the emulator lacks: statuses, and files of a release."""
    with HubServer() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch, description: Description) -> Description:
    """Hold every request against the description; add what the emulator leaves out of a branch."""
    real = HTTPAdapter.send
    description.checked.clear()

    def send(
        self: HTTPAdapter, request: requests.PreparedRequest, *args: Any, **more: Any
    ) -> requests.Response:
        url, body = str(request.url), request.body
        if (
            "/upload?" in url
        ):  # stands for the host of uploads, which the description has a path for
            url = url.replace("/upload?", "/repos/o/n/releases/1/assets?")
        description.check(
            str(request.method), url, body.encode() if isinstance(body, str) else body
        )
        answer = real(self, request, *args, **more)
        if "/branches/" in url and answer.ok and "commit" not in answer.json()["commit"]:
            branch = answer.json()
            asked = urllib.request.Request(
                branch["commit"]["url"].replace("/commits/", "/git/commits/"),
                headers=dict(request.headers),
            )
            with urllib.request.urlopen(asked) as found:
                branch["commit"]["commit"] = {"tree": json.load(found)["tree"]}
            answer._content = json.dumps(branch).encode()
        return answer

    monkeypatch.setattr(HTTPAdapter, "send", send)
    return description


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in tuple(os.environ):
        if name.startswith(("GITHUB_", "GH_", "NVFP4_MATRIX_APP", "NVFP4_MATRIX_TOKEN")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)


@pytest.fixture
def publish(
    settings: None,
    checked: Description,
    emulator: Emulator,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> Command:
    del settings, checked
    monkeypatch.setenv("GITHUB_API_URL", emulator.url)
    return lambda *arguments: command("publish", "--repository", "octo/rigs", *arguments)


def told(answer: tuple[int, str, str]) -> list[str]:
    code, out, err = answer
    assert (code, err) == (0, "")
    return [line.split()[0] for line in out.splitlines()]


def test_a_comment_is_made_once_and_edited_in_place(publish: Command, emulator: Emulator) -> None:
    number = emulator.issue()
    emulator.ask(f"/repos/octo/rigs/issues/{number}/comments", {"body": "chatter"})
    assert told(publish("--issue", number, *NEWEST)) == ["created"]
    assert told(publish("--issue", number, *NEWEST)) == ["unchanged"]
    assert told(publish("--issue", number, *OLDER)) == ["changed"]
    _, mine = emulator.comments(number)
    assert mine["body"].startswith(MARKER)
    assert "new** since" in mine["body"]


def test_an_outsiders_marker_stays_his(publish: Command, emulator: Emulator) -> None:
    number = emulator.issue()
    forged = f"{MARKER}name=nvfp4-matrix hash=x at=2020 -->\nmine"
    emulator.ask(f"/repos/octo/rigs/issues/{number}/comments", {"body": forged}, "made-up-outsider")
    assert told(publish("--issue", number, *NEWEST)) == ["created"]
    assert [each["body"] == forged for each in emulator.comments(number)] == [True, False]


def app(monkeypatch: pytest.MonkeyPatch, emulator: Emulator, number: int = APP) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setenv("NVFP4_MATRIX_APP_ID", str(number))
    monkeypatch.setenv("NVFP4_MATRIX_APP_PRIVATE_KEY", emulator.keys[str(number)])
    if number != APP:  # the emulator names the first installation of an owner, whichever app asks
        monkeypatch.setenv("NVFP4_MATRIX_APP_INSTALLATION_ID", str(number))


def test_an_app_makes_check_comment_and_branch(
    publish: Command, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    app(monkeypatch, emulator)
    commit, number = emulator.commit(), emulator.issue()
    wish = (
        "--check",
        "--commit",
        commit,
        "--issue",
        number,
        "--branch",
        "gh-pages",
        "--require",
        "gemm",
    )
    assert told(publish(*wish, *NEWEST)) == ["created"] * 3
    assert told(publish(*wish, *NEWEST)) == ["unchanged"] * 3
    assert told(publish(*wish, *OLDER)) == ["changed"] * 3
    runs = emulator.ask(f"/repos/octo/rigs/commits/{commit}/check-runs")["check_runs"]
    assert runs[0]["conclusion"] == "success"
    assert len(emulator.comments(number)) == 1
    found = emulator.ask("/repos/octo/rigs/contents/state.json?ref=gh-pages")["content"]

    standing = pages.read(base64.b64decode(found))
    assert {"index.html", "matrix.json", "badges/gemm-sm121.json"} <= set(standing.files)


def test_an_app_that_may_only_read_is_told_what_it_lacks(
    publish: Command, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    app(monkeypatch, emulator, APP + 1)
    code, _, err = publish("--issue", emulator.issue(), *NEWEST)
    assert code == 2
    assert "Issues and Pull requests: write" in err


def test_publishers_at_once_leave_one_comment(
    settings: None, emulator: Emulator, tmp_path: Path
) -> None:
    del settings
    number = emulator.issue()
    program = "from reports.cli import main; main()"
    running = [
        subprocess.Popen(
            (
                sys.executable,
                "-c",
                program,
                "publish",
                "--repository",
                "octo/rigs",
                "--issue",
                str(number),
                *NEWEST,
            ),
            env={
                **os.environ,
                "GITHUB_API_URL": emulator.url,
                "XDG_STATE_HOME": str(tmp_path / str(each)),
            },
        )
        for each in range(4)
    ]
    assert [each.wait(120) for each in running] == [0] * 4
    (comment,) = emulator.comments(number)
    assert comment["body"].count(MARKER) == 1


@pytest.mark.usefixtures("settings")
def test_every_request_is_one_that_github_describes(
    checked: Description,
    server: HubServer,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_API_URL", server.base)
    wish = ("publish", "--repository", "o/n", "--check", "--status", "--commit", COMMIT, "--issue", 3,
            "--branch", "results/nightly", "--asset", "v1", "--require", "kv-cache")  # fmt: skip
    for stacks in (OLDER, NEWEST):
        code, _, _ = command(*wish, *stacks)
        assert code == 1
    assert {line.partition(" ")[0] for line in checked.checked} == {
        "GET",
        "POST",
        "PATCH",
        "DELETE",
    }
    assert "POST /repos/{owner}/{repo}/statuses/{sha}" in checked.checked
    assert "PATCH /repos/{owner}/{repo}/git/refs/{ref}" in checked.checked
    assert "POST /repos/{owner}/{repo}/releases/{release_id}/assets" in checked.checked


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/repos/o/n/check-run", b"{}"),
        ("POST", "/repos/o/n/check-runs", b'{"head_sha": "x"}'),
        ("POST", "/repos/o/n/issues/3/comments", b'{"text": "x"}'),
        ("POST", "/repos/o/n/git/trees", b'{"tree": [{"mode": "0644"}]}'),
        ("GET", "/repos/o/n/commits/x/check-runs?check_names=a", None),
        ("GET", "/repos/o/n/issues/3/comments?page=one", None),
    ],
)
def test_the_description_refuses_what_github_would(
    description: Description, method: str, path: str, body: bytes | None
) -> None:
    with pytest.raises((AssertionError, ValueError, jsonschema.ValidationError)):
        description.check(method, f"https://api.github.com{path}", body)
