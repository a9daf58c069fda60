from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from images.following import Line, finished
from images.here import Here
from matrix.errors import ConfigurationError, OutsideError, ToolError
from matrix.proberun import ProbeRun
from matrix.result import Result
from probes.request import Request

PYTHON = Path(sys.executable)
PLACE = {
    "stack": "s",
    "target": "sm121",
    "machine": "aarch64",
    "environment": "slim",
    "run": "one",
}
RESULT = {
    **PLACE,
    "capability": "gemm",
    "probe": {"name": "correctness.gemm", "sha256": "0" * 64},
    "backend": "cutlass",
    "status": "fail",
    "reason": "wrong_numbers",
    "load": ["m=1"],
    "when": "2026-11-21T03:00:00Z",
}
OPENING = {
    "record": "run",
    **PLACE,
    "when": "2026-11-21T03:00:00Z",
    "subject": "vllm",
    "planned": [],
    "conditions": {
        "python": "3.12",
        "platform": "p",
        "machine": "aarch64",
        "packages": {},
        "device": "cuda",
    },
}
BEGIN = """
import json, os, signal, sys, time
request = json.load(open(sys.argv[1]))
file = open(request["results"], "ab", buffering=0)
def put(line): file.write(json.dumps(line).encode() + b"\\n")
"""


@pytest.fixture
def owner() -> Iterator[Here]:
    with Here(PYTHON) as made:
        yield made


def suite(owner: Here, code: str) -> None:
    """Put another suite in the place of the real one, which needs torch."""
    text = f"{BEGIN}\nOPENING = {OPENING!r}\nRESULT = {RESULT!r}\n{code}\n"
    (owner.folder / "probes" / "__main__.py").write_text(text, encoding="utf-8")


def request(folder: Path) -> Request:
    return Request(
        run="one",
        stack="s",
        target="sm121",
        machine="aarch64",
        environment="slim",
        subject="vllm",
        results=str(folder / "one.jsonl"),
    )


def run(owner: Here, folder: Path) -> list[Line]:
    told: list[Line] = []
    owner.run(request(folder), folder / "one.log", tell=told.append)
    return told


def test_lines_are_told_in_their_order_and_output_goes_to_the_log(
    owner: Here, tmp_path: Path
) -> None:
    suite(owner, 'put(OPENING); put(RESULT); print("hello")')
    told = run(owner, tmp_path)
    assert [type(line) for line in told] == [ProbeRun, Result]
    assert (tmp_path / "one.log").read_text() == "hello\n"


def test_a_line_that_comes_in_two_parts_is_one(owner: Here, tmp_path: Path) -> None:
    suite(
        owner,
        "text = json.dumps(RESULT).encode() + b'\\n'\n"
        "file.write(text[:40]); time.sleep(0.5); file.write(text[40:])",
    )
    assert len(run(owner, tmp_path)) == 1


