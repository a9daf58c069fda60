from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from matrix.errors import ConfigurationError, OutsideError
from matrix.evidence.git import blob
from matrix.newpin import NewPin
from reports.proposal import Proposal
from reports.pullrequest import Method, PullRequests, Threads

PIN = NewPin(stack="desk", package="vllm", before="0.1.0", after="0.2.0", watches=("vllm#7",))
PROPOSAL = Proposal(
    PIN, PIN.branch, PIN.title, "body\n", {"stacks.yaml": "new\n"}, {"stacks.yaml": "old\n"}
)


class Hub:
    """A repository on GitHub, in memory, as far as these requests see it."""

    def __init__(self) -> None:
        self.files = {"stacks.yaml": "old\n"}
        self.commits: dict[str, dict[str, Any]] = {}
        self.refs: dict[str, str] = {}
        self.pulls: list[dict[str, Any]] = []
        self.writes: list[str] = []
        self.refs["main"] = self.add(
            {"tree": "tree-main", "parents": [], "author": {"email": "a@b"}}
        )

    def add(self, body: Mapping[str, Any]) -> str:
        sha = f"c{len(self.commits)}"
        parents = [{"sha": parent} for parent in body["parents"]]
        self.commits[sha] = {
            "sha": sha,
            "tree": {"sha": body["tree"]},
            "parents": parents,
            "author": body["author"],
        }
        return sha

    def __call__(
        self, method: Method, path: str, body: Mapping[str, Any] | None = None, /
    ) -> tuple[int, Any]:
        rest = path.removeprefix("/repos/me/rigs/")
        if method != "GET":
            self.writes.append(f"{method} {rest}")
            return self.write(method, rest, body or {})
        if rest.startswith("pulls?"):
            assert rest == "pulls?state=all&head=me%3Anvfp4-matrix%2Fdesk-vllm-0.2.0"
            return 200, self.pulls
        if rest == "branches/main":
            tip = self.commits[self.refs["main"]]
            return 200, {"commit": {"sha": tip["sha"], "commit": {"tree": tip["tree"]}}}
        if found := re.fullmatch(r"contents/(.+)\?ref=c0", rest):
            content = self.files.get(found[1])
            return (200, {"sha": blob(content)}) if content is not None else (404, {})
        if found := re.fullmatch(r"git/ref/heads/(.+)", rest):
            sha = self.refs.get(found[1])
            return (200, {"object": {"sha": sha}}) if sha else (404, {"message": "Not Found"})
        assert rest.startswith("git/commits/"), rest
        return 200, self.commits[rest.removeprefix("git/commits/")]

    def write(self, method: str, rest: str, body: Mapping[str, Any]) -> tuple[int, Any]:
        match method, rest:
            case "POST", "git/trees":
                assert body["base_tree"] == "tree-main"
                return 201, {"sha": f"tree of {body['tree']}"}
            case "POST", "git/commits":
                return 201, {"sha": self.add(body)}
            case "POST", "git/refs":
                self.refs[body["ref"].removeprefix("refs/heads/")] = body["sha"]
                return 201, {}
            case "POST", "pulls":
                pull = {**body, "number": 1, "state": "open", "html_url": "https://hub/1"}
                self.pulls.append(pull)
                return 201, pull
            case "PATCH", "pulls/1":
                self.pulls[0] |= body
                return 200, self.pulls[0]
            case _:
                assert body["force"], "the branch is made anew on another base"
                self.refs[rest.removeprefix("git/refs/heads/")] = body["sha"]
                return 200, {}


def test_a_proposal_is_one_branch_and_one_pull_request() -> None:
    hub = Hub()
    assert PullRequests(hub, "me/rigs", "main").propose(PROPOSAL) == "https://hub/1"
    assert (hub.pulls[0]["head"], hub.pulls[0]["base"]) == (PIN.branch, "main")
    assert (hub.pulls[0]["title"], hub.pulls[0]["body"]) == (PIN.title, "body\n")
    tip = hub.commits[hub.refs[PIN.branch]]
    assert tip["parents"] == [{"sha": "c0"}]
    assert "'content': 'new\\n'" in tip["tree"]["sha"]


