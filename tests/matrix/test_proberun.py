from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from matrix.executed import Executed
from matrix.journal import Journal
from matrix.proberun import Conditions, Planned, ProbeRun, last_words, missing, settled
from matrix.result import Metric, Probe, Result
from tests.matrix.test_executed import cell

SHA = "0" * 64
GEMM = Probe(name="correctness.gemm", sha256=SHA)


def opening(*loads: str, run: str = "one") -> ProbeRun:
    return ProbeRun(
        record="run",
        stack="vllm==0.33.0",
        target="sm121",
        machine="aarch64",
        environment="slim",
        run=run,
        when="2026-11-21T03:00:00Z",
        subject="vllm",
        planned=tuple(
            Planned(probe=GEMM, capability="gemm", backend="cutlass", load=(load,))
            for load in loads
        ),
        conditions=Conditions(
            python="3.12.3", platform="Linux", machine="aarch64", packages={}, device="cuda"
        ),
    )


def result(load: str, **changes: Any) -> Result:
    made: dict[str, Any] = {
        "stack": "vllm==0.33.0",
        "target": "sm121",
        "machine": "aarch64",
        "environment": "slim",
        "capability": "gemm",
        "probe": GEMM,
        "backend": "cutlass",
        "kernels": ("float_e2m1_t",),
        "status": "pass",
        "load": (load,),
        "metrics": {"relative_l2": Metric(value=0.001, unit="1")},
        "digests": {"product": SHA},
        "when": "2026-11-21T03:00:01Z",
        "run": "one",
    }
    return Result(**{**made, **changes})


def test_what_was_planned_and_did_not_come_back_is_missing() -> None:
    lost = list(missing(opening("m=1", "m=2", "m=3"), [result("m=2")]))
    assert [(each.status, each.reason, each.load) for each in lost] == [
        ("missing", "runner_lost", ("m=1",)),
        ("missing", "runner_lost", ("m=3",)),
    ]


def test_a_result_of_another_run_backend_or_probe_brings_nothing_back() -> None:
    others = (
        result("m=1", run="two"),
        result("m=1", backend="trtllm"),
        result("m=1", probe=Probe(name="speed.gemm", sha256=SHA)),
    )
    assert len(list(missing(opening("m=1"), others))) == 1


def test_a_journal_tells_what_is_missing_until_it_comes(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (tmp_path / "one.jsonl").write_bytes(msgspec.json.encode(opening("m=1", "m=2")) + b"\n")
    journal.append([result("m=1")])
    read = journal.read()
    assert [each.status for each in read.results] == ["pass", "missing"]
    assert [run.run for run in read.runs] == ["one"]
    assert read.complaints == ()
    journal.append([result("m=2")])
    assert [each.status for each in journal.read().results] == ["pass", "pass"]


def test_a_run_that_is_no_run_is_a_complaint(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_bytes(b'{"record": "run", "stack": "s"}\n')
    assert "left out: no result" in journal_complaint(tmp_path)


def journal_complaint(folder: Path) -> str:
    (complaint,) = Journal(folder).read().complaints
    return complaint


def test_a_whole_run_that_passes_makes_a_cell_green() -> None:
    (found,) = Executed([result("m=1"), result("m=2")]).light([cell()])
    assert found.verdict == "works"


def test_a_run_that_lost_a_check_does_not() -> None:
    run = opening("m=1", "m=2")
    came = [result("m=1")]
    (found,) = Executed([*came, *missing(run, came)]).light([cell()])
    assert (found.executed, found.verdict) == ("pass", "likely")


def test_a_speed_pass_beside_right_numbers_does_not_spoil_them() -> None:
    fast = result("m=1", probe=Probe(name="speed.gemm", sha256=SHA), marks=("numbers-unchecked",))
    (found,) = Executed([fast]).light([cell()])
    assert found.verdict == "likely"
    (found,) = Executed([fast, result("m=1")]).light([cell()])
    assert found.verdict == "works"


def test_a_backend_that_the_stack_does_not_choose_does_not_break_its_cell() -> None:
    other = result(
        "m=1",
        backend="trtllm",
        status="fail",
        reason="arch_guard",
        kernels=(),
        metrics={},
        marks=("one-kernel",),
    )
    (found,) = Executed([result("m=1"), other]).light([cell()])
    assert found.verdict == "works"


def test_the_conditions_of_a_run_stand_before_its_results() -> None:
    run = opening("m=1")
    gpu = {"name": "NVIDIA GB10", "driver_version": "580.95.05"}
    told = msgspec.structs.replace(
        run.conditions, gpu=(gpu, gpu), packages={"vllm": "0.33.0"}, nvcc="release 13.0"
    )
    run = msgspec.structs.replace(run, conditions=told)
    (found,) = Executed([result("m=1")], [run]).light([cell()])
    first, second = found.evidence[:2]
    assert (first.kind, first.name, second.kind) == ("run", "one", "result")
    assert first.text == "NVIDIA GB10, driver 580.95.05; vllm 0.33.0; Python 3.12.3; release 13.0"


def test_checks_that_pass_alike_are_told_together_and_what_fails_by_itself() -> None:
    wrong = {"status": "fail", "reason": "all_zero", "metrics": {}, "kernels": ()}
    results = [result(f"m={m}") for m in (1, 2, 3)]
    results += [result(f"m={m}", **wrong) for m in (3072, 4096)]
    (found,) = Executed(results).light([cell()])
    told = [(item.answer, item.text) for item in found.evidence if item.kind == "result"]
    assert told == [
        ("fail", "cutlass; m=3072; all_zero"),
        ("fail", "cutlass; m=4096; all_zero"),
        ("pass", "cutlass; 3 checks, m=1 to m=3"),
    ]


def test_a_run_that_was_opened_twice_is_told_and_the_first_counts(tmp_path: Path) -> None:
    first, second = opening("m=1"), opening("m=1", "m=2")
    lines = [msgspec.json.encode(each) + b"\n" for each in (first, first, second)]
    (tmp_path / "one.jsonl").write_bytes(b"".join(lines))
    read = Journal(tmp_path).read()
    assert read.runs == (first,)
    assert read.complaints == (
        f"{tmp_path / 'one.jsonl'}:3: left out: run one was opened before, and not so",
    )


def error(load: str, reason: str, **changes: Any) -> Result:
    nothing: dict[str, Any] = {"kernels": (), "metrics": {}, "digests": {}}
    return result(load, status="error", reason=reason, **nothing, **changes)


def test_a_check_that_was_lost_is_run_again_until_that_was_often_enough() -> None:
    once = [result("m=1"), error("m=2", "killed"), error("m=3", "oom"), error("m=4", "runner_lost")]
    assert sorted(each.load[0] for each in settled(once)) == ["m=1", "m=3"]
    twice = [*once, error("m=2", "runner_lost"), result("m=4")]
    assert sorted(each.load[0] for each in settled(twice)) == ["m=1", "m=2", "m=3", "m=4"]


def test_an_error_that_the_same_check_of_the_same_run_did_not_repeat_says_nothing_any_more() -> (
    None
):
    lost = error("m=1", "killed")
    assert last_words([lost, result("m=1")]) == (result("m=1"),)
    assert last_words([result("m=1"), lost]) == (result("m=1"), lost)
    assert last_words([lost, result("m=2"), result("m=1", run="two")])[0] == lost
    assert last_words([lost, lost]) == (lost,)


def test_no_other_result_gives_way_to_a_later_one() -> None:
    both = (result("m=1"), result("m=1", status="fail", reason="wrong_numbers"))
    assert last_words(both) == both
