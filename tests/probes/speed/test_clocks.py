"""Clocks: NVML's bits by name, readings at their pace, and what explains a loss."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from probes.speed import clocks
from probes.speed.clocks import Clocks, Reading


class Nvml:
    """Answers as libnvidia-ml does, 0 for success, by what `values` has; lacks the functions in `lacking`."""

    def __init__(self, values: dict[str, int], lacking: tuple[str, ...] = ()) -> None:
        self.values, self.lacking = values, lacking
        self.asked: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        if name in self.lacking:
            raise AttributeError(name)

        def getter(_: object, *arguments: Any) -> int:
            self.asked.append((name, arguments[:-1]))
            if name not in self.values:
                return 3  # NVML_ERROR_NOT_SUPPORTED
            arguments[-1]._obj.value = self.values[name]
            return 0

        return getter


EVENTS = "nvmlDeviceGetCurrentClocksEventReasons"
THROTTLE = "nvmlDeviceGetCurrentClocksThrottleReasons"
FULL = {
    "nvmlDeviceGetClockInfo": 1965,
    EVENTS: 0x24,
    "nvmlDeviceGetPowerUsage": 599_500,
    "nvmlDeviceGetTemperature": 83,
}


def read(nvml: Nvml, at: tuple[float, ...] = (0.0,)) -> Clocks:
    moments = iter(at)
    found = Clocks(nvml, ctypes.c_void_p(), lambda: next(moments))
    for _ in at:
        found.read()
    return found


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0, ()),
        (0x4, ("sw_power_cap",)),
        (0x60, ("sw_thermal_slowdown", "hw_thermal_slowdown")),
        (0x8 | 0x80, ("hw_slowdown", "hw_power_brake_slowdown")),
        (0x1 | 0x2 | 0x10 | 0x100, ("gpu_idle", "applications_clocks_setting", "sync_boost",
                                    "display_clocks_setting")),
        (1 << 12, ("bit_12",)),
    ],
)  # fmt: skip
def test_every_bit_has_the_name_of_nvmls_reference(mask: int, names: tuple[str, ...]) -> None:
    assert clocks.reasons(mask) == names


def test_a_reading_is_in_megahertz_watts_and_degrees() -> None:
    nvml = Nvml(FULL)

    assert read(nvml).take() == (Reading(1965.0, 0x24, 599.5, 83.0),)
    assert ("nvmlDeviceGetClockInfo", (1,)) in nvml.asked  # NVML_CLOCK_SM


def test_a_driver_before_535_is_asked_by_the_older_name() -> None:
    older = {name: value for name, value in FULL.items() if name != EVENTS} | {THROTTLE: 0x40}

    (reading,) = read(Nvml(older, lacking=(EVENTS,))).take()

    assert clocks.reasons(reading.mask) == ("hw_thermal_slowdown",)


def test_readings_are_20_ms_apart_and_given_out_once() -> None:
    found = read(Nvml(FULL), (0.0, 0.01, 0.03, 0.045, 0.06))

    assert len(found.take()) == 3
    assert found.take() == ()


def test_what_nvml_does_not_know_is_left_out_of_the_metrics() -> None:
    (reading,) = read(Nvml({"nvmlDeviceGetClockInfo": 2400})).take()

    assert clocks.told([reading]) == {"sm_clock": (2400, "MHz")}
    assert read(Nvml({})).take() == ()


def test_without_a_library_nothing_is_read() -> None:
    found = Clocks(None, None)
    found.read()

    assert found.take() == ()
    assert clocks.told(()) == {}
    assert clocks.throttles(()) == ()
    assert clocks.slowdown((), 2000.0) == 1


def test_metrics_have_medians_the_highest_temperature_and_each_reasons_share() -> None:
    held = [Reading(2000, 0x0, 500, 60), Reading(1800, 0x4, 600, 80), Reading(1700, 0x5, 610, 70)]

    told = clocks.told(held)

    assert told["sm_clock"] == (1800, "MHz")
    assert told["power"] == (600, "W")
    assert told["temperature"] == (80, "C")
    assert told["share_sw_power_cap"][0] == pytest.approx(200 / 3)
    assert told["share_gpu_idle"][0] == pytest.approx(100 / 3)


def test_heat_and_power_throttle_where_they_hold_for_half_of_the_time_and_settings_never_do() -> (
    None
):
    def mostly(mask: int, of: int) -> tuple[str, ...]:
        return clocks.throttles([Reading(1, mask if i < of else 0, 1, 1) for i in range(10)])

    assert mostly(0x4 | 0x40, 5) == ("hw_thermal_slowdown", "sw_power_cap")
    assert mostly(0x4, 4) == ()
    assert mostly(0x1 | 0x2 | 0x10 | 0x100, 10) == ()


def test_a_slowdown_is_the_fastest_clock_over_the_median_and_never_a_gain() -> None:
    held = [Reading(clock, 0, 1, 1) for clock in (1000, 1500, 1600)]

    assert clocks.slowdown(held, 3000) == 2
    assert clocks.slowdown(held, 1200) == 1
