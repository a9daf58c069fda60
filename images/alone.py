"""One at a time: a folder of what is being made is held by who makes it."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

from matrix.errors import OutsideError


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
