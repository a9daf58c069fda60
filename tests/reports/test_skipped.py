from __future__ import annotations

import msgspec

from matrix.proberun import ProbeRun, Skipped
from reports.proberun import Watcher
from reports.skipped import held, lines
from tests.matrix.test_proberun import opening, result

KEPT = [result("m=1"), result("m=2", status="fail", reason="wrong_numbers"), result("m=1", run="x")]


def run(*skipped: Skipped) -> ProbeRun:
    return msgspec.structs.replace(opening(run="two"), skipped=skipped)


def test_what_an_earlier_run_found_is_told_with_what_it_took() -> None:
    told = run(Skipped(capability="gemm", checks=2, run="one", seconds=150.0))
    assert [*lines(told, KEPT)] == [
        "not run again: gemm, 2 checks of one: 1 pass, 1 fail; 2.5 min",
        "2.5 min of a GPU saved",
    ]


def test_what_cannot_work_is_told_with_what_it_would_usually_take() -> None:
    told = run(Skipped(capability="moe", checks=1, why="broken: no_kernel_image"))
    assert [*lines(told)] == ["not run: moe, 1 check: broken: no_kernel_image"]
    assert [*lines(told, usual={("sm121", "moe"): 720.0, ("sm120", "moe"): 1.0})] == [
        "not run: moe, 1 check: broken: no_kernel_image; about 12 min",
        "12 min of a GPU saved",
    ]


def test_what_was_found_before_counts_at_the_end_as_if_it_were_found_now() -> None:
    told = run(Skipped(capability="gemm", checks=2, run="one", seconds=150.0))
    watcher = Watcher((), told)
    assert watcher.exit_code == 0
    watcher.earlier += [each for one in told.skipped for each in held(one, KEPT)]
    assert watcher.exit_code == 1


def test_of_a_run_that_left_nothing_out_nothing_is_told() -> None:
    assert [*lines(run())] == []
