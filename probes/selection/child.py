"""One forked process a target and environment: what it changes, and how it dies, stays its own."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

PATIENCE = 60.0
"""Seconds after which a child that does not answer is ended."""

_DEFECT = 70

Key = TypeVar("Key")


def in_children(
    work: Mapping[Key, Callable[[], Any]], scratch: str, most: int
) -> Iterator[tuple[Key, Any, str]]:
    """Run each piece of work in a fork, `most` at a time; yield its key, JSON answer, and what went wrong.

    The answer is None where something went wrong.
    """
    waiting, running = list(work), dict[int, tuple[Key, Path, float]]()
    while waiting or running:
        while waiting and len(running) < most:
            key = waiting.pop(0)
            file = Path(scratch, f"answer-{len(waiting)}.json")
            running[_start(work[key], file)] = (key, file, time.monotonic() + PATIENCE)
        for process, (key, file, limit) in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                del running[process]
                yield key, *_outcome(file, os.waitstatus_to_exitcode(status))
            elif time.monotonic() > limit:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                del running[process]
                yield key, None, f"no answer within {PATIENCE:.0f} s"
        time.sleep(0.005)


def _start(work: Callable[[], Any], file: Path) -> int:
    with warnings.catch_warnings():
        # torch has threads; the child starts none and waits for none of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        return process
    code = _DEFECT
    try:
        file.write_text(json.dumps(work()), encoding="utf-8")
        code = 0
    except BaseException as error:  # noqa: BLE001 - nothing may unwind into the parent's frames
        told = " ".join(f"{type(error).__name__}: {error}".split())
        file.write_text(told[:500], encoding="utf-8")
    os._exit(code)


def _outcome(file: Path, code: int) -> tuple[Any, str]:
    if code == 0:
        return json.loads(file.read_text(encoding="utf-8")), ""
    if code < 0:
        return None, f"the interpreter was ended by {signal.Signals(-code).name}"
    told = file.read_text(encoding="utf-8") if file.exists() else ""
    return None, told or f"the interpreter ended with exit code {code}"
