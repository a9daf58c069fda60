"""The results branch, whoever else commits to it."""

from __future__ import annotations

import msgspec
import pytest

from matrix.cell import Report
from matrix.errors import OutsideError
from reports.github import branch, pages
from reports.github.refusal import RefusedError
from reports.github.request import Answer, Request
from tests.reports.github.hub import Hub
from tests.reports.github.posted import AT, EVERY, Publish, changed, what


def test_another_commit_in_between_is_built_upon(post: Publish, hub: Hub, small: Report) -> None:
    wish = msgspec.structs.replace(EVERY, check=False, status=False, number=None, tag="")
    post(wish=wish)

    def raced(request: Request) -> Answer | None:
        if request.method == "PATCH":
            hub.faults = lambda _: None
            tree = hub._keep({**hub.files("gh-pages"), "CNAME": "example.org"})
            hub.refs["gh-pages"] = hub._keep({"tree": tree, "parents": [hub.refs["gh-pages"]]})
        return None

    hub.faults = raced
    assert what(post(changed(small), wish=wish)) == {"the branch gh-pages": "changed"}
    files = hub.files("gh-pages")
    assert files["CNAME"] == "example.org"
    assert pages.read(files["state.json"].encode()).at == "2026-11-22T03:00:00Z"


def test_a_branch_that_two_make_at_once_is_one(post: Publish, hub: Hub) -> None:
    wish = msgspec.structs.replace(EVERY, check=False, status=False, number=None, tag="")

    def raced(request: Request) -> Answer | None:
        if request.path.endswith("/git/refs"):
            hub.faults = lambda _: None
            tree = hub._keep({"README": "x"})
            hub.refs["gh-pages"] = hub._keep({"tree": tree, "parents": []})
        return None

    hub.faults = raced
    post(wish=wish)
    assert {"README", "state.json"} <= set(hub.files("gh-pages"))


def test_files_that_are_no_longer_made_are_removed(post: Publish, hub: Hub, small: Report) -> None:
    wish = msgspec.structs.replace(EVERY, check=False, status=False, number=None, tag="")
    post(wish=wish)
    cells = tuple(cell for cell in small.cells if cell.capability == "gemm")
    post(msgspec.structs.replace(changed(small), cells=cells), wish=wish)
    assert not [name for name in hub.files("gh-pages") if name.startswith("badges/moe")]


def test_an_answer_that_is_no_branch_is_told() -> None:
    with pytest.raises(OutsideError, match="something else than a branch"):
        branch.look(lambda _: Answer(status=200, content=b'{"name": "x"}'), AT, "gh-pages")


def test_a_protected_branch_is_not_taken_for_a_race(post: Publish, hub: Hub) -> None:
    refusal = b'{"message": "Changes must be made through a pull request."}'
    hub.faults = lambda request: (
        Answer(status=422, content=refusal) if request.path.endswith("/git/refs") else None
    )
    done = post(wish=msgspec.structs.replace(EVERY, check=False, status=False, number=None, tag=""))
    assert "through a pull request" in str(done.failed[0][1])
    assert isinstance(done.failed[0][1], RefusedError)
    assert len(hub.sent("POST")) == 3


def test_a_first_commit_is_asked_for(post: Publish, hub: Hub) -> None:
    hub.faults = lambda request: (
        Answer(status=409, content=b'{"message": "Git Repository is empty."}')
        if "/git/" in request.path
        else None
    )
    done = post(wish=msgspec.structs.replace(EVERY, check=False, status=False, number=None, tag=""))
    assert "push a first commit" in str(done.failed[0][1])
