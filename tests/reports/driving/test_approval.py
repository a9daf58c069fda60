from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reports.driving.approval import LABEL, Approval, approval
from reports.driving.event import Pulled

COMMIT = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"


def event(**changes: Any) -> Pulled:
    """An event as GitHub sends it, less what nobody looks at."""
    made: dict[str, Any] = {
        "action": "labeled",
        "label": {"name": LABEL},
        "sender": {"login": "maintainer", "type": "User"},
        "pull_request": {
            "number": 2,
            "updated_at": "2026-11-21T15:20:35Z",
            "labels": [{"name": LABEL}],
            "head": {"sha": COMMIT, "repo": {"pushed_at": "2026-11-21T15:00:00Z"}},
        },
    }
    for name, value in changes.items():
        place, _, key = name.rpartition("__")
        inside = made
        for step in filter(None, place.split("__")):
            inside = inside[step]
        inside[key] = value
    return msgspec.convert(made, Pulled)


def test_the_label_approves_the_commit_that_it_was_put_on_and_goes() -> None:
    assert approval(event()) == Approval(commit=COMMIT, remove=True, who="maintainer")


def test_a_push_afterwards_approves_nothing_and_takes_the_label_off() -> None:
    found = approval(event(action="synchronize", label=None))
    assert (found.commit, found.remove) == ("", True)
    assert not approval(event(action="synchronize", pull_request__labels=[])).remove


@pytest.mark.parametrize("name", ["bug", "Probe", "probe ", "probe-sm121", ""])
def test_another_label_means_nothing_even_where_ours_is_there(name: str) -> None:
    assert approval(event(label={"name": name})) == Approval(why="it is another label")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sender": {"login": "bot", "type": "Bot"}}, "a person approves"),
        ({"pull_request__head__sha": "main"}, "no commit"),
        ({"pull_request__head__sha": f"{COMMIT}/../x"}, "no commit"),
        ({"pull_request__head__repo": None}, "is gone"),
        ({"pull_request__head__repo": {"pushed_at": None}}, "is gone"),
        (
            {"pull_request__head__repo": {"pushed_at": "2026-11-21T15:19:36Z"}},
            "less than 60 s before",
        ),
        (
            {"pull_request__head__repo": {"pushed_at": "2026-11-21T15:21:00Z"}},
            "less than 60 s before",
        ),
        ({"pull_request__head__repo": {"pushed_at": "soon"}}, ""),
        ({"pull_request__updated_at": "2026-11-21T15:20:35"}, "zone"),
    ],
)
def test_a_label_that_cannot_be_of_what_was_read_approves_nothing_and_goes(
    changes: dict[str, Any], why: str
) -> None:
    """Somebody who pushes at the very moment must not have what nobody has read approved."""
    found = approval(event(**changes))
    assert (found.commit, found.who, found.remove) == ("", "", True)
    assert why in found.why
