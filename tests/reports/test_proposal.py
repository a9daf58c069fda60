from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.effect import Change
from matrix.newpin import NewPin
from reports.proposal import Proposal, body, told
from tests.reports.test_watchlist import ONE, change

PIN = NewPin(stack="spark", package="vllm", before="0.19.1", after="0.20.0", watches=("vllm#7",))


def test_the_text_says_what_why_and_what_the_evidence_does() -> None:
    changes = [
        change("compiled", "yes", environments=("slim", "devel")),
        change("verdict", "likely", before="broken", environments=("slim",)),
        change("compiled", "yes", "sm120", environments=("slim", "devel")),
    ]
    text = body(PIN, changes, [ONE], ["The lock a.txt is renewed."])
    assert "`spark`: `vllm` `0.19.1` becomes `0.20.0`." in text
    assert "The build keeps the suffix" in text
    rows = [line for line in text.splitlines() if line.startswith("| gemm")]
    assert rows == [
        "| gemm | verdict | broken | likely | sm121 aarch64 slim |",
        "| gemm | compiled | no | yes | sm121 aarch64, sm120 aarch64 |",
    ]
    assert "- The lock a.txt is renewed." in text


def test_what_changes_nothing_says_so() -> None:
    assert "No lamp and no verdict of this stack changes with it." in body(PIN, [], [ONE])


def test_nobody_is_mentioned_and_no_thread_referred_to() -> None:
    hostile = NewPin(
        stack="@everyone #1 <b>x</b> | https://github.com/a/b/issues/1",
        package="vllm",
        before="@main + #7",
        after="0.20.0",
        watches=("vllm#7",),
    )
    text = body(hostile, [change("verdict", "likely")], [ONE], ["see owner/name#5 and @somebody"])
    assert not any(sign in text for sign in ("#7", "#1", "#5", "@e", "@m", "@s", "://", "<b>"))


@given(st.integers(0, 400), st.integers(300, 70_000))
def test_a_text_is_no_longer_than_asked_for_and_counts_what_it_leaves_out(
    count: int, limit: int
) -> None:
    changes: list[Change] = [change("compiled", f"w{n}") for n in range(count)]
    text = body(PIN, changes, [ONE], limit=limit)
    assert len(text) <= limit
    told = text.count("| gemm |")
    assert told == count or "Left out" in text or text.endswith("…\n")


def test_a_dry_run_shows_branch_title_change_and_text() -> None:
    proposal = Proposal(
        PIN, PIN.branch, PIN.title, "body\n", {"a.yaml": "x: 1\ny: 3\n"}, {"a.yaml": "x: 1\ny: 2\n"}
    )
    assert told(proposal).splitlines() == [
        "branch nvfp4-matrix/spark-vllm-0.20.0",
        "title  spark: vllm 0.20.0, which has vllm 7",
        "",
        "--- a/a.yaml",
        "+++ b/a.yaml",
        "@@ -1,2 +1,2 @@",
        " x: 1",
        "-y: 2",
        "+y: 3",
        "",
        "body",
    ]


@pytest.mark.parametrize("limit", [0, 1, 10])
def test_even_a_hopeless_limit_is_kept(limit: int) -> None:
    assert len(body(PIN, [], [ONE], limit=limit)) <= max(limit, 2)
