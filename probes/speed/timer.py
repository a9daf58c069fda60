"""Time calls on a device: each by itself with a cold L2, or many together by the host's clock, which checks the first."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import torch

Work = Callable[[], object]

_MEGABYTE: Final = 1 << 20
_CPU_L2: Final = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
_FIRST_CYCLES: Final = 1 << 19
_MOST_CYCLES: Final = 1 << 27
"""About 0.2 ms and 60 ms at 2 GHz: how long the GPU is held up while the host queues a round."""


class Timer(Protocol):
    """Measures works. `queued`: whether launches were queued ahead, so that no time of the host is in what is measured."""

    queued: bool

    def each(self, works: Sequence[Work], *, cold: bool = True) -> list[float]:
        """Run the works in order; return the seconds of each by itself, with L2 flushed before it where `cold`."""

    def together(self, works: Sequence[Work]) -> float:
        """Run the works in order without flushing; return the seconds of all, by a clock that `each` does not use."""

    def now(self) -> float:
        """Return the host's time in seconds."""

    def rest(self, seconds: float) -> None:
        """Leave the device idle."""


class HostTimer:
    """Times on the CPU: perf_counter around a call, L2 flushed by touching twice its size; L3 stays as it is.

    `clock` and `raw` give nanoseconds; `raw` is CLOCK_MONOTONIC_RAW, the counter that no time server corrects.
    """

    queued = True

    def __init__(
        self,
        clock: Callable[[], int] = time.perf_counter_ns,
        raw: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock, self._raw, self._sleep = clock, raw, sleep
        self._scratch = torch.zeros(2 * _l2(), dtype=torch.uint8)

    def each(self, works: Sequence[Work], *, cold: bool = True) -> list[float]:
        """See `Timer`."""
        taken = []
        for work in works:
            if cold:
                self._scratch.add_(1)
            began = self._clock()
            work()
            taken.append((self._clock() - began) / 1e9)
        return taken

    def together(self, works: Sequence[Work]) -> float:
        """See `Timer`."""
        began = self._raw()
        for work in works:
            work()
        return (self._raw() - began) / 1e9

    def now(self) -> float:
        """See `Timer`."""
        return self._clock() / 1e9

    def rest(self, seconds: float) -> None:
        """See `Timer`."""
        self._sleep(seconds)


class EventTimer:
    """Times on a GPU: a pair of CUDA events around each launch, L2 flushed by writing twice its size before it.

    The GPU is first given a kernel that spins, and everything is queued behind it; where the host was not done before that
    ended, the round is thrown away and made again, the second time behind a longer one. An operation that waits for the device by itself cannot be
    queued ahead: `queued` is False then, and its times hold the host's as well. Kernels are launched one by one, not replayed
    from a CUDA graph.

    `settle` waits for the device and charges what it raises; `meanwhile` is called while the GPU works. `cuda` is torch.cuda.
    """

    def __init__(
        self,
        device: torch.device,
        settle: Callable[[], None],
        meanwhile: Callable[[], None],
        cuda: Any = torch.cuda,
    ) -> None:
        self._settle, self._meanwhile, self._cuda = settle, meanwhile, cuda
        size = max(32 * _MEGABYTE, 2 * int(cuda.get_device_properties(device).L2_cache_size))
        self._scratch = torch.zeros(size, dtype=torch.uint8, device=device)
        self._cycles = _FIRST_CYCLES
        self.queued = True

    def each(self, works: Sequence[Work], *, cold: bool = True) -> list[float]:
        """See `Timer`."""
        late = 0
        while True:
            events, ahead = self._queue(works, cold=cold)
            self._meanwhile()
            self._settle()
            if ahead or not self.queued:
                return [begin.elapsed_time(end) / 1e3 for begin, end in events]
            late += 1
            if (
                late > 1
            ):  # one may be the host's hiccup; a longer hold would stay for all that follow
                self.queued = self._cycles < _MOST_CYCLES
                self._cycles = min(2 * self._cycles, _MOST_CYCLES)

    def _queue(self, works: Sequence[Work], *, cold: bool) -> tuple[list[tuple[Any, Any]], bool]:
        """Queue the works; return their events, and whether all were queued before the first could begin."""
        gate = self._cuda.Event()
        if self.queued:
            self._cuda._sleep(self._cycles)  # noqa: SLF001 - torch's own benchmarks hold a stream up so
        gate.record()
        events = []
        for work in works:
            if cold:
                self._scratch.zero_()
            begin, end = (self._cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            work()
            end.record()
            events.append((begin, end))
        return events, not gate.query()

    def together(self, works: Sequence[Work]) -> float:
        """See `Timer`; the host's clock from an idle device to an idle device."""
        self._settle()
        began = time.perf_counter_ns()
        for work in works:
            work()
        self._settle()
        return (time.perf_counter_ns() - began) / 1e9

    def now(self) -> float:
        """See `Timer`."""
        return time.perf_counter()

    def rest(self, seconds: float) -> None:
        """See `Timer`."""
        time.sleep(seconds)


def _l2() -> int:
    """Return the bytes of a core's L2, 2 MiB where Linux does not say."""
    try:
        told = _CPU_L2.read_text(encoding="ascii").strip()
        return int(told.removesuffix("K")) << 10
    except (OSError, ValueError):
        return 2 * _MEGABYTE
