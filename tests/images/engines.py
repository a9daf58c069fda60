"""An engine that is none: its containers do to the files of a run what a test says, and end as it says."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from images.engine import State, Wanted
from matrix.errors import EngineError
from tests.images.test_begin import planned
from tests.images.test_here import RESULT

OPENING = planned("m=1", "m=2", "m=3")
Work = Callable[[Path], State]


def result(load: str, **changes: Any) -> dict[str, Any]:
    return {**RESULT, "probe": OPENING["planned"][0]["probe"], "load": [load], **changes}


def put(file: Path, *lines: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as output:
        output.writelines(json.dumps(line) + "\n" for line in lines)


def gone(code: int = 0, *, out_of_memory: bool = False) -> State:
    return State(running=False, code=code, out_of_memory=out_of_memory)


class Container:
    def __init__(self, wanted: Wanted, work: Work) -> None:
        (self._file,) = [Path(each) for each in wanted.folders.values() if each.endswith(".jsonl")]
        self._work = work
        self._state = gone()
        self.sent = b""

    def put(self, archive: bytes) -> None:
        self.sent = archive

    def start(self) -> None:
        self._state = self._work(self._file)

    @staticmethod
    def printed() -> Iterator[bytes]:
        yield b"hello\n"

    def state(self) -> State:
        if self._state.code < 0:
            raise EngineError("it is gone")
        return self._state


class Engine:
    """Its containers do one work after the other; `removed` counts those that are gone again."""

    def __init__(self, *works: Work) -> None:
        self._works = list(works)
        self.wanted: list[Wanted] = []
        self.made: list[Container] = []
        self.removed = 0

    @staticmethod
    def security() -> tuple[str, ...]:
        return ("name=seccomp,profile=default",)

    @contextlib.contextmanager
    def container(self, wanted: Wanted) -> Iterator[Container]:
        self.wanted.append(wanted)
        self.made.append(Container(wanted, self._works.pop(0)))
        try:
            yield self.made[-1]
        finally:
            self.removed += 1
