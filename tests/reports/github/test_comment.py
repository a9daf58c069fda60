"""One comment, whoever else writes there, and at the same time."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from matrix.cell import Report
from reports.github import comment
from reports.github.content import MARKER
from reports.github.outbox import Outbox
from reports.github.post import publish
from reports.github.request import Answer, Request
from tests.reports.github.hub import Hub
from tests.reports.github.posted import AT, EVERY, Publish, changed, matter, what


def test_two_publishers_at_once_leave_one_comment(post: Publish, hub: Hub, small: Report) -> None:
    wish = msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag="")

    def raced(request: Request) -> Answer | None:
        if request.method == "POST":
            hub.faults = lambda _: None
            other = publish(hub_again, wish, matter(changed(small)), str, Outbox(Path("unused")))
            assert other.failed == ()
        return None

    def hub_again(request: Request) -> Answer:
        status, document = hub._answer(request)
        return Answer(status=status, content=msgspec.json.encode(document))

    hub.faults = raced
    assert set(what(post(wish=wish)).values()) == {"newer"}
    assert len(hub.comments) == 1
    assert "2026-11-22" in hub.comments[0]["body"]


def test_duplicates_are_removed_and_the_lowest_stays(post: Publish, hub: Hub) -> None:
    wish = msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag="")
    mine = f"{MARKER}name=nvfp4-matrix hash=x at=2020-01-01T00:00:00Z -->\nold"

    def raced(request: Request) -> Answer | None:
        if request.method == "POST":
            hub.faults = lambda _: None
            hub.comments += [hub.comment(mine), hub.comment(mine)]
        return None

    hub.faults = raced
    post(wish=wish)
    (left,) = hub.comments
    assert left["id"] == 1
    assert left["body"].count(MARKER) == 1
    assert "What really works" in left["body"] or "what really works" in left["body"]


@pytest.mark.parametrize(
    ("author", "more", "ours"),
    [
        ({"login": "github-actions[bot]", "type": "Bot"}, {}, True),
        ({"login": "me", "type": "User"}, {"author_association": "OWNER"}, True),
        ({"login": "me", "type": "User"}, {"author_association": "MEMBER"}, True),
        ({"login": "evil", "type": "User"}, {"author_association": "CONTRIBUTOR"}, False),
        ({"login": "evil", "type": "User"}, {"author_association": "NONE"}, False),
    ],
)
def test_an_outsiders_marker_is_not_edited(
    post: Publish, hub: Hub, author: dict[str, str], more: dict[str, str], *, ours: bool
) -> None:
    forged = f"{MARKER}name=nvfp4-matrix hash=x at=2020 -->\nHello"
    hub.comments.append(hub.comment(forged, author, **more))
    post(wish=msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag=""))
    assert len(hub.comments) == (1 if ours else 2)
    assert (hub.comments[0]["body"] != forged) is ours


def test_an_outsider_who_posts_finds_his_own(post: Publish, hub: Hub) -> None:
    forged = f"{MARKER}name=nvfp4-matrix hash=x at=2020 -->\nHello"
    hub.comments.append(hub.comment(forged, {"login": "evil", "type": "User"}))
    hub.author = {"login": "me", "type": "User"}
    wish = msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag="")
    assert set(what(post(wish=wish)).values()) == {"created"}
    assert set(what(post(wish=wish)).values()) == {"unchanged"}
    assert [each["user"]["login"] for each in hub.comments] == ["evil", "me"]
    assert hub.sent("GET").count("/user") == 1


@pytest.mark.parametrize("body", ["> {}", "Look: {}", "```\n{}\n```"])
def test_a_marker_that_is_quoted_is_not_ours(hub: Hub, body: str) -> None:
    quoted = body.format(f"{MARKER}name=nvfp4-matrix hash=x at=2020 -->")
    hub.comments.append(hub.comment(quoted))
    assert comment.look(hub.send, AT, 3, "nvfp4-matrix") is None


def test_a_comment_without_a_state_is_not_taken_for_none(post: Publish, hub: Hub) -> None:
    hub.comments.append(hub.comment(f"{MARKER}name=nvfp4-matrix hash=x at=2020 -->\nold"))
    post(wish=msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag=""))
    assert "could not be read" in hub.comments[0]["body"]


def test_matrices_of_other_names_stand_beside_each_other(post: Publish, hub: Hub) -> None:
    post()
    post(wish=msgspec.structs.replace(EVERY, name="nightly", branch="", tag=""))
    assert len(hub.comments) == 2


def test_the_comment_is_found_on_a_later_page(post: Publish, hub: Hub) -> None:
    hub.comments += [hub.comment(f"chatter {n}") for n in range(230)]
    wish = msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag="")
    assert set(what(post(wish=wish)).values()) == {"created"}
    assert set(what(post(wish=wish)).values()) == {"unchanged"}
    assert len(hub.requests) == 3
