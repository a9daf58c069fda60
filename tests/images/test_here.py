from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.here import Here, Line, finished
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


def test_an_interpreter_without_torch_or_pytest_is_told_in_one_line(tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {PYTHON} -S "$@"\n', encoding="utf-8")
    bare.chmod(0o755)
    with Here(bare) as owner, pytest.raises(ConfigurationError, match="torch and pytest not inst"):
        owner.preflight()


def test_what_gives_no_answer_is_a_failed_tool(tmp_path: Path) -> None:
    silent = tmp_path / "python"
    silent.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    silent.chmod(0o755)
    with Here(silent) as owner, pytest.raises(ToolError, match="does not say what is installed"):
        owner.preflight()


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
    with pytest.raises(ToolError, match=r"by SIGSEGV; .*one\.log"):
        run(owner, tmp_path)
    assert len(finished(tmp_path / "one.jsonl")[1]) == 1


def test_a_full_disk_is_the_world_outside(owner: Here, tmp_path: Path) -> None:
    suite(owner, "put(RESULT); sys.exit(74)")
    with pytest.raises(OutsideError, match="full; what was measured before is kept"):
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
