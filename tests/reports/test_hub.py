"""The tracker's questions to GitHub, through the real client, to a server on loopback."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable
from contextlib import closing

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from matrix.errors import ConfigurationError
from reports import hub
from reports.github.credential import APP, TOKENS, Token
from reports.pullrequest import Method
from tests.matrix.evidence.test_clone import Repo, served
from tests.reports.test_pullrequest import PIN, PROPOSAL, Hub
from tests.reports.test_watch_command import Run, desk, remote, resolver, run, vllm

__all__ = ["desk", "remote", "resolver", "run", "vllm"]


@pytest.fixture
def api(httpserver: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> HTTPServer:
    for name in (*TOKENS, APP):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_API_URL", httpserver.url_for("").rstrip("/"))
    return httpserver


def _method(request: Request) -> Method:
    return "GET" if request.method == "GET" else "PATCH" if request.method == "PATCH" else "POST"


def in_memory(held: Hub) -> Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        query = f"?{request.query_string.decode()}" if request.query_string else ""
        body = json.loads(request.data) if request.data else None
        status, document = held(_method(request), request.path.replace(":", "%3A") + query, body)
        return Response(json.dumps(document), status, content_type="application/json")

    return answer


def test_a_proposal_is_posted_once(api: HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_made0up")
    held = Hub()
    api.expect_request(re.compile(".*")).respond_with_handler(in_memory(held))
    proposer = hub.proposer("me/rigs", "main")
    assert proposer.propose(PROPOSAL) == "https://hub/1"
    assert proposer.propose(PROPOSAL) == "https://hub/1"
    assert len(held.pulls) == 1
    assert PIN.branch in held.refs


def test_without_a_login_nothing_is_proposed_or_known(api: HTTPServer) -> None:
    assert not api.log
    assert hub.known(lambda _: None) is None
    with pytest.raises(ConfigurationError, match="no token: set GITHUB_TOKEN"):
        hub.proposer("me/rigs", "main")


def test_a_thread_that_no_history_tells_of_is_asked_for(
    api: HTTPServer,
    run: Run,
    vllm: Repo,
    remote: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_made0up")
    remote(served(vllm))
    path = "/repos/vllm-project/vllm/issues/35947"
    api.expect_request(path, method="GET").respond_with_json({"state": "closed"})
    told = run("vllm#35947")
    assert (told.code, told.err) == (0, "")
    assert "vllm#35947  closed" in told.out
    monkeypatch.delenv("GITHUB_TOKEN")
    assert "vllm#35947  unknown" in run("vllm#35947").out
    monkeypatch.setenv("GITHUB_TOKEN", "ghs_made0up")
    clone = ("--clone", f"vllm-project/vllm={vllm.folder}")
    assert "vllm#35947  unknown" in run(*clone, "vllm#35947").out
    assert len(api.log) == 1


@pytest.mark.usefixtures("api")
def test_where_github_fails_that_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_PATIENCE", 0.0)
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        monkeypatch.setenv("GITHUB_API_URL", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    said: list[str] = []
    known = hub.Known(lambda at: hub.sender(at, Token(token="ghs_made0up")), said.append)
    assert known.state("a/b", 1) is None
    assert known.state("a/b", 2) is None
    assert known.failed
    assert len(said) == 1
    assert said[0].startswith("what is open upstream is not known: ")
