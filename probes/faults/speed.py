"""Faults in how fast it is: right numbers, by native kernels, and slower than what does not use FP4."""

from __future__ import annotations

import time
from typing import Any, Final

import torch

from probes.faults.fault import Planted, fault
from probes.speed import clocks
from probes.speed.clocks import Reading

_PROBES: Final = ("speed.gemm",)
_LONGER: Final = 0.004
"""Seconds: several times what the stand-in for weight-only takes on the suite's small loads."""

_COOL: Final = Reading(sm_clock=2400.0, mask=0, power=200.0, temperature=50.0)
_CAPPED: Final = Reading(sm_clock=60.0, mask=0x4, power=600.0, temperature=80.0)
"""Far below the first, so that what it explains does not hang on how fast this CPU is; 0x4 is `sw_power_cap`."""

_BURST: Final = 2


@fault("P", "gemm", "slower_than_baseline", probes=_PROBES)
class SlowerThanWeightOnly(Planted):
    """Right, native, and slower than Marlin: a user of FP4 loses."""

    def gemm(self, *args: Any, **kwargs: Any) -> Any:
        time.sleep(_LONGER)
        return super().gemm(*args, **kwargs)


@fault("P", "gemm", "throttled", probes=_PROBES)
class SlowedByItsHeat(Planted):
    """As fast as it has to be in a burst; then power holds the clock down, which explains all that it loses."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.phase = 0

        def take(_: clocks.Clocks) -> tuple[Reading, ...]:
            # Asked before the burst, after it, and after what follows.
            self.phase += 1
            return (_COOL if self.phase <= _BURST else _CAPPED,)

        # In the process of this probe alone: the stand-in for NVML.
        clocks.Clocks.take = take  # type: ignore[method-assign, assignment]

    def gemm(self, *args: Any, **kwargs: Any) -> Any:
        if self.phase == _BURST:
            time.sleep(_LONGER)
        return super().gemm(*args, **kwargs)
