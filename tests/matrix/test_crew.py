from __future__ import annotations

import threading
import time

import pytest

from matrix.crew import Crew


def collect(crew: Crew[int, int]) -> dict[int, int | Exception]:
    return dict(news for news in crew.outcomes() if news is not None)


@pytest.mark.parametrize("jobs", [1, 2, 16])
def test_every_item_comes_back_once_with_its_result(jobs: int) -> None:
    assert collect(Crew(lambda item: item * item, range(50), jobs)) == {n: n * n for n in range(50)}


def test_nothing_to_do_is_done_at_once() -> None:
    assert collect(Crew(lambda item: item, [], 4)) == {}


def test_items_are_worked_on_side_by_side() -> None:
    together = threading.Barrier(3)

    def work(item: int) -> int:
        together.wait(timeout=10)  # breaks unless three are here at once
        return item

    assert collect(Crew(work, range(3), 3)) == {0: 0, 1: 1, 2: 2}


def test_never_more_at_a_time_than_jobs() -> None:
    lock = threading.Lock()
    running, most = 0, 0

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.002)
        with lock:
            running -= 1
        return item

    collect(Crew(work, range(20), 2))
    assert most == 2


def test_what_one_item_raises_ends_no_other() -> None:
    def work(item: int) -> int:
        if item == 1:
            raise ValueError("one")
        return item

    found = collect(Crew(work, range(3), 1))
    assert isinstance(found[1], ValueError)
    assert (found[0], found[2]) == (0, 2)


def test_stopped_it_begins_nothing_more_and_does_not_wait_for_what_hangs() -> None:
    begun: list[int] = []
    release, busy = threading.Event(), threading.Event()

    def work(item: int) -> int:
        begun.append(item)
        busy.set()
        release.wait(20)
        return item

    crew = Crew(work, range(5), 1)
    assert busy.wait(10)
    called: list[int] = []
    before = time.monotonic()
    crew.stop(within=0.1, meanwhile=lambda: called.append(1))
    assert time.monotonic() - before < 10
    assert called
    release.set()
    crew.stop(within=10)
    assert begun == [0]


def test_a_thread_that_hangs_does_not_hold_the_process() -> None:
    crew = Crew(lambda _: time.sleep(0.01), [0], 1)
    assert all(thread.daemon for thread in crew._threads)
    crew.stop(within=5)


def test_while_nothing_comes_the_caller_gets_to_look() -> None:
    release = threading.Event()
    crew = Crew(lambda item: release.wait(10) and item, [7], 1)
    outcomes = crew.outcomes()
    assert next(outcomes) is None
    release.set()
    assert [news for news in outcomes if news] == [(7, 7)]
