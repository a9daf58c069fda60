from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from probes import apart as module
from probes.apart import DEFECT, Ending, apart

GROUP = Path("/sys/fs/cgroup/memory")
LONG = 60.0


@pytest.fixture(autouse=True)
def without_traces() -> Iterator[None]:
    """Keep pytest's own fault handler from telling of the crashes that are wanted here."""
    was = faulthandler.is_enabled()
    faulthandler.disable()
    yield
    if was:
        faulthandler.enable()


def run(work: Callable[[], Any], folder: Path, **kwargs: Any) -> Ending:
    return apart(work, folder, **{"limit": LONG, **kwargs})


def alive(process: int) -> bool:
    """Say whether a process runs; one that has ended and was not reaped does not."""
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return False
    return state[0] not in "ZX"


def ends(process: int) -> bool:
    until = time.monotonic() + 10
    while alive(process):
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def wait_for(file: Path) -> str:
    until = time.monotonic() + 30
    while not (file.exists() and file.read_text(encoding="utf-8")):
        assert time.monotonic() < until
        time.sleep(0.01)
    return file.read_text(encoding="utf-8")


def test_an_answer_comes_from_another_process(tmp_path: Path) -> None:
    ending = run(os.getpid, tmp_path)
    assert ending.answer != os.getpid()
    assert (ending.signal, ending.code, ending.late, ending.stuck) == (0, 0, False, False)


def test_what_it_prints_stays_out_of_ours_and_its_end_is_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def work() -> None:
        os.write(1, b"x" * 10_000)
        os.write(2, b"the last words")

    assert run(work, tmp_path).printed.endswith("xthe last words")
    assert len(run(work, tmp_path).printed) == 4000
    assert capfd.readouterr() == ("", "")


def test_a_segmentation_fault_is_one_result(tmp_path: Path) -> None:
    ending = run(lambda: ctypes.string_at(0), tmp_path)
    assert (ending.answer, ending.signal) == (None, signal.SIGSEGV)
    assert run(lambda: "well", tmp_path).answer == "well"


@pytest.mark.parametrize("number", [signal.SIGILL, signal.SIGBUS, signal.SIGFPE, signal.SIGKILL])
def test_a_signal_is_told(tmp_path: Path, number: signal.Signals) -> None:
    ending = run(lambda: os.kill(os.getpid(), number), tmp_path)
    assert (ending.answer, ending.signal, ending.late) == (None, number, False)


def test_what_was_printed_before_an_abort_is_kept(tmp_path: Path) -> None:
    def work() -> None:
        os.write(2, b"ERROR : Arch conditional MMA instruction used without targeting\n")
        os.abort()

    ending = run(work, tmp_path)
    assert ending.signal == signal.SIGABRT
    assert "Arch conditional" in ending.printed


