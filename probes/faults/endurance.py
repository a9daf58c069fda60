"""Faults that show after a while: what one call, or ten, do not meet."""

from __future__ import annotations

import time
from typing import Any, Final

import torch

from probes.faults.fault import Planted, fault

_PROBES: Final = ("stability.*",)
_PENDING: Final = "the probes of stability are being written"
_LATE: Final = 40
"""Calls that go well: more than any probe of correctness makes."""


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


@fault("L", "gemm", "corruption", probes=_PROBES, pending=_PENDING)
class CorruptionAfterAWhile(Late):
    """After many calls one element is wrong, as cuDNN before 9.23.1 gave on sm120 after minutes to days."""

    def spoilt(self, made: torch.Tensor) -> torch.Tensor:
        made.view(-1)[self.calls % made.numel()] += 1
        return made


@fault("K", "gemm", "illegal_instruction", probes=_PROBES, pending=_PENDING)
class ReplayThatDies(Late):
    """A graph dies at one of its replays."""

    def spoilt(self, made: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal instruction was encountered")


@fault("M", "gemm", "autotune_stall", probes=_PROBES, pending=_PENDING)
class AutotuneStall(Planted):
    """Autotuning turns for ever, at full load and without a word."""

    def tune(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(600)
