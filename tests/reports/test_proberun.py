from __future__ import annotations

from typing import Any

import pytest

from matrix.proberun import Conditions, Planned, ProbeRun
from matrix.result import Metric, Probe, Result
from reports.proberun import Watcher, described

SHA = "0" * 64


def result(probe: str, status: str, reason: str = "", **changes: Any) -> Result:
    made: dict[str, Any] = {
        "stack": "s",
        "target": "sm121",
        "machine": "aarch64",
        "environment": "slim",
        "capability": "gemm",
        "probe": Probe(name=probe, sha256=SHA),
        "backend": "cutlass",
        "kernels": ("k",),
        "status": status,
        "reason": reason,
        "load": ("m=1",),
        "metrics": {"relative_l2": Metric(value=0.001, unit="1")},
        "when": "2026-11-21T03:00:01Z",
        "run": "one",
    }
    return Result(**{**made, **changes})


def opening(*probes: str) -> ProbeRun:
    return ProbeRun(
        record="run",
        stack="s",
        target="sm121",
        machine="aarch64",
        environment="slim",
        run="one",
        when="2026-11-21T03:00:00Z",
        subject="vllm",
        planned=tuple(
            Planned(
                probe=Probe(name=name, sha256=SHA),
                capability="gemm",
                backend="cutlass",
                load=("m=1",),
            )
            for name in probes
        ),
        conditions=Conditions(
            python="3.12.3", platform="Linux", machine="aarch64", packages={}, device="cuda"
        ),
    )


@pytest.fixture(autouse=True)
def _columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")


ZERO = result("correctness.gemm", "fail", "all_zero", text="3 rows are zero, the first is 0")
PASS = result("availability.gemm", "pass")


def test_each_check_is_told_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher() as watcher:
        watcher.tell(opening("availability.gemm", "correctness.gemm"))
        watcher.tell(PASS)
        watcher.tell(ZERO)
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "[1/2] pass availability.gemm cutlass m=1",
        "[2/2] fail (all_zero) correctness.gemm cutlass m=1: 3 rows are zero, the first is 0",
    ]
    assert out.splitlines() == [
        "                    pass   fail",
        "availability.gemm      1      ·",
        "correctness.gemm       ·      1",
        "fail (all_zero) correctness.gemm cutlass x1",
    ]


def test_what_did_not_come_back_is_summed_up_as_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher() as watcher:
        watcher.tell(opening("availability.gemm", "speed.gemm"))
        watcher.tell(PASS)
    assert "missing (runner_lost) speed.gemm cutlass x1" in capsys.readouterr().out
    assert watcher.exit_code == 1


def test_what_an_earlier_attempt_planned_counts_when_a_run_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    planned = opening("availability.gemm", "speed.gemm", "correctness.gemm")
    with Watcher((PASS,), planned) as watcher:
        watcher.tell(result("speed.gemm", "pass"))
    out, err = capsys.readouterr()
    assert err.startswith("[2/3] pass speed.gemm")
    assert "missing (runner_lost) correctness.gemm cutlass x1" in out
    assert watcher.exit_code == 1


@pytest.mark.parametrize("columns", [60, 80, 160])
def test_no_line_is_wider_than_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    with Watcher() as watcher:
        watcher.tell(opening("correctness.gemm"))
        watcher.tell(result("correctness.gemm", "fail", "failed", text="word " * 100))
    out, err = capsys.readouterr()
    lines = (out + err).splitlines()
    assert all(len(line) <= columns for line in lines)
    assert max(map(len, lines)) > columns - 6


def test_without_a_stderr_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", None)
    with Watcher() as watcher:
        watcher.tell(PASS)
    assert watcher.exit_code == 0


def test_json_is_all_that_stdout_has(capsys: pytest.CaptureFixture[str]) -> None:
    with Watcher(as_json=True) as watcher:
        watcher.tell(opening("availability.gemm"))
        watcher.tell(PASS)
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith('{"stack":"s"')


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ((PASS,), 0),
        ((PASS, result("correctness.kv", "skip", "not_offered")), 0),
        ((PASS, ZERO), 1),
        ((PASS, result("correctness.gemm", "fail", "arch_guard", marks=("one-kernel",))), 0),
        ((PASS, result("correctness.gemm", "error", "harness_error")), 1),
    ],
)
def test_the_exit_code_is_about_what_the_stack_chooses(
    results: tuple[Result, ...], code: int
) -> None:
    watcher = Watcher(results)
    assert watcher.exit_code == code


def test_hostile_words_stay_on_one_line() -> None:
    bad = result("correctness.gemm", "fail", "failed", text="a\nb\x1b[31m\u202ec" + "x" * 500)
    told = described(bad)
    assert "\n" not in told
    assert "\x1b" not in told
    assert len(told) <= 110


def test_where_there_is_no_terminal_a_line_tells_now_and_then_what_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[-1])
    watcher = Watcher()
    clock.append(31.0)
    watcher.beat()
    watcher.tell(opening("correctness.gemm", "speed.gemm"))
    watcher.tell(result("correctness.gemm", "pass"))
    for now in (32.0, 60.0, 61.5, 62.0, 91.0, 92.0):
        clock.append(now)
        watcher.beat()
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("still")]
    assert told == [
        "still starting, for 31 s",
        "still speed.gemm cutlass m=1, for 30 s",
        "still speed.gemm cutlass m=1, for 61 s",
    ]


def test_a_check_that_was_lost_and_came_back_counts_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing: dict[str, Any] = {"kernels": (), "metrics": {}}
    with Watcher() as watcher:
        watcher.tell(opening("correctness.gemm"))
        watcher.tell(result("correctness.gemm", "error", "killed", **nothing))
        watcher.tell(result("correctness.gemm", "pass"))
    assert watcher.exit_code == 0
    assert capsys.readouterr().out.split() == ["pass", "correctness.gemm", "1"]
