from __future__ import annotations

import pytest

from matrix.errors import OutsideError
from reports.driving.permission import may_write
from tests.reports.driving.github import REPOSITORY, GitHub


@pytest.mark.parametrize(
    ("permission", "may"),
    [
        ("admin", True),
        ("write", True),
        ("read", False),
        ("none", False),
        ("triage", False),
        (None, False),
    ],
)
def test_who_can_write_to_the_repository_may(permission: str | None, may: bool) -> None:
    there = GitHub({"GET /collaborators/somebody/permission": {"permission": permission}})
    assert may_write(there.send, REPOSITORY, "somebody") is may


def test_who_is_nobody_there_may_not() -> None:
    assert may_write(GitHub().send, REPOSITORY, "somebody") is False


@pytest.mark.parametrize("answer", [401, 403, 500, 304, []])
def test_where_github_does_not_say_it_nobody_may(answer: object) -> None:
    there = GitHub({"GET /collaborators/somebody/permission": answer})
    with pytest.raises(OutsideError, match="when asked what somebody may do"):
        may_write(there.send, REPOSITORY, "somebody")


def test_a_name_is_no_path() -> None:
    there = GitHub()
    may_write(there.send, REPOSITORY, "../../orgs?x=")
    assert there.asked == ["GET /collaborators/..%2F..%2Forgs%3Fx%3D/permission"]
