from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from matrix import schemas
from matrix.result import SPEED, Metric, Probe, Result, unfit_name

GOOD: dict[str, Any] = {
    "stack": "vllm==0.33.0",
    "target": "sm121",
    "machine": "aarch64",
    "capability": "serve",
    "probe": Probe(name="serve", sha256="0" * 64),
    "kernels": ("FlashInferCutlassNvFp4LinearKernel",),
    "status": "pass",
    "metrics": {"output_throughput": Metric(value=18.91, unit="tok/s")},
    "when": "2026-11-21T03:00:00Z",
    "run": "one",
}
RATIO = {SPEED: Metric(value=0.7, unit="ratio")}


def made(**changes: Any) -> Result:
    return Result(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"metrics": {}}, "status pass: its metrics are missing"),
        ({"kernels": ()}, "no kernel is named"),
        ({"reason": "hang"}, "status pass: it has no reason"),
        ({"status": "fail"}, "status fail: a reason has to say why"),
        ({"status": "error"}, "a reason has to say why"),
        ({"status": "skip"}, "a reason has to say why"),
        ({"status": "slow", "reason": "slower_than_baseline"}, f"its {SPEED} has to be there"),
        (
            {
                "status": "slow",
                "reason": "slower_than_baseline",
                "metrics": {SPEED: Metric(value=1.0, unit="ratio")},
            },
            f"its {SPEED} has to be there and under 1",
        ),
        ({"status": "slow", "reason": "hang", "metrics": RATIO}, "hang is no reason for it"),
        ({"status": "slow", "reason": "throttled", "metrics": {}}, "its metrics are missing"),
        ({"status": "fallback", "reason": "hang"}, "hang is no reason for it"),
        ({"status": "fail", "reason": "emulation_fallback"}, "is no reason for it"),
        ({"status": "missing", "reason": "runner_lost"}, "no metrics, kernels or durations"),
        ({"stack": " "}, "the stack's name is empty"),
        ({"stack": "a\x1b[31m"}, "cannot be seen"),
        ({"stack": "a" * 201}, "longer than 200"),
        ({"when": "yesterday"}, "`when` is no UTC time"),
        ({"durations": {"run": -1.0}}, "a duration is a number of seconds"),
        ({"durations": {"run": float("nan")}}, "a duration is a number of seconds"),
    ],
)
def test_a_result_that_contradicts_itself_cannot_be_built(
    changes: dict[str, Any], told: str
) -> None:
    assert made()
    with pytest.raises(ValueError, match=re.escape(told)):
        made(**changes)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_metric_is_finite(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Metric(value=value, unit="s")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"kernels": (), "marks": ("kernels-unproven",)},
        {"status": "slow", "reason": "slower_than_baseline", "metrics": RATIO},
        {"status": "fallback", "reason": "weight_only_fallback"},
        {"status": "missing", "reason": "runner_lost", "metrics": {}, "kernels": ()},
        {"status": "error", "reason": "incomplete_log", "metrics": {}},
    ],
)
def test_one_that_does_not_is_what_it_was_after_a_round_trip_and_fits_the_schema(
    changes: dict[str, Any],
) -> None:
    result = made(**changes)
    encoded = msgspec.json.encode(result)
    assert msgspec.json.decode(encoded, type=Result) == result
    held = json.loads(schemas.path("result").read_text(encoding="utf-8"))
    Draft202012Validator(held).validate(json.loads(encoded))


def test_what_contradicts_itself_cannot_be_read_either() -> None:
    document = json.loads(msgspec.json.encode(made()))
    document["metrics"] = {}
    with pytest.raises(msgspec.ValidationError, match="its metrics are missing"):
        msgspec.json.decode(json.dumps(document), type=Result)


statuses = st.sampled_from(["pass", "fallback", "slow", "fail", "skip", "error", "missing"])
reasons = st.sampled_from(
    ["", "hang", "weight_only_fallback", "slower_than_baseline", "throttled", "incomplete_log"]
)


@given(
    status=statuses,
    reason=reasons,
    ratio=st.none() | st.floats(0.01, 2),
    kernels=st.sampled_from([(), ("a",)]),
    marks=st.sampled_from([(), ("kernels-unproven",)]),
)
def test_whatever_can_be_built_is_consistent(
    status: Any, reason: Any, ratio: float | None, kernels: Any, marks: Any
) -> None:
    metrics = {} if ratio is None else {SPEED: Metric(value=ratio, unit="ratio")}
    try:
        result = made(status=status, reason=reason, metrics=metrics, kernels=kernels, marks=marks)
    except ValueError:
        return
    assert (result.status == "pass") == (result.reason == "")
    if result.status in ("pass", "slow"):
        assert result.metrics
    if result.reason == "slower_than_baseline" and result.status == "slow":
        assert result.metrics[SPEED].value < 1
    assert (result.status == "fallback") == (result.reason == "weight_only_fallback")
    assert msgspec.json.decode(msgspec.json.encode(result), type=Result) == result


@given(st.text())
def test_a_name_that_is_fit_can_be_printed_on_one_line(name: str) -> None:
    if not unfit_name(name):
        assert not set("\n\r\x1b\0") & set(name)
        assert not name.startswith("-")


@pytest.mark.parametrize("name", ["-", "--image=theirs", "--here"])
def test_a_name_is_no_option_of_the_commands_that_it_is_handed_to(name: str) -> None:
    assert unfit_name(name) == "begins with -"


@pytest.mark.parametrize("name", ["::stop-commands::x", "mine ##[error]x"])
def test_a_name_that_a_workflow_s_log_would_obey_is_none(name: str) -> None:
    assert unfit_name(name) == "holds what a workflow's log would obey"
