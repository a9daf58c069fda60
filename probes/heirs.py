"""What a process leaves behind: adopted when it dies, found, and ended, although it may have left for a session of its own.

A serving engine starts workers that start others. One of them left alive holds memory of the GPU, and the next probe
pays for it. Linux only; elsewhere none is found.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_GET_CHILD_SUBREAPER: Final = 37
_ROUNDS: Final = 100
"""One that is ended hands its own children on: again until there are none, within reason."""


def die_with(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel for signal `number` when the parent ends, so that a killed run leaves nothing on the GPU."""
    _prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        os._exit(1)


class Heirs:
    """Whatever children leave behind, for as long as this context lasts: it comes to this process (prctl(2), child subreaper)."""

    def __enter__(self) -> Heirs:  # noqa: PYI034 - typing has Self from Python 3.11 on
        before = ctypes.c_int(0)
        _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before))
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        self._before = before.value
        self._own = _children()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        _prctl(_PR_SET_CHILD_SUBREAPER, self._before)

    def end(self) -> None:
        """Kill and reap every child that was not there at the beginning, and those that they leave."""
        for _ in range(_ROUNDS):
            left = _children() - self._own
            if not left:
                return
            for process in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(process, os.WNOHANG)
            time.sleep(0.01)


def _children() -> frozenset[int]:
    found: set[int] = set()
    for file in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found.update(int(word) for word in file.read_text(encoding="ascii").split())
    return frozenset(found)


def _prctl(option: int, value: object) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