def test_memory_over_the_limit_is_refused_in_the_child_alone(tmp_path: Path) -> None:
    ending = run(lambda: len(bytearray(1 << 32)), tmp_path, memory=1 << 30)
    assert (ending.answer, ending.code) == (None, DEFECT)
    assert "MemoryError" in ending.printed
    assert run(lambda: len(bytearray(1 << 10)), tmp_path).answer == 1 << 10


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group of 64 MiB; only root can make one."""
    group = GROUP / f"nvfp4-matrix-{os.getpid()}"
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(64 << 20), encoding="ascii")
    except OSError:
        pytest.skip("no control group of version 1 can be made here")
    yield group
    group.rmdir()


def test_a_process_that_the_kernel_ends_for_want_of_memory_is_told_apart(
    tmp_path: Path, little_memory: Path
) -> None:
    def work() -> None:
        (little_memory / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")
        bytearray(256 << 20)

    ending = run(work, tmp_path)
    assert (ending.answer, ending.signal, ending.out_of_memory) == (None, signal.SIGKILL, True)
    assert not run(lambda: 1, tmp_path).out_of_memory


def test_a_process_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    def work() -> None:
        child = subprocess.Popen(["sleep", "60"])
        (tmp_path / "child").write_text(str(child.pid), encoding="ascii")
        child.wait()

    ending = run(work, tmp_path, limit=1)
    assert (ending.answer, ending.late, ending.signal) == (None, True, signal.SIGKILL)
    assert ending.seconds < 20
    assert ends(int((tmp_path / "child").read_text(encoding="ascii")))


def test_a_process_goes_on_while_it_is_excused_and_has_time_for_its_own_work_after_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work() -> int:
        time.sleep(1.5)
        return 1

    told = iter([True, True])
    monkeypatch.setattr(module, "_ASKED", 0.2)
    ending = run(work, tmp_path, limit=0.2, excused=lambda: next(told, False))
    assert (ending.answer, ending.late) == (1, False)


def test_a_process_is_not_excused_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LENIENCE", 0.5)
    monkeypatch.setattr(module, "GRACE", 0.5)
    monkeypatch.setattr(module, "_ASKED", 0.1)
    ending = run(lambda: time.sleep(60), tmp_path, limit=0.2, excused=lambda: True)
    assert ending.late
    assert 0.7 < ending.seconds < 20


def test_a_time_limit_that_is_over_at_once_leaves_nothing(tmp_path: Path) -> None:
    assert run(lambda: time.sleep(60), tmp_path, limit=0).late


@pytest.mark.parametrize("away", [False, True])
@pytest.mark.parametrize("dies", [False, True])
def test_what_a_process_leaves_behind_is_ended(tmp_path: Path, *, away: bool, dies: bool) -> None:
    def work() -> int:
        left = subprocess.Popen(["sleep", "60"], start_new_session=away)
        (tmp_path / "left").write_text(str(left.pid), encoding="ascii")
        if dies:
            os.kill(os.getpid(), signal.SIGSEGV)
        return left.pid

    ending = run(work, tmp_path)
    left = int((tmp_path / "left").read_text(encoding="ascii"))
    assert ending.answer == (None if dies else left)
    assert ends(left)


def test_children_that_were_there_before_are_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "60"]) as own:
        run(lambda: 1, tmp_path)
        assert own.poll() is None
        own.kill()


def test_a_process_that_cannot_be_ended_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    monkeypatch.setattr(module, "_end", lambda _: None)  # as a process that waits in the driver
    ending = run(lambda: time.sleep(60), tmp_path, limit=0.2)
    assert (ending.answer, ending.late, ending.stuck) == (None, True, True)


@pytest.mark.parametrize("code", [0, 3])
def test_a_package_that_leaves_gives_no_answer(tmp_path: Path, code: int) -> None:
    ending = run(lambda: os._exit(code), tmp_path)
    assert (ending.answer, ending.code, ending.signal) == (None, code, 0)


def test_an_earlier_answer_is_not_taken_for_a_later_one(tmp_path: Path) -> None:
    assert run(lambda: 1, tmp_path).answer == 1
    assert run(lambda: os._exit(0), tmp_path).answer is None


def test_an_answer_that_is_no_json_is_none(tmp_path: Path) -> None:
    ending = run(object, tmp_path)
    assert (ending.answer, ending.code) == (None, DEFECT)
    assert "TypeError" in ending.printed


def test_a_question_on_the_terminal_gets_no_answer(tmp_path: Path) -> None:
    own, (read, write) = os.dup(0), os.pipe()
    os.dup2(read, 0)  # a terminal on which nobody types
    try:
        assert run(lambda: len(os.read(0, 1)), tmp_path, limit=5).answer == 0
    finally:
        os.dup2(own, 0)
        for each in (own, read, write):
            os.close(each)


def test_a_parent_that_is_killed_takes_the_process_with_it(tmp_path: Path) -> None:
    code = f"""
import os, time
from pathlib import Path
from probes.apart import apart
def work():
    Path({str(tmp_path / "child")!r}).write_text(str(os.getpid()))
    time.sleep(60)
apart(work, Path({str(tmp_path)!r}), limit=60)
"""
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        child = int(wait_for(tmp_path / "child"))
        parent.kill()
    assert ends(child)


def test_a_stop_ends_the_process_and_goes_on_up(tmp_path: Path) -> None:
    def work() -> None:
        (tmp_path / "child").write_text(str(os.getpid()), encoding="ascii")
        os.kill(os.getppid(), signal.SIGINT)  # at once: it must not be lost in what follows a fork
        time.sleep(60)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(work, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not alive(int((tmp_path / "child").read_text(encoding="ascii")))
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_what_prints_without_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_PRINTED", 1 << 20)

    def flood() -> None:
        while True:
            os.write(1, b"x" * 4096)

    ending = run(flood, tmp_path)
    assert ending.flooded
    assert ending.answer is None
    assert ending.seconds < LONG