def test_a_suite_that_dies_is_told_and_what_it_finished_is_kept(
    owner: Here, tmp_path: Path
) -> None:
    suite(owner, "put(RESULT); os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ToolError, match=r"by SIGSEGV .*one\.log"):
        run(owner, tmp_path)
    assert len(finished(tmp_path / "one.jsonl")[1]) == 1


def test_a_full_disk_is_the_world_outside(owner: Here, tmp_path: Path) -> None:
    suite(owner, "put(RESULT); sys.exit(74)")
    with pytest.raises(OutsideError, match=r"full\?\); what was measured before is kept"):
        run(owner, tmp_path)


def test_probes_that_did_not_pass_are_no_failure_of_the_run(owner: Here, tmp_path: Path) -> None:
    suite(owner, "put(RESULT); sys.exit(1)")
    assert len(run(owner, tmp_path)) == 1


def test_a_line_that_is_no_result_is_told_after_the_rest(owner: Here, tmp_path: Path) -> None:
    suite(owner, 'file.write(b"{}\\n"); put(RESULT)')
    told: list[Line] = []
    with pytest.raises(ToolError, match="1 lines are no results"):
        owner.run(request(tmp_path), tmp_path / "one.log", tell=told.append)
    assert len(told) == 1


def test_a_stop_ends_the_suite_and_what_it_started(owner: Here, tmp_path: Path) -> None:
    suite(
        owner,
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "put(RESULT); time.sleep(60)",
    )

    def stop(_: Line) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        owner.run(request(tmp_path), tmp_path / "one.log", tell=stop)
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert _ended(pid)


def test_a_suite_that_ignores_the_first_signal_is_killed(
    owner: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("images.here._PATIENCE", 0.3)
    suite(owner, "signal.signal(signal.SIGTERM, signal.SIG_IGN); put(RESULT); time.sleep(60)")

    def stop(_: Line) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        owner.run(request(tmp_path), tmp_path / "one.log", tell=stop)


def test_only_what_is_new_is_told_when_a_run_goes_on(owner: Here, tmp_path: Path) -> None:
    before = json.dumps(OPENING) + "\n" + json.dumps(RESULT) + "\n"
    (tmp_path / "one.jsonl").write_text(before, encoding="utf-8")
    suite(owner, "put(dict(RESULT, backend='other'))")
    (told,) = run(owner, tmp_path)
    assert isinstance(told, Result)
    assert told.backend == "other"


@pytest.mark.parametrize(
    "code", ["raise ImportError('libcudart.so.13: cannot open')", "sys.exit(0)", "sys.exit(1)"]
)
def test_a_suite_that_never_began_is_no_run(owner: Here, tmp_path: Path, code: str) -> None:
    suite(owner, code)
    said = "libcudart" if "libcudart" in code else "the suite ended with exit code"
    with pytest.raises(ToolError, match=said):
        run(owner, tmp_path)


def test_a_log_that_goes_with_the_run_is_not_pointed_to(owner: Here) -> None:
    suite(owner, "sys.exit(70)")
    with pytest.raises(ToolError, match=r"ended with exit code 70$"):
        owner.run(request(owner.folder), owner.folder / "one.log", tell=print)


def test_where_nothing_of_that_name_is_there_that_is_told(owner: Here, tmp_path: Path) -> None:
    suite(owner, "sys.exit(5)")
    asked = replace(request(tmp_path), only=("speed.moe",))
    with pytest.raises(ConfigurationError, match=r"--only speed\.moe: vllm has no probe of such"):
        owner.run(asked, tmp_path / "one.log", tell=print)


def test_a_run_that_goes_on_may_have_nothing_left(owner: Here, tmp_path: Path) -> None:
    suite(owner, "sys.exit(5)")
    owner.run(replace(request(tmp_path), rest=()), tmp_path / "one.log", tell=print)


def test_no_run_goes_on_twice_at_once(owner: Here, tmp_path: Path) -> None:
    suite(owner, "put(RESULT)")

    def again(_: Line) -> None:
        run(owner, tmp_path)

    with pytest.raises(ConfigurationError, match="one: this run is still going on"):
        owner.run(request(tmp_path), tmp_path / "one.log", tell=again)
    assert run(owner, tmp_path)


def test_a_suite_that_is_left_alone_holds_its_run(owner: Here, tmp_path: Path) -> None:
    with (tmp_path / "one.log").open("ab") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        left = subprocess.Popen(["sleep", "60"], stdout=log)
    with left:
        with pytest.raises(ConfigurationError, match="still going on"):
            run(owner, tmp_path)
        left.kill()


def test_a_log_that_cannot_be_written_is_the_world_outside(owner: Here, tmp_path: Path) -> None:
    (tmp_path / "one.log").mkdir()
    with pytest.raises(OutsideError, match=r"one\.log: Is a directory"):
        run(owner, tmp_path)


def test_a_second_stop_ends_what_the_first_was_waiting_for(
    owner: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite(
        owner,
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "import subprocess\n"
        "child = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        f"open({str(tmp_path / 'pids')!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "put(RESULT); time.sleep(60)",
    )
    wait = subprocess.Popen.wait
    waited: list[float | None] = []

    def stop(_: Line) -> None:
        monkeypatch.setattr(subprocess.Popen, "wait", stopped)
        raise KeyboardInterrupt

    def stopped(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        waited.append(timeout)
        if len(waited) == 1:
            raise KeyboardInterrupt
        return wait(process, timeout)

    with pytest.raises(KeyboardInterrupt):
        owner.run(request(tmp_path), tmp_path / "one.log", tell=stop)
    for pid in map(int, (tmp_path / "pids").read_text().split()):
        assert _ended(pid)


def test_nothing_is_left_of_the_copy_of_the_probes() -> None:
    with Here(PYTHON) as owner:
        folder = owner.folder
        assert (folder / "probes" / "suite").is_dir()
    assert not folder.exists()


def test_half_a_line_of_an_earlier_attempt_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps(OPENING) + "\n" + json.dumps(RESULT)[:50], encoding="utf-8")
    opening, results = finished(file)
    assert opening is not None
    assert results == ()
    assert finished(tmp_path / "other.jsonl") == (None, ())


def test_what_is_longer_than_any_line_of_ours_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps(OPENING) + "\n", encoding="utf-8")
    with file.open("r+b") as sparse:
        sparse.truncate(1 << 40)
    opening, results = finished(file)
    assert opening is not None
    assert results == ()


def _ended(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False
