"""Threads that work through a list side by side, and that a Ctrl-C does not wait for."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

TICK: Final = 0.1
"""Seconds between two looks of the caller at what the threads are about."""


class Crew(Generic[Item, Result]):
    """`jobs` threads that call `work` on each item.

    They are daemons: the pool of `concurrent.futures` would hold the process until the last download
    ends. What they find is handed to the one thread that reads `outcomes`.
    """

    def __init__(self, work: Callable[[Item], Result], items: Iterable[Item], jobs: int) -> None:
        self._work = work
        self._todo = deque(items)
        self._open = len(self._todo)
        self._news: queue.SimpleQueue[tuple[Item, Result | Exception]] = queue.SimpleQueue()
        self._stopped = False
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(min(jobs, self._open))
        ]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stopped:
            try:
                item = self._todo.popleft()
            except IndexError:
                return
            try:
                outcome: Result | Exception = self._work(item)
            except Exception as error:  # noqa: BLE001 - handed over: one item must not end the others
                outcome = error
            self._news.put((item, outcome))

    def outcomes(self) -> Iterator[tuple[Item, Result | Exception] | None]:
        """Yield each item with its result, or with what `work` raised, as they come.

        Yields None every `TICK` seconds in which nothing came.
        """
        while self._open:
            try:
                yield self._news.get(timeout=TICK)
                self._open -= 1
            except queue.Empty:
                yield None

    def stop(self, *, within: float = 0.0, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Begin no further item, and give the threads `within` seconds to come back.

        `meanwhile` is called again and again until then.
        """
        self._stopped = True
        end = time.monotonic() + within
        while any(thread.is_alive() for thread in self._threads):
            meanwhile()
            if time.monotonic() >= end:
                return
            time.sleep(0.02)
