from __future__ import annotations

from typing import Any

import pytest

from matrix.cell import Cell, Item
from matrix.executed import Executed
from matrix.knowledge import Knowledge
from matrix.result import SPEED, Metric, Probe, Result
from matrix.vocabulary import Environment

PROVEN: dict[str, Any] = {"kernels": ("k",), "marks": ()}


def result(status: str = "slow", **changes: Any) -> Result:
    reasons = {
        "pass": "",
        "slow": "slower_than_baseline",
        "fallback": "weight_only_fallback",
        "fail": "wrong_numbers",
    }
    made: dict[str, Any] = {
        "stack": "vllm==0.33.0",
        "target": "sm121",
        "machine": "aarch64",
        "capability": "serve",
        "probe": Probe(name="import.x", sha256="0" * 64),
        "status": status,
        "reason": reasons.get(status, "no_baseline"),
        "marks": ("kernels-unproven",),
        "metrics": {SPEED: Metric(value=0.7, unit="ratio")},
        "when": "2026-11-21T03:00:00Z",
        "run": "one",
        "text": "said",
    }
    return Result(**{**made, **changes})


def cell(**changes: Any) -> Cell:
    made: dict[str, Any] = {
        "stack": "vllm==0.33.0",
        "target": "sm121",
        "machine": "aarch64",
        "environment": "slim",
        "capability": "gemm",
        "declared": "yes",
        "compiled": "yes",
        "selected": "not_asked",
        "executed": "missing",
        "verdict": "likely",
        "reason": "",
        "evidence": (Item(kind="stack", name="imports", answer="yes"),),
    }
    return Cell(**{**made, **changes})


def lit(*results: Result, **changes: Any) -> Cell:
    (found,) = Executed(results).light([cell(**changes)])
    return found


def gemm(status: str, **changes: Any) -> Result:
    return result(status, capability="gemm", **changes)


@pytest.mark.parametrize(
    ("status", "verdict", "reason"),
    [
        ("slow", "slow", "slower_than_baseline"),
        ("fallback", "fallback", "weight_only_fallback"),
        ("fail", "broken", "wrong_numbers"),
        ("error", "likely", ""),
        ("skip", "likely", ""),
    ],
)
def test_what_ran_settles_a_cell_and_the_rest_says_nothing(
    status: str, verdict: str, reason: str
) -> None:
    found = lit(gemm(status))
    assert (found.executed, found.verdict, found.reason) == (status, verdict, reason)
    assert [item.kind for item in found.evidence] == ["result", "stack"]


def test_a_pass_is_green_only_with_kernels_and_numbers() -> None:
    assert lit(gemm("pass", **PROVEN)).verdict == "works"
    for marks in (("kernels-unproven",), ("numbers-unchecked",)):
        found = lit(gemm("pass", kernels=("k",), marks=marks))
        assert (found.executed, found.verdict) == ("pass", "likely")
    assert lit(gemm("pass"), verdict="broken", reason="no_kernel_image").verdict == "broken"
    unknown = lit(gemm("pass"), verdict="unknown", reason="not_asked")
    assert (unknown.verdict, unknown.reason) == ("unknown", "not_proven")


def test_the_newest_run_that_says_something_counts_and_of_it_the_worst() -> None:
    old = gemm("fail", run="old", when="2026-01-01T00:00:00Z")
    new = [gemm("pass", run="new", **PROVEN), gemm("slow", run="new")]
    later = gemm("error", run="later", when="2026-12-01T00:00:00Z")
    found = lit(later, *new, old)
    assert found.executed == "slow"
    assert [item.answer for item in found.evidence] == ["slow", "pass", "yes"]
    assert lit(old).verdict == "broken"
    assert lit(later, old).verdict == "broken"
    assert lit(*new[:1], old).verdict == "works"


@pytest.mark.parametrize("environment", ["", "slim", "devel"])
def test_a_result_without_environment_speaks_for_both(environment: Environment | str) -> None:
    slim = lit(gemm("slow", environment=environment))
    devel = lit(gemm("slow", environment=environment), environment="devel")
    assert (slim.verdict == "slow") == (environment != "devel")
    assert (devel.verdict == "slow") == (environment != "slim")


