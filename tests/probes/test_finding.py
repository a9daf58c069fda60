from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.journal import decode
from matrix.result import Result
from probes import lines
from probes.case import Case
from probes.finding import MARKS, STATUSES, Finding
from probes.request import Request

REQUEST = Request(
    run="one", stack="s", target="sm121", machine="aarch64", subject="vllm", results="one.jsonl"
)

PASS: dict[str, Any] = {"status": "pass", "metrics": {"error": (0.1, "1")}, "kernels": ("nvfp4",)}


def test_a_pass_needs_no_reason() -> None:
    assert Finding(**PASS).reason == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reason": "hang"}, "it has no reason"),
        ({"metrics": {}}, "metrics are missing"),
        ({"kernels": ()}, "no kernel is named"),
        ({"status": "works"}, "is none"),
        ({"metrics": {"error": (math.nan, "1")}}, "error is not finite"),
        ({"metrics": {"error": (math.inf, "1")}}, "error is not finite"),
        ({"durations": {"first": math.nan}}, "first took no time"),
        ({"durations": {"first": -1.0}}, "first took no time"),
        ({"durations": {"first": math.inf}}, "first took no time"),
        ({"status": "fail"}, "a reason has to say why"),
        ({"status": "skip", "metrics": {}}, "a reason has to say why"),
    ],
)
def test_a_finding_that_contradicts_itself_cannot_be_built(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        Finding(**{**PASS, **change})


def test_kernels_may_be_unproven_where_that_is_told() -> None:
    found = Finding(**{**PASS, "kernels": (), "marks": ("kernels-unproven",)})
    assert found.status == "pass"


@pytest.mark.parametrize(
    "change",
    [
        {"status": "fallback", "reason": "hang"},
        {"status": "fail", "reason": "weight_only_fallback"},
        {"status": "slow", "reason": "hang"},
        {"status": "slow", "reason": "slower_than_baseline"},
        {"status": "slow", "reason": "throttled", "metrics": {}},
        {"status": "missing", "reason": "runner_lost"},
        {"metrics": {"Bad name": (1.0, "1")}},
    ],
)
def test_a_reason_is_one_of_its_status(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=change.get("status", "pass")):
        Finding(**{**PASS, **change})


NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
NAMES = st.sampled_from(["error", "speed_ratio", "Bad name", ""])


@given(
    status=st.sampled_from(STATUSES),
    reason=st.sampled_from(
        ["", "hang", "weight_only_fallback", "slower_than_baseline", "throttled"]
    ),
    text=st.text(max_size=20),
    marks=st.lists(st.sampled_from([*MARKS, "odd"]), max_size=2),
    metrics=st.dictionaries(
        NAMES, st.tuples(NUMBERS, st.sampled_from(["1", "ms", "odd"])), max_size=2
    ),
    durations=st.dictionaries(NAMES, NUMBERS, max_size=1),
    kernels=st.lists(st.just("k"), max_size=1),
)
def test_the_line_of_every_finding_that_can_be_built_is_a_result(
    *,
    status: str,
    reason: str,
    text: str,
    marks: list[str],
    metrics: dict[str, tuple[float, str]],
    durations: dict[str, float],
    kernels: list[str],
) -> None:
    try:
        found = Finding(
            status=status,
            reason=reason,
            text=text,
            marks=tuple(marks),
            metrics=metrics,
            durations=durations,
            kernels=tuple(kernels),
        )
    except ValueError:
        return
    assert (found.status == "pass") == (found.reason == "")
    case = Case("correctness.gemm", "gemm", "cutlass", {"m": 1})
    line = json.dumps(lines.result(REQUEST, case, "0" * 64, found)).encode() + b"\n"
    assert isinstance(decode(line), Result)
