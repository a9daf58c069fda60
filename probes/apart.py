"""A process of its own for each probe: CUDA errors are sticky, and a crash takes one result with it, never its neighbours."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from probes.heirs import Heirs, die_with

DEFECT: Final = 70
"""Exit code of a process that could not give its answer: EX_SOFTWARE of sysexits.h. Any other is the package's."""

_TAIL: Final = 4000
MOST_PRINTED = 1 << 30
"""Bytes that a process may print: the disk is everybody's."""
_STEP: Final = 0.002
PATIENCE = 30.0
"""Seconds that a killed process has to be gone; one that waits inside the driver may never be."""

LENIENCE = 3600.0
"""Seconds beyond its limit that a process may be excused for: FlashInfer's largest kernels take nvcc half an hour on few cores."""

GRACE = 60.0
"""Seconds that it has for its own work after what excused it."""

_ASKED: Final = 1.0

_STOPS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class Ending:
    """How a process ended: its `answer` (None without one), or why there is none.

    `printed`: the end of what it and its children wrote. `signal`: 0 where none ended it. `late`: it was ended at its
    time limit, or, where `stuck`, could not be. `flooded`: it was ended for what it printed. `out_of_memory`: the kernel
    ended some process for want of memory meanwhile.
    """

    answer: Any
    seconds: float
    printed: str = ""
    signal: int = 0
    code: int = 0
    late: bool = False
    stuck: bool = False
    flooded: bool = False
    out_of_memory: bool = False


def apart(
    work: Callable[[], Any],
    folder: Path,
    *,
    limit: float,
    memory: int | None = None,
    hopeless: Callable[[], bool] | None = None,
    excused: Callable[[], bool] | None = None,
) -> Ending:
    """Run `work` in a fork and return how that ended; `work` gives something that JSON can hold.

    `limit`: seconds until the process and all that it started are killed. `memory`: bytes of address space, for a device
    that needs none of its own (CUDA reserves more than a machine has). `hopeless` is asked all the while: True ends it as the limit does. `excused` is asked once
    the limit is over: while it says True the process may go on, for LENIENCE at most. `folder` holds the answer and the output meanwhile. A
    stop (KeyboardInterrupt, SystemExit) ends the process before it goes on up.
    """
    answer, output = folder / "answer.json", folder / "output"
    for file in (answer, output):
        file.unlink(missing_ok=True)
    killed, started = kills(), time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    with Heirs() as heirs:
        # A stop between the fork and what watches over it would leave a process behind, or unwind the child.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        try:
            with warnings.catch_warnings():
                # torch has threads; the child starts its own and waits for none of theirs.
                warnings.simplefilter("ignore", DeprecationWarning)
                process = os.fork()
            if not process:
                _child(work, answer, output, memory, parent, before)
            late, status = _wait(
                process,
                before,
                lambda: _flooded(output) or (hopeless is not None and hopeless()),
                _Limit(started, limit, excused or _never),
            )
        finally:
            heirs.end()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    code = 0 if status is None else os.waitstatus_to_exitcode(status)
    return Ending(
        answer=_answer(answer) if status == 0 else None,
        seconds=time.monotonic() - started,
        printed=_tail(output),
        signal=-code if code < 0 else 0,
        code=max(code, 0),
        late=late,
        stuck=status is None,
        flooded=_flooded(output),
        out_of_memory=kills() > killed,
    )


def _child(  # noqa: PLR0917 - the state of one fork
    work: Callable[[], Any],
    answer: Path,
    output: Path,
    memory: int | None,
    parent: int,
    stops: AbstractSet[int],
) -> None:
    """Do the work and leave; nothing unwinds into the parent's frames."""
    code = DEFECT
    try:
        os.setsid()
        die_with(parent)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, stops)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        # What asks on the terminal gets no answer, rather than waiting for one.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
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
            os.write(2, f"{type(error).__name__}: {error}\n".encode(errors="replace"))
    finally:
        os._exit(code)


class _Limit:
    """How long a process may take: `seconds` from `started`, and longer while it is `excused`, which is asked now and then."""

    def __init__(self, started: float, seconds: float, excused: Callable[[], bool]) -> None:
        self._until = self._ask = started + seconds
        self._last = self._until + LENIENCE
        self._excused = excused

    def over(self) -> bool:
        """Say whether the time is up."""
        now = time.monotonic()
        if self._ask < now < self._last:
            self._ask = now + _ASKED
            if self._excused():
                self._until = now + GRACE
        return now > self._until


def _never() -> bool:
    return False


def _flooded(output: Path) -> bool:
    try:
        return output.stat().st_size > MOST_PRINTED
    except OSError:
        return False


def _wait(
    process: int, stops: AbstractSet[int], hopeless: Callable[[], bool], limit: _Limit
) -> tuple[bool, int | None]:
    """Wait for a process and end it at its `limit`: whether it was late, and its status, None where it cannot be ended.

    Its group is ended before its number is given back, so that no stranger's is.
    """
    late = False
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, stops)
        while not late and not _gone(process):
            late = limit.over() or hopeless()
            time.sleep(_STEP)
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
        _end(process)
        status = _reaped(process)
    return late, status


def _gone(process: int) -> bool:
    """Say whether a process has ended, and leave it to be asked for its status."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _reaped(process: int) -> int | None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return status
        time.sleep(_STEP)
    return None


def _end(process: int) -> None:
    """Kill the process group, and the process where it has none yet."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(process, signal.SIGKILL)


def _answer(file: Path) -> Any:
    """Return the answer; None where a package left (`exit(0)`) before there was one."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def _tail(output: Path) -> str:
    try:
        with output.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def kills() -> int:
    """Count the processes that the kernel ended for want of memory: on this machine, and in this control group."""
    count = 0
    for file in ("/proc/vmstat", "/sys/fs/cgroup/memory.events"):
        with contextlib.suppress(OSError, ValueError):
            for line in Path(file).read_text(encoding="ascii").splitlines():
                name, _, number = line.partition(" ")
                if name == "oom_kill":
                    count += int(number)
    return count
