"""Ctrl-C in real processes: they end at once, and leave neither processes nor files behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.ledger import Ledger

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

pytestmark = pytest.mark.e2e

PATIENCE = 30.0
OBJECT = b"\x7fELF\x02\x01\x01" + bytes(57) + b"\0_Z15cvt_fp16_to_fp4IfEvv\0"
FAKES = """
import matrix.evidence.nvidiatools as tools
tools._TOOLS = dict.fromkeys(tools._TOOLS, "no-such-distribution")
"""
TOOL = """#!{python}
import os, time
open({started!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""


def until(there: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert time.monotonic() < end
        time.sleep(0.02)


@contextmanager
def child(folder: Path, *arguments: object, before: str = "") -> Iterator[subprocess.Popen[str]]:
    (folder / "temporary").mkdir()
    script = f"{before}\nfrom reports.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder / "temporary")},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process: subprocess.Popen[str], folder: Path) -> str:
    """Send what the terminal sends on Ctrl-C; demand the documented end; return stderr."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "stopped"
    assert out == ""
    assert "Traceback" not in err
    assert list((folder / "temporary").iterdir()) == []
    return err


@pytest.mark.parametrize("what", ["pages", "hang"])
def test_an_audit_that_waits_for_a_server(
    shelf: Shelf, make_wheel: MakeWheel, tmp_path: Path, what: str
) -> None:
    shelf.add(make_wheel("pkg", "1.0"))
    getattr(shelf, what).clear()
    with child(tmp_path, "audit", "pkg==1.0", "--no-ledger") as process:
        until(lambda: bool(shelf.asked) if what == "pages" else shelf.hanging.is_set())
        interrupt(process, tmp_path)


def test_an_audit_that_fetches_a_wheel_whole(
    shelf: Shelf, make_wheel: MakeWheel, tmp_path: Path
) -> None:
    shelf.ranges = False
    shelf.drip.set()
    url = shelf.add(make_wheel("pkg", "1.0", {"pkg/_C.so": os.urandom(3_000_000)}))
    with child(tmp_path, "audit", url) as process:
        until(lambda: any((tmp_path / "temporary").glob("*/wheel")))
        interrupt(process, tmp_path)


def test_an_audit_whose_cuobjdump_runs_long(make_wheel: MakeWheel, tmp_path: Path) -> None:
    started, tools = tmp_path / "started", tmp_path / "tools"
    tools.mkdir()
    for name in ("cuobjdump", "nvdisasm"):
        (tools / name).write_text(TOOL.format(python=sys.executable, started=str(started)))
        (tools / name).chmod(0o755)
    path = make_wheel("pkg", "1.0", {"pkg/_C.so": OBJECT})
    before = f"import os; os.environ['PATH'] = {str(tools)!r}\n{FAKES}"
    with child(tmp_path, "audit", path, before=before) as process:
        until(lambda: started.exists() and bool(started.read_text()))
        interrupt(process, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_a_refresh_keeps_what_it_has_and_goes_on_from_there(
    shelf: Shelf, make_wheel: MakeWheel, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    for version in ("0.32.0", "0.33.0"):
        shelf.add(make_wheel("vllm", version, tag="cp38-abi3-manylinux_2_31_x86_64"))
    shelf.hang_on = "vllm-0.32.0"
    shelf.hang.clear()
    with child(tmp_path, "refresh", "--ledger", ledger, "--jobs", "1") as process:
        until(lambda: shelf.hanging.is_set() and any(ledger.glob("*/*.json")))
        interrupt(process, tmp_path)
    assert [record.version for record in Ledger(ledger).read()] == ["0.33.0"]
    assert not list(ledger.rglob("*.part"))
    shelf.hang.set()
    shelf.asked.clear()
    (tmp_path / "temporary").rmdir()
    with child(tmp_path, "refresh", "--ledger", ledger) as process:
        out, _ = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (0, "1 of 1 wheels are in the ledger\n")
    assert shelf.fetched() == ["vllm-0.32.0-cp38-abi3-manylinux_2_31_x86_64.whl"]


ROOM = "import matrix.evidence.fresh as fresh; fresh.ROOM = 10**6"
WAITS = """
import os, time
open({started!r}, "w").write(str(os.getpid()))
time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["install", "ask"])
def test_a_release_that_is_installed_or_asked(
    shelf: Shelf, make_wheel: MakeWheel, tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    started = tmp_path / "started"
    waits = WAITS.format(started=str(started)).encode()
    shelf.add(make_wheel("vllm", "0.33.0", {"vllm/__init__.py": b""}, requires=["torch"]))
    shelf.add(make_wheel("torch", "2.14.0", {"torch/__init__.py": b"", "torch/version.py": waits}))
    if stage == "install":
        shelf.hang_on = "torch"
        shelf.hang.clear()
    with child(tmp_path, "select", "--install", "0.33.0", before=ROOM) as process:
        until(shelf.hanging.is_set if stage == "install" else started.exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (128 + number, "")
    assert "Traceback" not in err
    assert list((tmp_path / "temporary").iterdir()) == []
