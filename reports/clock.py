"""The time, as results and reports have it."""

from __future__ import annotations

import time


def now() -> str:
    """Return the time, UTC: 2026-11-21T03:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
