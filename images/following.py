"""A run's results as they come: followed while it goes on, read when it is over, and held so that it goes on once at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from matrix.errors import ConfigurationError, OutsideError
from matrix.journal import LONGEST, decode
from matrix.proberun import ProbeRun
from matrix.result import Result

Line = Result | ProbeRun

_STEP: Final = 0.2
MOST: Final = 1 << 28
"""Bytes that a run's results may take; those of 10,000 checks take a tenth of it. What runs in a stack may write anything."""


def nothing() -> None:
    """Do nothing between two lines."""


def follow(
    results: Path, begin: int, ended: Callable[[], bool], beat: Callable[[], None] = nothing
) -> Iterator[Line | str]:
    """Yield what is appended to `results` after `begin`, until it has `ended` and everything is read; `beat` is called all the while.

    Raises OutsideError for more than results can be.
    """
    held: IO[bytes] | None = None
    with contextlib.ExitStack() as stack:
        while True:
            over = ended()
            if held is None and results.exists():
                held = stack.enter_context(results.open("rb"))
                held.seek(begin)
            if held is not None:
                if os.fstat(held.fileno()).st_size > MOST:
                    raise OutsideError(
                        f"{results}: the suite wrote more than {MOST >> 20} MiB, which are no results; it was ended"
                    )
                yield from _lines(held)
            if over:
                return
            beat()
            time.sleep(_STEP)


def _lines(file: IO[bytes]) -> Iterator[Line | str]:
    """Yield the whole lines that are there, of what is none why; one in the middle of being written is left.

    An image may write anything there: behind a line that is longer than any of ours nothing is read.
    """
    while (place := file.tell()) <= MOST:
        line = file.readline(LONGEST)
        if len(line) == LONGEST and not line.endswith(b"\n"):
            file.seek(0, os.SEEK_END)
        elif not line.endswith(b"\n"):
            file.seek(place)
            return
        try:
            yield decode(line)
        except ValueError as error:
            yield str(error)


@contextlib.contextmanager
def holding(log: Path) -> Iterator[IO[bytes]]:
    """Open a run's log and hold it, for this process and the suite that writes to it: no run goes on twice at once."""
    try:
        output = log.open("ab")
    except OSError as error:
        raise OutsideError(f"{log}: {error.strerror} (--results names another folder)") from error
    with output:
        try:
            fcntl.flock(output, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigurationError(
                f"{log.stem}: this run is still going on; end it or wait"
            ) from error
        except OSError:
            pass  # a file system that knows no locks
        yield output


def finished(results: Path) -> tuple[ProbeRun | None, tuple[Result, ...]]:
    """Read what an earlier attempt of a run left: its opening, and each line that it finished. Raises OutsideError."""
    opening: ProbeRun | None = None
    found: list[Result] = []
    try:
        with results.open("rb") as file:
            for told in _lines(file):
                if isinstance(told, ProbeRun):
                    opening = opening or told  # the first, as where results are read
                elif not isinstance(told, str):
                    found.append(told)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutsideError(f"{results}: {error.strerror}") from error
    return opening, tuple(found)


def cut(results: Path) -> None:
    """Leave of a file that is more than results can be what stands before the first line that is none."""
    with contextlib.suppress(OSError, ValueError), results.open("r+b") as file:
        if os.fstat(file.fileno()).st_size <= MOST:
            return
        end = 0
        try:
            while end < MOST:
                decode(file.readline(LONGEST))
                end = file.tell()
        finally:
            file.truncate(end)
