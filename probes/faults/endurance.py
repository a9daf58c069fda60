"""Faults that show after a while, or while a package tunes: what one call, or ten, do not meet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import torch

from probes.endurance import xid
from probes.faults.fault import Planted, fault

_LATE: Final = 40
"""Calls that go well: more than a probe of correctness makes of one subject."""

_REPLAYS: Final = ("stability.replays.gemm", "soak.operation.gemm")
_TACTICS: Final = ("stability.tactics.gemm",)
_TUNING: Final = ("stability.autotune.gemm",)


class Late(Planted):
    """A `gemm` that counts its calls."""

    calls = 0

    def gemm(self, *args: Any, **kwargs: Any) -> Any:
        made = super().gemm(*args, **kwargs)
        self.calls += 1
        return self.spoilt(made) if self.calls > _LATE else made

    def spoilt(self, made: torch.Tensor) -> torch.Tensor:
        """Return what it comes to once it is late."""
        raise NotImplementedError


@fault("L", "gemm", "corruption", probes=_REPLAYS)
class CorruptionAfterAWhile(Late):
    """After many calls one element is wrong, as cuDNN before 9.23.1 gave on sm120 after minutes to days."""

    def spoilt(self, made: torch.Tensor) -> torch.Tensor:
        made.view(-1)[self.calls % made.numel()] += 1
        return made


@fault("K", "gemm", "illegal_instruction", probes=_REPLAYS)
class ReplayThatDies(Late):
    """A graph dies at one of its replays."""

    def spoilt(self, made: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal instruction was encountered")


@fault("K", "gemm", "xid", probes=_REPLAYS)
class DriverReportsAnError(Late):
    """The driver writes an Xid error to the kernel's log, and the results go on."""

    def spoilt(self, made: torch.Tensor) -> torch.Tensor:
        # In the process of this probe alone: the stand-in for the kernel's log.
        xid.Watch.found = lambda _: ("Xid (PCI:0000:01:00): 13, Graphics Exception",)  # type: ignore[method-assign, assignment]
        return made


class Tuning(Planted):
    """A `gemm` with two tactics."""

    forced = ""

    def tactics(self, operation: str, backend: str, call: Callable[[], Any]) -> list[str]:
        return ["128x128", "256x128"] if operation == "gemm" else []

    def with_tactic(self, tactic: str, call: Callable[[], Any]) -> Any:
        self.forced = tactic
        return call()

    def autotune(self, call: Callable[[], Any]) -> Any:
        return call()


@fault("J", "gemm", "smem_overflow", probes=_TACTICS)
class OneTacticOverflows(Tuning):
    """One of the tactics wants more shared memory than there is: only tuning may choose it."""

    def gemm(self, *args: Any, **kwargs: Any) -> Any:
        if self.forced == "256x128":
            raise RuntimeError("Error Internal")
        return super().gemm(*args, **kwargs)


@fault("I", "gemm", "all_zero", probes=_TACTICS)
class OneTacticGivesZeros(Tuning):
    """One of the tactics writes nothing."""

    def gemm(self, *args: Any, **kwargs: Any) -> Any:
        made = super().gemm(*args, **kwargs)
        return torch.zeros_like(made) if self.forced == "256x128" else made


@fault("M", "gemm", "autotune_stall", probes=_TUNING, asks={"options": {"silence_seconds": 2}})
class AutotuneStall(Tuning):
    """Tuning turns for ever, at full load and without a word."""

    def autotune(self, call: Callable[[], Any]) -> Any:
        until = time.monotonic() + 600
        while time.monotonic() < until:
            sum(range(1000))
