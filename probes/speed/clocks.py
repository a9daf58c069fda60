"""What held a GPU's clocks down: NVML's readings, and its reasons by name."""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from probes.finding import Metrics

REASONS: Final = {
    0x0000000000000001: "gpu_idle",
    0x0000000000000002: "applications_clocks_setting",
    0x0000000000000004: "sw_power_cap",
    0x0000000000000008: "hw_slowdown",
    0x0000000000000010: "sync_boost",
    0x0000000000000020: "sw_thermal_slowdown",
    0x0000000000000040: "hw_thermal_slowdown",
    0x0000000000000080: "hw_power_brake_slowdown",
    0x0000000000000100: "display_clocks_setting",
}
"""NVML API reference, "NvmlClocksEventReasons" (nvml.h, nvmlClocksEventReason…; before driver 535 …ThrottleReason…)."""

THROTTLES: Final = frozenset(
    {
        "sw_power_cap",
        "hw_slowdown",
        "sw_thermal_slowdown",
        "hw_thermal_slowdown",
        "hw_power_brake_slowdown",
    }
)
"""Those that heat and power bring about; the others are settings, or say that nothing was to be done."""

_SM: Final = 1  # nvmlClockType_t, NVML_CLOCK_SM
_CORE: Final = 0  # nvmlTemperatureSensors_t, NVML_TEMPERATURE_GPU
_STEP: Final = 0.02


def reasons(mask: int) -> tuple[str, ...]:
    """Name the bits of a mask; one that NVML's reference does not have is told as `bit_<number>`."""
    return tuple(
        REASONS.get(1 << bit, f"bit_{bit}") for bit in range(mask.bit_length()) if mask >> bit & 1
    )


@dataclass(frozen=True)
class Reading:
    """One moment: SM clock in MHz, why it is no higher, watts, degrees Celsius. NaN or 0 where NVML does not say."""

    sm_clock: float
    mask: int
    power: float
    temperature: float


class Clocks:
    """Reads one GPU, at most every 20 ms. `library` is libnvidia-ml, None where there is none: it then never says anything."""

    def __init__(
        self, library: Any, handle: Any, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._library, self._handle, self._now = library, handle, now
        self._last = -_STEP
        self.readings: list[Reading] = []

    @classmethod
    def of(cls, uuid: str) -> Clocks:
        """Open NVML for the GPU of a UUID ("GPU-…"), the first one for "". Reads nothing where that fails."""
        try:
            library = ctypes.CDLL("libnvidia-ml.so.1")
        except OSError:
            return cls(None, None)
        handle = ctypes.c_void_p()
        if library.nvmlInit_v2():
            return cls(None, None)
        if uuid:
            failed = library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle))
        else:
            failed = library.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle))
        return cls(None, None) if failed else cls(library, handle)

    def read(self) -> None:
        """Take a reading, where the last one is old enough."""
        now = self._now()
        if self._library is None or now - self._last < _STEP:
            return
        self._last = now
        clock = self._asked("nvmlDeviceGetClockInfo", ctypes.c_uint, _SM)
        if clock is None:
            return
        mask = self._asked("nvmlDeviceGetCurrentClocksEventReasons", ctypes.c_ulonglong)
        if mask is None:
            mask = self._asked("nvmlDeviceGetCurrentClocksThrottleReasons", ctypes.c_ulonglong)
        power = self._asked("nvmlDeviceGetPowerUsage", ctypes.c_uint)
        heat = self._asked("nvmlDeviceGetTemperature", ctypes.c_uint, _CORE)
        self.readings.append(
            Reading(
                float(clock),
                mask or 0,
                float("nan") if power is None else power / 1e3,
                float("nan") if heat is None else float(heat),
            )
        )

    def take(self) -> tuple[Reading, ...]:
        """Return what was read since the last time that this was asked."""
        taken = tuple(self.readings)
        self.readings.clear()
        return taken

    def _asked(self, name: str, kind: Any, *arguments: int) -> int | None:
        """Call one of NVML's getters; None where this driver lacks it or the GPU does not know."""
        value = kind()
        getter = getattr(self._library, name, None)
        if getter is None or getter(self._handle, *arguments, ctypes.byref(value)):
            return None
        return int(value.value)


def told(readings: Sequence[Reading]) -> Metrics:
    """Return a phase's readings as metrics: medians, the highest temperature, and for each reason its share of readings."""
    if not readings:
        return {}
    found: dict[str, tuple[float, str]] = {
        "sm_clock": (median(each.sm_clock for each in readings), "MHz")
    }
    watts = [each.power for each in readings if not math.isnan(each.power)]
    heat = [each.temperature for each in readings if not math.isnan(each.temperature)]
    if watts:
        found["power"] = (median(watts), "W")
    if heat:
        found["temperature"] = (max(heat), "C")
    names = [reasons(each.mask) for each in readings]
    for name in sorted({name for each in names for name in each}):
        share = sum(name in each for each in names) / len(names)
        found[f"share_{name}"] = (100 * share, "percent")
    return found


def throttles(readings: Sequence[Reading]) -> tuple[str, ...]:
    """Return the reasons of heat and power that held in half of the readings or more."""
    names = [reasons(each.mask) for each in readings]
    return tuple(
        sorted(
            each for each in THROTTLES if 2 * sum(each in held for held in names) >= len(names) > 0
        )
    )


def slowdown(readings: Sequence[Reading], fastest: float) -> float:
    """Return by which factor the clock was under `fastest` MHz; 1 where it was not, or is not known."""
    clock = median(each.sm_clock for each in readings) if readings else 0.0
    return max(1.0, fastest / clock) if clock else 1.0
