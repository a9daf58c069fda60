"""What cannot be posted: kept where that helps, and told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from matrix.cell import Report
from reports.github.outbox import Outbox
from reports.github.posting import Check, Comment
from reports.github.refusal import NEEDED, Feature, RefusedError
from reports.github.request import Answer, Repository, Request, Send
from reports.github.wish import Wish
from tests.reports.github.hub import COMMIT, Hub
from tests.reports.github.posted import AT, EVERY, Publish, changed, down, what


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
        (refuse(422, "Validation Failed"), "one of this repository?", 0),
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


@pytest.mark.parametrize("feature", sorted(NEEDED))
def test_the_docs_have_the_same_table_of_permissions(feature: Feature) -> None:
    by_token, by_job = NEEDED[feature]
    text = (Path(__file__).parents[3] / "docs/publish.md").read_text(encoding="utf-8")
    row = next(
        line for line in text.splitlines() if line.startswith("| `") and f"| {by_token} |" in line
    )
    assert row.endswith(f"| `{by_job}` |")


def test_a_comment_that_is_kept_holds_no_secret_but_its_text(post: Publish, tmp_path: Path) -> None:
    post(send=down)
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0
    kept = Outbox(tmp_path).kept(AT)
    assert {type(posting) for posting in kept} >= {Comment, Check}
