from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from probes.endurance.watchdog import Watchdog, compiler_runs, compiles_here


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("busy", "tuning", "verdict"),
    [
        (100.0, False, "autotune_stall"),
        (0.0, False, "hang"),
        (0.0, True, "autotune_stall"),
        (None, False, "hang"),
    ],
)
def test_silence_is_a_stall_while_the_gpu_is_busy_or_tuning_was_said(
    tmp_path: Path, busy: float | None, tuning: bool, verdict: str
) -> None:
    clock, log = Clock(), tmp_path / "log"
    log.write_text("starting\n")
    watchdog = Watchdog(log, 10.0, lambda: busy, clock, lambda: False)
    assert watchdog.verdict(tuning=tuning) == ""
    clock.now = 9.9
    assert watchdog.verdict(tuning=tuning) == ""
    clock.now = 10.0
    assert watchdog.verdict(tuning=tuning) == verdict


def test_every_word_begins_the_wait_anew(tmp_path: Path) -> None:
    clock, log = Clock(), tmp_path / "log"
    watchdog = Watchdog(log, 10.0, lambda: 100.0, clock)
    for second in range(0, 40, 8):
        clock.now = float(second)
        with log.open("a") as file:
            file.write("still here\n")
        assert watchdog.verdict(tuning=True) == ""


def test_a_compiler_at_work_is_no_silence(tmp_path: Path) -> None:
    clock, compiling = Clock(), [True]
    watchdog = Watchdog(tmp_path / "log", 10.0, lambda: 0.0, clock, lambda: compiling[0])
    assert watchdog.quiet() == 0
    clock.now = 1000.0
    assert watchdog.verdict(tuning=True) == ""
    compiling[0] = False
    clock.now = 1009.0
    assert watchdog.verdict(tuning=True) == ""
    clock.now = 1010.0
    assert watchdog.verdict(tuning=True) == "autotune_stall"


def test_a_compiler_is_found_by_its_name(tmp_path: Path) -> None:
    program = tmp_path / "cicc"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([str(program), "30"]) as process:
        until = time.monotonic() + 5
        while not compiler_runs() and time.monotonic() < until:
            time.sleep(0.01)
        found, here = compiler_runs(), compiles_here()
        process.kill()
    assert found
    assert here


def test_a_compiler_that_somebody_else_started_is_none_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "cicc"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([str(program), "30"]) as process:
        monkeypatch.setattr(os, "getpid", lambda: process.pid)
        here = compiles_here()
        process.kill()
    assert not here
