from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.watching import WatchReport
from reports.watchmarkdown import render
from tests.reports.test_watchlist import GOLDEN, ONE, REPORT, SAME


def test_the_table_is_as_it_was(golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "watch.md", render(REPORT))


def many(count: int) -> WatchReport:
    one = msgspec.structs.replace(ONE, title="word " * 30)
    return WatchReport(sources=(), watched=(*(one for _ in range(count)), SAME))


@pytest.mark.parametrize(
    ("limit", "titled", "rows"),
    [(100_000, True, 51), (10_000, False, 51), (1_000, False, 1), (150, False, 0)],
)
def test_it_degrades_in_steps_and_counts_what_is_left_out(
    limit: int, titled: bool, rows: int
) -> None:
    text = render(many(50), limit)
    assert len(text) <= limit
    assert ("word word" in text) is titled
    assert text.count("| `vllm") == rows
    assert ("Left out" in text) is (rows < 51)


@given(st.integers(0, 30), st.integers(0, 20_000))
def test_any_limit_is_kept(count: int, limit: int) -> None:
    assert len(render(many(count), limit)) <= limit


def test_hostile_titles_stay_in_their_cell() -> None:
    hostile = msgspec.structs.replace(
        ONE, title="| @you #7 <img> [x](https://y) `", first_image="a|b"
    )
    (row,) = (
        line
        for line in render(WatchReport(sources=(), watched=(hostile,))).splitlines()
        if "vllm" in line
    )
    assert row.replace("\\|", "").count("|") == 8
    assert not any(sign in row for sign in ("@y", "#7", "<img>", "](", "://"))
