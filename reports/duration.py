"""Durations in words."""

from __future__ import annotations

from typing import Final

_MINUTE: Final = 60
_HOUR: Final = 3600
_FEW: Final = 10


def told(seconds: float) -> str:
    """Say how long: "8 s", "2.5 min", "40 min", "3.2 h"; as many digits as matter."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    value, unit = (seconds / _MINUTE, "min") if seconds < _HOUR else (seconds / _HOUR, "h")
    return f"{value:.1f} {unit}" if value < _FEW else f"{value:.0f} {unit}"
