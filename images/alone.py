"""One at a time: a folder of what is being made is held by who makes it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from images import gpu
from matrix.errors import OutsideError

_STEP: Final = 0.5


@contextlib.contextmanager
def alone_here(fingerprint: str, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a fingerprint on this machine, whichever folder and user builds it.

    An engine gives two builds of the same the same intermediate images, and the first one to end removes them.
    """
    handle = gpu.lock(f"nvfp4-matrix-build-{fingerprint[:20]}.lock")
    try:
        if not gpu.taken(handle):
            tell("another build of the same is running; waiting for it")
            while not gpu.taken(handle):
                time.sleep(_STEP)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def alone(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a folder, so that nobody else makes the same meanwhile."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise OutsideError(f"{folder}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another build of the same is running; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
