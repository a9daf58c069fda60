"""The suite itself, run on subjects with a planted fault, as the campaign runs it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the suite needs torch: run `nox -s reference`")

from matrix.journal import decode
from probes.apart import DEFECT, Ending
from probes.importing import imported
from probes.lines import DISK
from probes.outcome import concluded
from probes.plugin import Probes
from probes.request import Request
from probes.subjects.planted import VARIABLE

pytestmark = pytest.mark.torch

ONE = "m=17"
CLEAN = "error-left-to-the-next"
"""A fault that no probe of `gemm` meets."""


class Run:
    """One run of the suite's `gemm` on a fault: `asked` before, `lines` after."""

    def __init__(self, folder: Path, fault: str, **asked: Any) -> None:
        self.results = folder / "results.jsonl"
        self.folder = folder
        self.environment = {**os.environ, VARIABLE: fault, "TMPDIR": str(folder)}
        told = {
            "run": "r", "stack": "s", "target": "cpu", "machine": "x86_64", "subject": "planted", "device": "cpu",
            "results": str(self.results), "only": ["correctness.gemm"], "scale": "small", "limit": 60.0,
        }  # fmt: skip
        Request(**{**told, **asked}).write(folder / "request.json")

    def start(self, **kwargs: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "probes", str(self.folder / "request.json"), "-q"]
        told = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **kwargs}
        return subprocess.Popen(
            command, env=self.environment, text=True, start_new_session=True, **told
        )

    def end(self, **kwargs: Any) -> tuple[int, str]:
        with self.start(**kwargs) as process:
            told = process.communicate(timeout=120)[0]
        return process.returncode, told

    @property
    def lines(self) -> list[Any]:
        if not self.results.exists():
            return []
        return [json.loads(line) for line in self.results.read_text(encoding="utf-8").splitlines()]

    @property
    def found(self) -> dict[tuple[str, ...], str]:
        return {tuple(each["load"]): each["reason"] for each in self.lines if "record" not in each}


def named(planned: Any) -> str:
    return f"{planned['probe']['name']}[{'-'.join((planned['backend'], *planned['load']))}]"


def test_a_crash_takes_one_result_with_it_and_never_its_neighbours(tmp_path: Path) -> None:
    run = Run(tmp_path, "segmentation-fault")
    code, told = run.end()
    assert code == 1, told
    opening, *results = run.lines
    assert [each["load"] for each in results] == [each["load"] for each in opening["planned"]]
    for load, reason in run.found.items():
        assert reason == ("segfault" if ONE in load else "")
    assert all(each["status"] == "pass" for each in results if ONE not in each["load"])
    assert not list(tmp_path.glob("nvfp4-probes-*"))


def test_results_that_somebody_removes_end_the_run(tmp_path: Path) -> None:
    run = Run(tmp_path, "hang", limit=5.0)
    with run.start() as process:
        until = time.monotonic() + 60
        while len(run.lines) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        run.results.unlink()
        process.communicate(timeout=60)
    assert process.returncode == DISK
    assert not run.results.exists()


def test_settings_for_other_tests_do_not_reach_the_probes(tmp_path: Path, clean: Run) -> None:
    run = Run(tmp_path, "segmentation-fault")
    run.environment |= {"PYTEST_ADDOPTS": "-x -k nothing", "PYTEST_PLUGINS": "not_there"}
    code, told = run.end()
    assert code == 1, told
    assert len(run.lines) == len(clean.lines)


def test_a_suite_that_cannot_begin_does_not_end_as_one_whose_probes_failed(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open')")
    run = Run(tmp_path, CLEAN)
    run.environment["PYTHONPATH"] = str(tmp_path)
    code, told = run.end()
    assert code == DEFECT
    assert told.splitlines()[-1] == "OSError: libcudart.so.13: cannot open"


def test_what_is_not_asked_for_opens_no_run(tmp_path: Path) -> None:
    run = Run(tmp_path, CLEAN, only=["correctness.nothing"])
    assert run.end()[0] == 5
    assert run.lines == []


def test_a_log_on_a_disk_that_is_full_ends_the_run_as_results_do(tmp_path: Path) -> None:
    run = Run(tmp_path, CLEAN)
    with Path("/dev/full").open("w") as full:
        process = run.start(stdout=full)
        assert process.wait(120) == DISK


def test_a_package_that_crashes_on_import_has_that_told_of_every_case(tmp_path: Path) -> None:
    run = Run(tmp_path, "import-that-crashes")
    run.end()
    assert len(run.found) == len(run.lines[0]["planned"])
    assert set(run.found.values()) == {"segfault"}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run = Run(tmp_path_factory.mktemp("clean"), CLEAN)
    code, told = run.end()
    assert code == 0, told
    return run


def test_a_full_disk_ends_the_run_with_its_own_code_and_keeps_what_was_written(
    tmp_path: Path, clean: Run
) -> None:
    most = clean.results.stat().st_size - 200  # in the midst of the last line
    run = Run(tmp_path, CLEAN)
    code, told = run.end(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most)))
    assert code == DISK, told
    assert "what was measured before is kept" in told
    assert [each.get("load") for each in run.lines] == [
        each.get("load") for each in clean.lines[:-1]
    ]


def test_a_run_that_goes_on_leaves_out_what_is_done(tmp_path: Path, clean: Run) -> None:
    opening, *results = clean.lines
    run = Run(tmp_path, CLEAN, rest=[named(each) for each in opening["planned"][-2:]])
    run.results.touch()
    assert run.end()[0] == 0
    assert [each["load"] for each in run.lines] == [each["load"] for each in results[-2:]]
    assert [each["digests"] for each in run.lines] == [each["digests"] for each in results[-2:]]