def test_proposed_twice_nothing_changes_and_another_text_is_edited_in_place() -> None:
    hub = Hub()
    proposer = PullRequests(hub, "me/rigs", "main")
    proposer.propose(PROPOSAL)
    hub.writes.clear()
    assert proposer.propose(PROPOSAL) == "https://hub/1"
    assert hub.writes == ["POST git/trees"]  # which makes nothing that is not there
    proposer.propose(PROPOSAL._replace(body="more\n"))
    assert [pull["body"] for pull in hub.pulls] == ["more\n"]


def test_other_files_move_the_branch() -> None:
    hub = Hub()
    proposer = PullRequests(hub, "me/rigs", "main")
    proposer.propose(PROPOSAL)
    first = hub.refs[PIN.branch]
    proposer.propose(PROPOSAL._replace(files={"stacks.yaml": "newer\n"}))
    assert hub.refs[PIN.branch] != first
    assert len(hub.pulls) == 1


def test_what_somebody_closed_is_not_opened_again() -> None:
    hub = Hub()
    hub.pulls.append({"number": 1, "state": "closed", "html_url": "https://hub/1"})
    told = PullRequests(hub, "me/rigs", "main").propose(PROPOSAL)
    assert told == "https://hub/1 was closed, and is not opened again"
    assert not hub.writes


@pytest.mark.parametrize("there", [{"stacks.yaml": "edited\n"}, {}])
def test_what_the_base_has_is_not_written_over(there: dict[str, str]) -> None:
    hub = Hub()
    hub.files = there
    with pytest.raises(ConfigurationError, match="bring it up to date"):
        PullRequests(hub, "me/rigs", "main").propose(PROPOSAL)
    assert not hub.writes


def test_a_branch_of_somebody_else_is_left_alone() -> None:
    hub = Hub()
    theirs = hub.add({"tree": "t", "parents": [], "author": {"email": "somebody@else"}})
    hub.refs[PIN.branch] = theirs
    with pytest.raises(ConfigurationError, match="a commit of somebody else's"):
        PullRequests(hub, "me/rigs", "main").propose(PROPOSAL)
    assert hub.refs[PIN.branch] == theirs


@pytest.mark.parametrize(
    ("status", "error", "what"),
    [
        (401, ConfigurationError, ": the token needs Contents: write and Pull requests: write"),
        (403, ConfigurationError, ": the token needs Contents: write and Pull requests: write"),
        (404, ConfigurationError, ": the token needs Contents: write and Pull requests: write"),
        (500, OutsideError, "$"),
    ],
)
def test_a_refusal_is_one_line_and_names_the_permission(
    status: int, error: type[Exception], what: str
) -> None:
    def refuse(
        method: Method, path: str, body: Mapping[str, Any] | None = None, /
    ) -> tuple[int, Any]:
        del method, path, body
        return status, {"message": "no\nway"}

    with pytest.raises(error, match=rf"GitHub answers {status} \(no way\) to GET \S+{what}"):
        PullRequests(refuse, "me/rigs", "main").propose(PROPOSAL)


def test_a_blob_is_named_as_git_names_it() -> None:
    assert blob("") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert blob("\u00e4\n") == "8be8316c70848caa99b9b3086c64976e82d1c17d"


@pytest.mark.parametrize(
    ("status", "document", "state"),
    [
        (200, {"state": "open"}, "open"),
        (200, {"state": "closed"}, "closed"),
        (200, {"state": "closed", "pull_request": {"merged_at": None}}, "closed"),
        (200, {"state": "closed", "pull_request": {"merged_at": "2026-03-01"}}, "merged"),
        (404, {"message": "Not Found"}, None),
        (200, [], None),
        (200, {"state": "odd"}, None),
        (502, None, None),
    ],
)
def test_a_thread_is_open_closed_merged_or_not_known(
    status: int, document: Any, state: str | None
) -> None:
    def ask(method: Method, path: str, body: Mapping[str, Any] | None = None, /) -> tuple[int, Any]:
        assert (method, path, body) == ("GET", "/repos/vllm-project/vllm/issues/7", None)
        return status, document

    assert Threads(ask).state("vllm-project/vllm", 7) == state
