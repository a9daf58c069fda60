"""What stands on GitHub after a publish, whatever stood there before and whatever happens in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from matrix.cell import Report
from matrix.errors import OutsideError
from reports.github import branch, check, comment, pages
from reports.github.content import MARKER
from reports.github.outbox import Outbox
from reports.github.post import Done, publish
from reports.github.posting import Annotation, Check, Comment
from reports.github.refusal import LostError, RefusedError
from reports.github.request import Answer, Repository, Request, Send
from reports.github.required import Required, judge
from reports.github.wish import Matter, Wish
from tests.reports.github.hub import COMMIT, Hub

AT = Repository(owner="o", name="n")
EVERY = Wish(
    repository=AT,
    name="nvfp4-matrix",
    commit=COMMIT,
    check=True,
    status=True,
    number=3,
    branch="gh-pages",
    tag="v1",
)
Publish = Callable[..., Done]


def changed(
    report: Report, *, generated: str = "2026-11-22T03:00:00Z", verdict: str = "broken"
) -> Report:
    """The report of a day later: gemm of the newest release is broken on sm120."""

    def other(cell: Any) -> Any:
        mine = (cell.stack, cell.target, cell.capability) == ("vllm==0.33.0", "sm120", "gemm")
        return (
            msgspec.structs.replace(cell, verdict=verdict, reason="trap_kernel") if mine else cell
        )

    return msgspec.structs.replace(
        report, generated=generated, cells=tuple(other(cell) for cell in report.cells)
    )


def matter(report: Report, required: Required | None = None) -> Matter:
    return Matter(whole=report, brief=report, required=required or Required())


@pytest.fixture
def post(hub: Hub, small: Report, tmp_path: Path) -> Publish:
    def run(report: Report = small, wish: Wish = EVERY, send: Send = hub.send, **more: Any) -> Done:
        hub.requests.clear()
        return publish(
            send, wish, matter(report, **more), lambda: f"<p>{report.generated}", Outbox(tmp_path)
        )

    return run


def what(done: Done) -> dict[str, str]:
    assert done.failed == ()
    return {outcome.place: outcome.what for outcome in done.outcomes}


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
    later = msgspec.structs.replace(small, generated="2026-11-23T03:00:00Z")
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


def many(number: int) -> Check:
    remarks = tuple(
        Annotation(
            path="s.yaml",
            start_line=n,
            end_line=n,
            annotation_level="warning",
            message="m",
            title=str(n),
        )
        for n in range(1, number + 1)
    )
    return Check(
        repository=AT, name="n", hash="h", at="2026", commit=COMMIT, conclusion="failure", title="t",
        summary="s", text="x", annotations=remarks,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "requests"), [(0, 1), (50, 1), (51, 2), (120, 3)])
def test_annotations_go_in_batches(hub: Hub, number: int, requests: int) -> None:
    check.settle(hub.send, many(number), None)
    (run,) = hub.checks
    assert len(hub.requests) == requests
    assert [each["start_line"] for each in run["annotations"]] == list(range(1, number + 1))
    assert (run["status"], run["conclusion"]) == ("completed", "failure")
    assert all(len((r.body or {})["output"].get("annotations", [])) <= 50 for r in hub.requests)


def test_a_check_that_was_left_half_way_is_gone_on_with(hub: Hub) -> None:
    def away(request: Request) -> Answer:
        if request.method == "PATCH":
            raise LostError("away")
        return hub.send(request)

    with pytest.raises(LostError):
        check.settle(away, many(120), None)
    assert hub.checks[0]["status"] == "in_progress"
    check.settle(hub.send, many(120), check.look(hub.send, AT, COMMIT, "n"))
    (run,) = hub.checks
    assert [each["start_line"] for each in run["annotations"]] == list(range(1, 121))
    assert run["status"] == "completed"


def test_the_required_ones_decide_the_conclusion(post: Publish, hub: Hub, small: Report) -> None:
    now = changed(small)
    required = judge(now, ["gemm"], ["vllm==0.33.0"], ["slim"])
    post(now, required=required)
    assert hub.checks[0]["conclusion"] == "failure"
    assert hub.statuses[0]["state"] == "failure"
    assert "trap_kernel" in hub.checks[0]["output"]["summary"]


def down(_: Request) -> Answer:
    raise OutsideError("GitHub is away")


def test_what_cannot_be_posted_is_posted_by_the_next_run(
    post: Publish, hub: Hub, tmp_path: Path
) -> None:
    done = post(send=down)
    assert (len(done.failed), done.kept) == (5, 5)
    nothing = Wish(repository=AT, name="other")
    assert set(what(post(wish=nothing)).values()) == {"created"}
    assert len(hub.comments) == 1
    assert "could not be read" in hub.comments[0]["body"]
    assert list(tmp_path.iterdir()) == []


def test_something_newer_takes_the_place_of_what_was_kept(
    post: Publish, hub: Hub, small: Report, tmp_path: Path
) -> None:
    post(send=down)
    post(changed(small))
    assert len(hub.comments) == 1
    assert "2026-11-22" in hub.comments[0]["body"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_for_another_repository_waits(post: Publish, hub: Hub, tmp_path: Path) -> None:
    post(send=down)
    post(wish=Wish(repository=Repository(owner="a", name="b"), name="n"))
    assert hub.requests == []
    assert len(list(tmp_path.iterdir())) == 5


def test_a_damaged_file_in_the_outbox_is_passed_over(post: Publish, tmp_path: Path) -> None:
    (tmp_path / "x.posting.json").write_bytes(b"{")
    assert what(post())


def refuse(status: int, message: str = "", **headers: str) -> Send:
    content = msgspec.json.encode({"message": message})
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: Answer(status=status, headers=names, content=content)


@pytest.mark.parametrize(
    ("send", "words", "kept"),
    [
        (refuse(401, "Bad credentials"), "expired or revoked", 1),
        (refuse(403, "Resource not accessible by integration"), "issues: write", 1),
        (
            refuse(403, x_accepted_github_permissions="issues=write"),
            "GitHub accepts issues=write",
            1,
        ),
        (refuse(404, "Not Found"), "does not exist, or is private", 0),
        (refuse(410, "Gone"), "switched off", 0),
        (refuse(422, "Validation Failed"), "not one of this repository", 0),
        (refuse(301), "another name", 0),
    ],
)
def test_a_refusal_says_what_to_do(post: Publish, send: Send, words: str, kept: int) -> None:
    done = post(
        wish=msgspec.structs.replace(EVERY, check=False, status=False, branch="", tag=""), send=send
    )
    ((place, error),) = done.failed
    assert place == "the comment on #3"
    assert words in str(error)
    assert isinstance(error, RefusedError)
    assert error.exit_code == 2
    assert done.kept == kept


def test_one_refusal_does_not_keep_the_rest_from_being_posted(post: Publish, hub: Hub) -> None:
    def only_checks(request: Request) -> Answer | None:
        return Answer(status=403) if "check-runs" in request.path else None

    hub.faults = only_checks
    done = post()
    assert [place for place, _ in done.failed] == [f"the check on {COMMIT[:12]}"]
    assert len(done.outcomes) == 4


def test_a_first_commit_is_asked_for(post: Publish, hub: Hub) -> None:
    hub.faults = lambda request: (
        Answer(status=409, content=b'{"message": "Git Repository is empty."}')
        if "/git/" in request.path
        else None
    )
    done = post(wish=msgspec.structs.replace(EVERY, check=False, status=False, number=None, tag=""))
    assert "push a first commit" in str(done.failed[0][1])


def test_a_comment_that_is_kept_holds_no_secret_but_its_text(post: Publish, tmp_path: Path) -> None:
    post(send=down)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0
    kept = Outbox(tmp_path).kept(AT)
    assert {type(posting) for posting in kept} >= {Comment, Check}