def test_what_an_earlier_run_found_is_not_asked_again(tmp_path: Path, clean: Run) -> None:
    opening, *results = clean.lines
    checks = {named(each): (each["probe"]["sha256"], 2.0) for each in opening["planned"]}
    stands = {"capability": "gemm", "run": "earlier", "checks": checks}
    run = Run(tmp_path, CLEAN, standing=[stands])
    run.end()
    (told,) = run.lines
    assert told["planned"] == []
    count = len(results)
    assert told["skipped"] == [
        {"capability": "gemm", "checks": count, "run": "earlier", "seconds": 2.0 * count}
    ]
    assert decode(run.results.read_bytes())


def test_a_capability_that_cannot_work_is_not_asked(tmp_path: Path) -> None:
    only = ["correctness.gemm", "correctness.quantize"]
    run = Run(tmp_path, CLEAN, only=only, pruned={"gemm": "broken: no_kernel_image"})
    run.end()
    opening, *results = run.lines
    assert {each["capability"] for each in results} == {"quantize"}
    assert [each["why"] for each in opening["skipped"]] == ["broken: no_kernel_image"]
    assert len(results) == len(opening["planned"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stop_in_the_midst_keeps_the_finished_lines_and_leaves_nothing_running(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = Run(tmp_path, "hang")
    with run.start() as process:
        until = time.monotonic() + 60
        while len(run.lines) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # into the one that hangs
        children = _children(process.pid)
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == (-number if number == signal.SIGKILL else 2)
    assert len(children) == 1
    assert not any(_runs(child) for child in children)
    opening, *results = run.lines
    assert 0 < len(results) < len(opening["planned"])
    assert {each["status"] for each in results} == {"pass"}


def test_the_suite_ends_with_the_program_that_began_it(tmp_path: Path) -> None:
    run = Run(tmp_path, "hang")
    command = [sys.executable, "-c", HOST, str(tmp_path / "request.json")]
    with subprocess.Popen(command, env=run.environment, stdout=subprocess.PIPE) as host:
        assert host.stdout is not None
        suite = int(host.stdout.readline())
        until = time.monotonic() + 60
        while len(run.lines) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)  # into the one that hangs
        children = _children(suite)
        host.kill()
    assert children
    assert not any(_runs(each) for each in (suite, *children))
    assert not list(tmp_path.glob("nvfp4-probes-*")), "it ended in order"


HOST = """
import subprocess, sys
suite = subprocess.Popen(
    [sys.executable, "-m", "probes", sys.argv[1]],
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
)
print(suite.pid, flush=True)
suite.wait()
"""


def _children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return [int(each) for each in listed.split()]


def _runs(process: int) -> bool:
    for _ in range(100):
        try:
            stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
        except OSError:
            return False
        if stat.rsplit(")", 1)[1].split()[0] in "ZX":
            return False
        time.sleep(0.05)
    return True


@pytest.mark.parametrize(
    ("ending", "status", "reason"),
    [
        (Ending(None, 5.0, late=True, signal=9), "fail", "hang"),
        (Ending(None, 5.0, late=True, stuck=True), "fail", "hang"),
        (Ending(None, 5.0, late=True, flooded=True, signal=9), "fail", "failed"),
        (Ending(None, 1.0, signal=11), "fail", "segfault"),
        (Ending(None, 1.0, signal=9), "error", "killed"),
        (Ending(None, 1.0, signal=9, out_of_memory=True), "fail", "oom"),
        (Ending(None, 1.0, code=0), "fail", "failed"),
        (Ending(None, 1.0, code=1, printed="CUDA error: an illegal instruction was"), "fail", "illegal_instruction"),
        (Ending(None, 1.0, code=DEFECT, printed="MemoryError: "), "fail", "oom"),
        (Ending(None, 1.0, code=DEFECT, printed="TypeError: no JSON"), "error", "harness_error"),
        (Ending({"status": "fail", "reason": "nan_or_inf"}, 1.0, printed="ERROR : Arch conditional MMA instruction used"),
         "fail", "arch_conditional"),
        (Ending({"status": "skip", "reason": "not_offered"}, 1.0, printed="Arch conditional MMA instruction used"),
         "skip", "not_offered"),
    ],
)  # fmt: skip
def test_an_ending_without_a_finding_has_the_reason_of_what_ended_it(
    ending: Ending, status: str, reason: str
) -> None:
    found = concluded(ending)
    assert (found.status, found.reason) == (status, reason)


def test_a_package_that_leaves_when_it_is_imported_is_at_fault_itself(tmp_path: Path) -> None:
    class Leaving:
        @staticmethod
        def load() -> None:
            raise SystemExit("no licence")

    found = imported(Leaving, Request.read(_asked(tmp_path)), tmp_path).broken
    assert found is not None
    assert (found.reason, found.text) == ("import_error", "SystemExit: no licence")


def test_its_folder_is_where_it_is_removed_with_the_request(tmp_path: Path) -> None:
    probes = Probes(Request.read(_asked(tmp_path)), tmp_path)
    assert probes.folder.parent == tmp_path


def _asked(folder: Path) -> Path:
    Run(folder, CLEAN, subject="reference")
    return folder / "request.json"


def test_the_last_words_are_told() -> None:
    found = concluded(Ending(None, 1.0, signal=6, printed="first\nlast words\n\n"))
    assert found.text.endswith("last line: last words")
