"""What stands on GitHub after a publish, whatever stood there before."""

from __future__ import annotations

import msgspec
import pytest

from matrix.cell import Report
from reports.github import pages
from reports.github.refusal import LostError
from reports.github.request import Answer, Request, Send
from tests.reports.github.hub import Hub
from tests.reports.github.posted import EVERY, Publish, changed, what


def test_everything_is_made_once(post: Publish, hub: Hub) -> None:
    assert set(what(post()).values()) == {"created"}
    assert (len(hub.comments), len(hub.checks), len(hub.statuses), len(hub.assets)) == (1, 1, 1, 1)
    assert {
        "index.html",
        "matrix.json",
        "state.json",
        ".nojekyll",
        "badges/gemm-sm121.json",
    } <= set(hub.files("gh-pages"))


def test_the_same_run_twice_changes_nothing(post: Publish, hub: Hub, small: Report) -> None:
    post()
    post(changed(small))
    later = changed(small, generated="2026-11-23T03:00:00Z")
    assert set(what(post(later)).values()) == {"unchanged"}
    assert {request.method for request in hub.requests} == {"GET"}


def test_another_content_changes_what_is_there(post: Publish, hub: Hub, small: Report) -> None:
    post()
    told = what(post(changed(small)))
    assert set(told.values()) == {"changed"}
    assert len(hub.comments) == len(hub.assets) == 1
    assert "4 regressed" not in hub.comments[0]["body"]
    assert "**2 regressed, " in hub.comments[0]["body"]
    assert hub.checks[-1]["output"]["title"] == "nothing is required; 2 regressed"
    assert pages.read(hub.files("gh-pages")["state.json"].encode()).at == "2026-11-22T03:00:00Z"


def test_requests_stay_within_their_bounds(post: Publish, hub: Hub, small: Report) -> None:
    wish = msgspec.structs.replace(EVERY, tag="")
    post(wish=wish)
    post(wish=wish)
    assert len(hub.requests) <= 6
    post(changed(small), wish=wish)
    assert len(hub.requests) <= 12


def test_an_older_report_does_not_replace_a_newer_one(
    post: Publish, hub: Hub, small: Report
) -> None:
    post(changed(small))
    body = hub.comments[0]["body"]
    told = what(post(small, wish=msgspec.structs.replace(EVERY, status=False, tag="")))
    assert set(told.values()) == {"newer"}
    assert hub.comments[0]["body"] == body


def lost(hub: Hub, *, carried_out: bool) -> Send:
    """Lose the first answer to a request that is not to be sent twice."""
    left = [1]

    def send(request: Request) -> Answer:
        if not request.again and left:
            left.clear()
            if carried_out:
                hub.send(request)
            raise LostError("cut")
        return hub.send(request)

    return send


@pytest.mark.parametrize("kind", ["comment", "check", "asset"])
@pytest.mark.parametrize("carried_out", [True, False])
def test_a_lost_answer_makes_no_second_one(
    post: Publish, hub: Hub, kind: str, *, carried_out: bool
) -> None:
    wish = msgspec.structs.replace(
        EVERY, check=kind == "check", status=False, branch="", number=3 if kind == "comment" else None,
        tag="v1" if kind == "asset" else "",
    )  # fmt: skip
    done = post(wish=wish, send=lost(hub, carried_out=carried_out))
    assert done.failed == ()
    assert len({"comment": hub.comments, "check": hub.checks, "asset": hub.assets}[kind]) == 1
