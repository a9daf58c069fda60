"""A process of its own for each probe: CUDA errors are sticky, and a crash takes one result with it, never its neighbours."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_DEFECT: Final = 70
_TAIL: Final = 4000
_PR_SET_PDEATHSIG: Final = 1
_STEP: Final = 0.002


@dataclass(frozen=True)
class Ending:
    """How a process ended: its `answer` (None without one), or why there is none.

    `printed`: the end of what it and its children wrote. `signal`: 0 where none ended it. `late`: it was ended at its
    time limit. `out_of_memory`: the kernel ended some process for want of memory meanwhile.
    """

    answer: Any
    seconds: float
    printed: str = ""
    signal: int = 0
    code: int = 0
    late: bool = False
    out_of_memory: bool = False


def apart(
    work: Callable[[], Any], folder: Path, *, limit: float, memory: int | None = None
) -> Ending:
    """Run `work` in a fork and return how that ended; `work` gives something that JSON can hold.

    `limit`: seconds until the process and its children are killed. `memory`: bytes of address space, for a device that
    needs none of its own (CUDA reserves more than a machine has). `folder` holds the answer and the output meanwhile. A
    stop (KeyboardInterrupt, SystemExit) ends the process before it goes on up.
    """
    answer, output = folder / "answer.json", folder / "output"
    for file in (answer, output):
        file.unlink(missing_ok=True)
    killed, started = _kills(), time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    with warnings.catch_warnings():
        # torch has threads; the child starts its own and waits for none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if not process:
        _child(work, answer, output, memory, parent)
    return _wait(process, answer, output, started, limit, killed)


def _child(
    work: Callable[[], Any], answer: Path, output: Path, memory: int | None, parent: int
) -> None:
    """Do the work and leave; nothing unwinds into the parent's frames."""
    code = _DEFECT
    try:
        os.setsid()
        _die_with(parent)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        told = json.dumps(work())
        part = answer.with_suffix(".part")
        part.write_text(told, encoding="utf-8")
        part.replace(answer)
        code = 0
    except BaseException as error:  # noqa: BLE001 - see above
        with contextlib.suppress(BaseException):
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(code)


def _die_with(parent: int) -> None:
    """Ask the kernel to end this process when its parent ends, so that a killed run leaves nothing on the GPU."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(_DEFECT)


def _wait(  # noqa: PLR0917 - the state of one fork
    process: int, answer: Path, output: Path, started: float, limit: float, killed: int
) -> Ending:
    late = False
    try:
        while True:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                break
            if not late and time.monotonic() - started > limit:
                late = True
                _end(process)
            time.sleep(_STEP)
    except BaseException:
        _end(process)
        os.waitpid(process, 0)
        raise
    _end(process)  # what it started and left behind
    code = os.waitstatus_to_exitcode(status)
    found = None
    if code == 0:
        found = json.loads(answer.read_text(encoding="utf-8"))
    return Ending(
        answer=found,
        seconds=time.monotonic() - started,
        printed=_tail(output),
        signal=-code if code < 0 else 0,
        code=max(code, 0),
        late=late,
        out_of_memory=_kills() > killed,
    )


def _end(process: int) -> None:
    """Kill the process group, and the process where it has none yet."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)


def _tail(output: Path) -> str:
    try:
        with output.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _kills() -> int:
    """Count the processes that the kernel ended for want of memory: on this machine, and in this control group."""
    count = 0
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(file).read_text(encoding="ascii").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    count += int(number)
    return count
