"""A command in a process group of its own, which ends with whoever started it, however that one ended.

A server has children of its own (vLLM's engine), and a probe that is killed at its time limit cannot stop them. So a small
process stands between: it is told by the kernel when its parent dies, and takes the group with it. This file is
also that process: it is run by its path and imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PATIENCE: Final = 10.0
"""Seconds that a command has to end by itself after SIGTERM."""

_DEFECT: Final = 70


def start(
    command: Sequence[str], output: Path, variables: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a command with `variables` as its environment; what it prints is appended to `output`.

    The exit code and the signal of the process that is returned are the command's.
    """
    between = [sys.executable, "-S", "-E", str(Path(__file__).resolve()), str(os.getpid())]
    with output.open("ab") as file:
        return subprocess.Popen(  # noqa: S603 - the caller's command, no shell
            [*between, *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(variables),
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to end, and kill what is left of its group; return once it is gone."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_PATIENCE + 5)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _between(parent: int, command: Sequence[str]) -> int:
    """Run the command; return its exit code, or die of the signal that it died of."""

    def leave(number: int, frame: FrameType | None) -> None:
        del number, frame
        with contextlib.suppress(ProcessLookupError, NameError):
            child.terminate()
        until = time.monotonic() + _PATIENCE
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < until and os.waitpid(child.pid, os.WNOHANG)[0] == 0:
                time.sleep(0.05)
        os.killpg(0, signal.SIGKILL)

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    child = subprocess.Popen(list(command))  # noqa: S603 - see `start`
    signal.signal(signal.SIGTERM, leave)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        leave(signal.SIGTERM, None)
    code = child.wait()
    if code < 0:
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code if code >= 0 else _DEFECT


if __name__ == "__main__":
    sys.exit(_between(int(sys.argv[1]), sys.argv[2:]))
