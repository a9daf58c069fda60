from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrix.proberun import Planned, ProbeRun
from matrix.result import Probe, Result
from matrix.standing import Now, standing, usual
from tests.matrix.test_proberun import SHA, opening, result

GPU = {"name": "NVIDIA GB10", "uuid": "GPU-1", "driver_version": "580.65.06"}
NOW = Now(
    stack="vllm==0.33.0",
    target="sm121",
    machine="aarch64",
    environment="slim",
    subject="vllm",
    image="nvfp4-matrix:1",
    question="q",
    gpu=GPU,
)
LOST: dict[str, Any] = {"status": "error", "reason": "runner_lost", "metrics": {}, "digests": {}}
FAIL: dict[str, Any] = {"status": "fail", "reason": "wrong_numbers"}


def run(name: str = "one", day: int = 1, loads: tuple[str, ...] = ("m=1", "m=2"), **changes: Any) -> ProbeRun:  # fmt: skip
    made = opening(*loads, run=name)
    conditions = msgspec.structs.replace(
        made.conditions, gpu=(changes.pop("gpu", {**GPU, "uuid": "GPU-2"}),)
    )
    told = {"image": NOW.image, "question": NOW.question, "when": f"2026-11-2{day}T03:00:00Z"}
    return msgspec.structs.replace(made, conditions=conditions, **{**told, **changes})


def came(load: str, run: str = "one", **changes: Any) -> Result:
    return result(load, run=run, durations={"probe": 60.0}, **changes)


BOTH = [came("m=1"), came("m=2", **FAIL)]


def test_a_capability_that_came_back_whole_holds_whatever_it_found() -> None:
    (found,) = standing(NOW, [run()], BOTH)
    assert (found.capability, found.run) == ("gemm", "one")
    assert found.checks == {
        "correctness.gemm[cutlass-m=1]": (SHA, 60.0),
        "correctness.gemm[cutlass-m=2]": (SHA, 60.0),
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"image": "nvfp4-matrix:2"},
        {"image": ""},
        {"question": "another seed"},
        {"subject": "flashinfer"},
        {"stack": "vllm==0.32.0"},
        {"target": "sm120"},
        {"machine": "x86_64"},
        {"environment": "devel"},
        {"gpu": {**GPU, "driver_version": "590.10"}},
        {"gpu": {**GPU, "name": "NVIDIA RTX PRO 6000"}},
    ],
)
def test_what_was_found_under_other_conditions_does_not(changes: dict[str, Any]) -> None:
    assert standing(NOW, [run(**changes)], BOTH) == ()


def test_without_an_image_nothing_holds() -> None:
    assert standing(NOW._replace(image=""), [run(image="")], BOTH) == ()


@pytest.mark.parametrize(
    "lost",
    [
        [],
        [came("m=2", **LOST)],
        [came("m=2", status="slow", reason="throttled")],
    ],
)
def test_a_check_that_was_lost_or_throttled_brings_its_whole_capability_back(
    lost: list[Result],
) -> None:
    assert standing(NOW, [run()], [came("m=1"), *lost]) == ()


def test_the_newest_run_that_says_something_decides() -> None:
    """As in a verdict: what a later run found wrong is not covered by an earlier one."""
    later = [came("m=1", "two", **FAIL), came("m=2", "two", **LOST)]
    assert standing(NOW, [run(), run("two", 2)], [*BOTH, *later]) == ()
    (found,) = standing(NOW, [run("two", 2), run()], [*BOTH, came("m=1", "two", **LOST)])
    assert found.run == "one"
    other = run("two", 2, gpu={**GPU, "driver_version": "590.10"})
    assert standing(NOW, [run(), other], [*BOTH, *(came(load, "two") for load in ("m=1", "m=2"))]) == ()  # fmt: skip


def test_capabilities_hold_each_by_itself() -> None:
    moe = Probe(name="correctness.moe", sha256=SHA)
    more = Planned(probe=moe, capability="moe", backend="cutlass", load=("m=1",))
    planned = (*run().planned, more)
    results = [*BOTH, came("m=1", capability="moe", probe=moe, **LOST)]
    (found,) = standing(NOW, [run(planned=planned)], results)
    assert found.capability == "gemm"


def test_a_run_on_a_cpu_is_none_of_a_gpu() -> None:
    conditions = msgspec.structs.replace(run().conditions, gpu=())
    cpu = msgspec.structs.replace(run(), conditions=conditions)
    assert standing(NOW, [cpu], BOTH) == ()
    assert standing(NOW._replace(gpu={}), [cpu], BOTH)


def test_what_a_capability_usually_takes_is_the_middle_of_its_runs() -> None:
    results = [came("m=1", name) for name in ("a", "b", "b", "c", "c", "c", "c", "c")]
    assert usual(results) == {("sm121", "gemm"): 120.0}
    assert usual([result("m=1")]) == {}
