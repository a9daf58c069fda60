"""All faults: importing this enters them."""

from __future__ import annotations

from probes.faults import (
    attention,
    codes,
    deaths,
    endurance,
    experts,
    fallbacks,
    imports,
    matrices,
    messages,
    scales,
    speed,
)
from probes.faults.fault import FAULTS

__all__ = ["FAULTS"]

_KINDS = (
    codes,
    scales,
    matrices,
    experts,
    attention,
    messages,
    deaths,
    imports,
    fallbacks,
    speed,
    endurance,
)
