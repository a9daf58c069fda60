"""Whatever is lost, refused or done by others in between: in the end everything stands there once."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.cell import Report
from matrix.errors import OutsideError
from reports.github import pages
from reports.github.content import MARKER
from reports.github.outbox import Outbox
from reports.github.post import publish
from reports.github.refusal import LostError
from reports.github.request import Answer, Request
from tests.reports.conftest import build_report
from tests.reports.github.hub import Hub
from tests.reports.github.posted import EVERY, changed, matter, what

SMALL = build_report(("0.33.0",), ("gemm",))
DAYS = (
    SMALL,
    changed(SMALL, generated="2026-11-22T03:00:00Z"),
    changed(SMALL, generated="2026-11-23T03:00:00Z", verdict="fallback"),
)
LUCK = st.lists(st.sampled_from(("ok", "ok", "lost before", "lost after", "away")), max_size=40)


class Unlucky:
    """The hub behind a bad line: each request has its luck; when that is used up, all is well."""

    def __init__(self, hub: Hub, luck: list[str]) -> None:
        self.hub = hub
        self.luck = iter(luck)

    def send(self, request: Request) -> Answer:
        match next(self.luck, "ok"):
            case "ok":
                return self.hub.send(request)
            case "lost after" if not request.again:
                self.hub.send(request)
                raise LostError("cut")
            case "lost before" if not request.again:
                raise LostError("cut")
            case "lost after":  # the client sent it again, and gave up
                self.hub.send(request)
        raise OutsideError("away")


def stands_once(hub: Hub, report: Report) -> None:
    (comment,) = hub.comments
    assert comment["body"].count(MARKER) == 1
    newest = max(hub.checks, key=lambda run: run["id"])
    assert newest["status"] == "completed"
    assert pages.read(hub.files("gh-pages")["state.json"].encode()).hash
    verdicts = {cell.verdict for cell in report.cells}
    assert ("✗ broken" in newest["output"]["text"]) is ("broken" in verdicts)
    assert ("✗ broken" in comment["body"].partition("### gemm")[2]) is ("broken" in verdicts)
    assert len(hub.assets) == 1


@given(LUCK)
@settings(deadline=None)
def test_days_of_bad_luck_leave_everything_once(luck: list[str]) -> None:
    hub = Hub()
    line = Unlucky(hub, luck)
    with TemporaryDirectory() as folder:
        outbox = Outbox(Path(folder))
        for day in DAYS:
            publish(line.send, EVERY, matter(day), lambda: "<p>", outbox)
        done = publish(hub.send, EVERY, matter(DAYS[-1]), lambda: "<p>", outbox)
        assert done.failed == ()
        assert list(outbox.kept(EVERY.repository)) == []
        stands_once(hub, DAYS[-1])
        again = publish(hub.send, EVERY, matter(DAYS[-1]), lambda: "<p>", outbox)
        assert set(what(again).values()) == {"unchanged"}


def moments() -> Iterator[tuple[int, bool, bool]]:
    """At which request of the first publisher the other one runs, whether something stands there, who is newer."""
    for there in (False, True):
        for newer in (False, True):
            yield from ((at, there, newer) for at in range(1, 22))


@pytest.mark.parametrize(("at", "there", "newer"), tuple(moments()))
def test_another_publisher_at_any_moment_leaves_one_of_everything(
    tmp_path: Path, at: int, *, there: bool, newer: bool
) -> None:
    hub = Hub()
    if there:
        publish(hub.send, EVERY, matter(DAYS[0]), lambda: "<p>", Outbox(tmp_path / "0"))
    mine, other = (DAYS[1], DAYS[2]) if newer else (DAYS[2], DAYS[1])
    number = count(1)

    def interrupted(request: Request) -> Answer:
        if next(number) == at:
            done = publish(hub.send, EVERY, matter(other), lambda: "<p>", Outbox(tmp_path / "2"))
            assert done.failed == ()
        return hub.send(request)

    done = publish(interrupted, EVERY, matter(mine), lambda: "<p>", Outbox(tmp_path / "1"))
    assert done.failed == ()
    assert len(hub.comments) == 1
    final = publish(hub.send, EVERY, matter(DAYS[2]), lambda: "<p>", Outbox(tmp_path / "3"))
    assert final.failed == ()
    stands_once(hub, DAYS[2])
    assert msgspec.json.decode(hub.files("gh-pages")["state.json"])["at"] == DAYS[2].generated