def test_a_kernel_by_itself_is_told_and_settles_nothing() -> None:
    found = lit(gemm("slow", marks=("kernels-unproven", "one-kernel"), backend="mm_fp4 cutlass"))
    assert (found.executed, found.verdict) == ("missing", "likely")
    assert found.evidence[0].text.startswith("mm_fp4 cutlass; slower_than_baseline: said")


def test_of_many_results_the_worst_twenty_are_told_and_the_others_counted() -> None:
    found = lit(*(gemm("pass", backend=str(n), **PROVEN) for n in range(30)), gemm("fail"))
    told = [item for item in found.evidence if item.kind == "result"]
    assert [item.answer for item in told] == ["fail", *["pass"] * 19, "more"]
    assert told[-1].text == "11 more results"
    few = lit(*(gemm("pass", backend=str(n), **PROVEN) for n in range(20)))
    assert len(few.evidence) == 21


def test_results_of_another_cell_leave_it_as_it_is() -> None:
    for change in ({"stack": "x"}, {"target": "sm120", "machine": "x86_64"}, {"capability": "moe"}):
        assert lit(result(**{"capability": "gemm", **change})) == cell()
    assert list(Executed().light([cell()])) == [cell()]


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


def test_without_results_nothing_changes(knowledge: Knowledge) -> None:
    asked: dict[str, Any] = {"generated": "", "stacks": ["vllm==0.33.0"]}
    assert knowledge.report(**asked) == knowledge.report(**asked, executed=Executed())
    assert all(cell.capability != "serve" for cell in knowledge.report(**asked).cells)


def test_a_result_lights_the_cell_that_is_there(knowledge: Knowledge) -> None:
    executed = Executed([gemm("fallback", environment="devel")])
    report = knowledge.report(generated="", stacks=["vllm==0.33.0"], executed=executed)
    lit = [cell for cell in report.cells if cell.executed != "missing"]
    assert [(c.target, c.environment, c.capability, c.verdict) for c in lit] == [
        ("sm121", "devel", "gemm", "fallback")
    ]
    assert len(report.cells) == len(knowledge.report(generated="", stacks=["vllm==0.33.0"]).cells)


def test_serve_has_cells_where_results_are_and_only_there(knowledge: Knowledge) -> None:
    executed = Executed([result(), result(environment="devel", run="two")])
    report = knowledge.report(generated="", stacks=["vllm>=0.32"], executed=executed)
    serve = [cell for cell in report.cells if cell.capability == "serve"]
    assert [(c.stack, c.target, c.environment, c.verdict) for c in serve] == [
        ("vllm==0.33.0", "sm121", "slim", "slow"),
        ("vllm==0.33.0", "sm121", "devel", "slow"),
    ]
    none = knowledge.report(generated="", capabilities=["gemm"], executed=executed)
    assert all(cell.capability == "gemm" for cell in none.cells)
    slim = knowledge.report(
        generated="", capabilities=["serve"], environments=["slim"], executed=executed
    )
    assert [cell.environment for cell in slim.cells] == ["slim"]


def test_a_stack_that_only_results_name_is_a_row_of_its_own(knowledge: Knowledge) -> None:
    name = "vLLM main of November 2025"
    executed = Executed([result(stack=name), result("skip", stack=name, capability="gemm")])
    report = knowledge.report(generated="", stacks=[name], executed=executed)
    assert [(stack.name, stack.machines) for stack in report.stacks] == [(name, ("aarch64",))]
    told = {(cell.capability, cell.verdict, cell.reason) for cell in report.cells}
    assert told == {
        ("serve", "slow", "slower_than_baseline"),
        ("gemm", "unknown", "no_baseline"),
    }
    whole = knowledge.report(generated="", targets=["sm121"], executed=executed)
    assert whole.stacks[-1].name == name
    assert name in {cell.stack for cell in whole.cells}
    other = knowledge.report(generated="", targets=["sm120"], executed=executed)
    assert name not in {cell.stack for cell in other.cells}


def test_an_unproven_pass_alone_is_unknown(knowledge: Knowledge) -> None:
    executed = Executed([result("pass", stack="x")])
    report = knowledge.report(generated="", stacks=["x"], executed=executed)
    assert {(c.executed, c.verdict, c.reason) for c in report.cells} == {
        ("pass", "unknown", "not_proven")
    }
