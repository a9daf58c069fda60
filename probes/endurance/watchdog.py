"""A watchdog for what says nothing: a log that stands still while the GPU is busy is a stalled autotune (class M)."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

SILENCE: Final = 300.0
"""Seconds without a word after which something is called stalled. vLLM's longest pause while starting that users report as
normal is torch.compile's, below two minutes."""

COMPILERS: Final = frozenset(
    {"ninja", "nvcc", "cicc", "ptxas", "cudafe++", "cc1plus", "nvlink", "fatbinary"}
)
"""Programs that say nothing for many minutes and are at work: kernels that are compiled when they are first needed."""

_BUSY: Final = 95.0
"""Per cent of utilisation from which a GPU that says nothing counts as busy."""


class Watchdog:
    """Watches one file grow.

    `busy`: per cent of the GPU's utilisation, None where it cannot be told. `compiling`: whether a compiler is at work.
    """

    def __init__(
        self,
        file: Path,
        silence: float = SILENCE,
        busy: Callable[[], float | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
        compiling: Callable[[], bool] | None = None,
    ) -> None:
        self.file = file
        self.silence = silence
        self._busy = busy or utilisation
        self._compiling = compiling or compiler_runs
        self._clock = clock
        self._size = -1
        self._since = clock()

    def quiet(self) -> float:
        """Return for how many seconds nothing has been written; to be asked every few seconds."""
        try:
            size = self.file.stat().st_size
        except OSError:
            size = 0
        if size != self._size:
            self._size, self._since = size, self._clock()
        return self._clock() - self._since

    def verdict(self, *, tuning: bool) -> str:
        """Return "" while there is hope, else `autotune_stall` or `hang`.

        `tuning`: whether the last words were of tuning or warming up. A GPU at work and silent is stalled in tuning, whatever
        it said last; one that idles hangs, unless it said that it tunes.
        """
        if self.quiet() < self.silence:
            return ""
        if self._compiling():
            self._since = self._clock()
            return ""
        load = self._busy()
        return "autotune_stall" if tuning or (load is not None and load >= _BUSY) else "hang"


def utilisation() -> float | None:
    """Return the busiest GPU's utilisation in per cent, by nvidia-smi; None where it cannot be told."""
    where = shutil.which("nvidia-smi")
    if where is None:
        return None
    asked = [where, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(  # noqa: S603 - found on PATH, constant arguments
            asked, capture_output=True, text=True, check=False, timeout=20, stdin=subprocess.DEVNULL
        ).stdout
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return None
    found = [float(line) for line in told.split() if line.strip().isdigit()]
    return max(found, default=None)


def compiler_runs() -> bool:
    """Return whether a compiler of kernels runs on this machine, by the names of processes."""
    return any(True for _ in _compilers())


def compiles_here() -> bool:
    """Return whether one runs that this process, or one that it started, has started."""
    return any(os.getpid() in _ancestors(each) for each in _compilers())


def _compilers() -> Iterator[int]:
    for file in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            if file.read_text(encoding="utf-8", errors="replace").strip() in COMPILERS:
                yield int(file.parent.name)


def _ancestors(process: int) -> Iterator[int]:
    with contextlib.suppress(OSError, ValueError, LookupError):
        while process > 1:
            told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
            process = int(told.rpartition(")")[2].split()[1])
            yield process
