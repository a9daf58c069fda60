"""Timers: what lasted is what is told, flushed or not; on a GPU nothing of the host's time is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.speed import timer
from probes.speed.timer import EventTimer, HostTimer
from tests.probes.speed.racing import World

pytestmark = pytest.mark.torch


def test_the_host_timer_tells_how_long_each_work_lasted_in_order() -> None:
    world = World()

    told = world.timer().each([world.lasting(0.25), world.lasting(0.5), lambda: None])

    assert told == [0.25, 0.5, 0]


def test_flushing_is_not_timed_and_only_done_where_cold(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    host = world.timer()
    touched: list[int] = []

    class Scratch:
        def add_(self, one: int) -> None:
            touched.append(one)
            world.spend(7)

    monkeypatch.setattr(host, "_scratch", Scratch())

    assert host.each([world.lasting(1)] * 2) == [1, 1]
    assert len(touched) == 2
    assert host.each([world.lasting(1)], cold=False) == [1]
    assert host.together([world.lasting(1)] * 3) == 3
    assert len(touched) == 2


def test_the_flush_is_of_twice_the_l2(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    told = tmp_path / "size"
    monkeypatch.setattr(timer, "_CPU_L2", told)

    assert HostTimer()._scratch.numel() == 4 << 20  # Linux does not say
    told.write_text("512K\n")
    assert HostTimer()._scratch.numel() == 1 << 20


def test_the_check_of_the_timer_uses_another_clock() -> None:
    world = World()
    host = HostTimer(world.nanoseconds, lambda: 2 * world.nanoseconds(), world.spend)

    assert host.each([world.lasting(1)]) == [1]
    assert host.together([world.lasting(1)]) == 2


class Gpu:
    """Stands for torch.cuda: work that is queued is done in order, while the host goes on.

    `host` seconds pass on the host for every call that queues something; a work adds `busy` to the queue.
    """

    def __init__(self, host: float) -> None:
        self.host, self.now, self.free = host, 0.0, 0.0
        self.flushes = self.spins = 0

    def queue(self, seconds: float) -> float:
        """Queue work; return when it ends."""
        self.now += self.host
        self.free = max(self.free, self.now) + seconds
        return self.free

    def wait(self) -> None:
        self.now = max(self.now, self.free)

    def _sleep(self, cycles: int) -> None:
        self.spins += 1
        self.queue(cycles / 2e9)

    def get_device_properties(self, _: object) -> Any:
        return type("Properties", (), {"L2_cache_size": 48 << 20})

    def Event(self, *, enable_timing: bool = False) -> Any:  # noqa: N802 - torch's name
        gpu = self

        class Event:
            def record(self) -> None:
                self.at = gpu.queue(0)

            def query(self) -> bool:
                return gpu.now >= self.at

            def elapsed_time(self, end: Event) -> float:
                assert enable_timing
                return float((end.at - self.at) * 1e3)

        return Event()


def on(gpu: Gpu, settle: Callable[[], None] | None = None) -> EventTimer:
    made = EventTimer(torch.device("cpu"), settle or gpu.wait, lambda: None, gpu)

    class Scratch:
        def zero_(self) -> None:
            gpu.flushes += 1
            gpu.queue(1e-4)

    assert made._scratch.numel() == 96 << 20
    scratch: Any = Scratch()
    made._scratch = scratch
    return made


def test_launches_are_queued_ahead_so_that_a_slow_host_is_not_measured() -> None:
    # 1 ms of host time a call: launched one by one, every kernel would seem to last that.
    gpu = Gpu(host=1e-3)
    events = on(gpu)

    told = events.each([lambda: gpu.queue(5e-6), lambda: gpu.queue(2e-5)])

    assert told == pytest.approx([5e-6, 2e-5])
    assert events.queued
    assert gpu.spins > 1  # the first round had begun too early, and was thrown away


def test_a_hiccup_of_the_host_is_measured_again_and_does_not_lengthen_the_hold() -> None:
    gpu, calls = Gpu(host=1e-6), []

    def work() -> None:
        calls.append(1)
        gpu.now += 1.0 if len(calls) == 1 else 0.0
        gpu.queue(5e-6)

    events = on(gpu)
    held = events._cycles

    assert events.each([work]) == pytest.approx([5e-6])
    assert (len(calls), events._cycles, events.queued) == (2, held, True)


def test_l2_is_flushed_before_each_launch_and_not_within_what_is_timed() -> None:
    gpu = Gpu(host=1e-6)
    events = on(gpu)

    events.each([lambda: gpu.queue(5e-6)] * 3)
    assert (gpu.flushes, gpu.spins) == (3, 1)
    assert events.each([lambda: gpu.queue(5e-6)], cold=False) == pytest.approx([5e-6])
    assert gpu.flushes == 3


def test_an_operation_that_waits_for_the_gpu_is_told_to_be_timed_with_the_host() -> None:
    gpu = Gpu(host=1e-5)
    events = on(gpu)

    def waiting() -> None:
        gpu.queue(5e-6)
        gpu.wait()

    (told,) = events.each([waiting])
    spins = gpu.spins

    assert not events.queued
    assert told > 5e-6
    events.each([waiting])
    assert gpu.spins == spins  # it is not held up in vain again


def test_clocks_are_read_while_the_gpu_works_and_errors_come_out_of_settling() -> None:
    gpu, seen = Gpu(host=1e-6), []

    def settle() -> None:
        seen.append("settled")
        raise ZeroDivisionError

    made = on(gpu, settle)
    made._meanwhile = lambda: seen.append("read")

    with pytest.raises(ZeroDivisionError):
        made.each([lambda: gpu.queue(1e-6)])
    assert seen == ["read", "settled"]


def test_many_launches_together_are_timed_from_an_idle_gpu_to_an_idle_gpu() -> None:
    gpu = Gpu(host=0)
    settled: list[float] = []

    def settle() -> None:
        gpu.wait()
        settled.append(gpu.now)

    assert on(gpu, settle).together([lambda: gpu.queue(1)] * 3) >= 0
    assert settled == [0, 3]
