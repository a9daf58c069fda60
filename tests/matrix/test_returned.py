from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrix.plan import Job, Plan
from matrix.planned import PlanOutput, handed_on, spots
from matrix.proberun import ProbeRun
from matrix.result import Result, Source
from matrix.returned import Given, missing, take
from tests.matrix.test_proberun import opening, result

NOW = "2026-11-21T15:00:00Z"
JOB = Job(
    stack="vllm==0.33.0",
    target="sm121",
    machine="aarch64",
    cells={"slim": ("gemm", "moe"), "devel": ("gemm",)},
)
AWAY = msgspec.structs.replace(JOB, target="sm120", machine="x86_64")


def outline(*away: Job) -> PlanOutput:
    why = {("sm120", "x86_64"): ("runner offline", "2026-11-20T03:00:00Z")}
    return handed_on(Plan(jobs=(JOB,), pruned=()), when=NOW, away=away, why=why)


def given(*lines: Result | ProbeRun, run: str = "one") -> list[Given]:
    return [
        Given(run, f"{run}.jsonl:{number}", msgspec.json.encode(line) + b"\n")
        for number, line in enumerate(lines, 1)
    ]


def test_a_result_of_a_planned_cell_is_taken_with_the_line_that_opens_its_run() -> None:
    lines = (opening("m=1"), result("m=1"))
    taken = take(given(*lines, *lines), outline(), now=NOW)
    assert (taken.runs, taken.refused) == ({"one": lines}, ())


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"stack": "vllm==0.32.0"}, "the plan has no such stack"),
        ({"target": "sm120"}, "the plan has no such stack"),
        ({"target": "cpu"}, "the plan has no such stack"),
        ({"environment": ""}, "the plan has no such stack"),
        ({"environment": "devel", "capability": "moe"}, "the plan does not ask for moe there"),
        ({"capability": "serve"}, "the plan does not ask for serve there"),
        ({"run": "two"}, "of another run than its file"),
        ({"when": "2026-11-21T16:00:01Z"}, "which is not yet"),
        ({"when": "2099-01-01T00:00:00Z"}, "which is not yet"),
        ({"when": "2026-02-31T00:00:00Z"}, "one.jsonl:1: "),
        (
            {"source": (Source(name="a", sha256="0" * 64, role="native", form=""),)},
            "read from no file",
        ),
    ],
)
def test_what_was_not_asked_for_is_refused_and_says_why(changes: dict[str, Any], why: str) -> None:
    taken = take(given(result("m=1", **changes)), outline(), now=NOW)
    assert taken.runs == {}
    assert why in taken.refused[0]


def test_a_capability_that_only_results_make_is_taken() -> None:
    lines = given(result("m=1", capability="serve"))
    assert take(lines, outline(), now=NOW, results_only=("serve",)).refused == ()


@pytest.mark.parametrize(
    "when", ["", "yesterday", "2026-11-21T10:00:00", "2026-11-21T10:00:00+00:00"]
)
def test_the_line_that_opens_a_run_is_of_a_time_in_utc(when: str) -> None:
    opened = msgspec.structs.replace(opening("m=1"), when=when)
    taken = take(given(opened), outline(), now=NOW)
    assert (taken.runs, len(taken.refused)) == ({}, 1)


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}\n", b"null\n", b"\xff\xfe\n", b'{"record": "run"}\n', b"[" * 9999 + b"\n"],
)
def test_what_is_no_result_is_refused(line: bytes) -> None:
    taken = take([Given("one", "one.jsonl:1", line)], outline(), now=NOW)
    assert (taken.runs, len(taken.refused)) == ({}, 1)


def test_what_a_run_planned_beyond_the_plan_is_neither_taken_nor_missed() -> None:
    opened = opening("m=1")
    serve = msgspec.structs.replace(opened.planned[0], capability="serve")
    other = msgspec.structs.replace(opened.planned[0], capability="kv-cache")
    more = msgspec.structs.replace(opened, planned=(*opened.planned, other, serve))
    ((kept,),) = take(given(more), outline(), now=NOW, results_only=("serve",)).runs.values()
    assert isinstance(kept, ProbeRun)
    assert [check.capability for check in kept.planned] == ["gemm", "serve"]


def test_a_run_is_of_one_place() -> None:
    lines = given(result("m=1"), result("m=1", environment="devel"))
    taken = take(lines, outline(), now=NOW)
    assert len(taken.runs["one"]) == 1
    assert taken.refused == ("one.jsonl:2: the run is of another place than this line",)


def test_a_flood_of_refusals_is_counted() -> None:
    wrong = [Given("one", f"one.jsonl:{number}", b"{}\n") for number in range(250)]
    refused = take(wrong, outline(), now=NOW).refused
    assert (len(refused), refused[-1]) == (101, "150 more lines")


def test_a_cell_of_which_nothing_came_back_is_missing_with_its_reason() -> None:
    asked = outline(AWAY)
    taken = take(given(opening("m=1")), asked, now=NOW)
    lost = missing(asked, taken)
    assert {(r.target, r.environment, r.capability, r.reason, r.text) for r in lost} == {
        ("sm121", "devel", "gemm", "runner_lost", "planned, and nothing came back from the runner"),
        *(
            ("sm120", e, c, "runner_offline", "runner offline since 2026-11-20T03:00:00Z")
            for e, c in (("slim", "gemm"), ("slim", "moe"), ("devel", "gemm"))
        ),
    }
    assert {(r.run, r.when, r.status) for r in lost} == {(asked.run, NOW, "missing")}


def test_every_cell_is_missing_where_nothing_came_back_at_all() -> None:
    asked = outline()
    lost = missing(asked, take([], asked, now=NOW))
    assert len(lost) == len(list(spots(asked.include))) == 3
