from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probes.finding import STATUSES, Finding

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


@given(
    status=st.sampled_from(STATUSES),
    reason=st.sampled_from(["", "hang"]),
    metrics=st.dictionaries(st.text(max_size=3), st.tuples(st.floats(), st.just("1")), max_size=2),
    kernels=st.lists(st.just("k"), max_size=1),
)
def test_what_can_be_built_keeps_the_rules(
    status: str, reason: str, metrics: dict[str, tuple[float, str]], kernels: list[str]
) -> None:
    try:
        found = Finding(status=status, reason=reason, metrics=metrics, kernels=tuple(kernels))
    except ValueError:
        return
    assert (found.status == "pass") == (found.reason == "")
    assert found.status != "pass" or (found.metrics and found.kernels)
    assert all(math.isfinite(value) for value, _ in found.metrics.values())
