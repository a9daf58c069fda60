"""What a run leaves out: what cannot work anyway, and what an earlier run found and still holds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from probes.case import Case
from probes.request import Request

Planned = tuple[Case, str]
"""A case, and the hash of its probe."""


def skip(
    planned: Sequence[Planned], request: Request
) -> tuple[list[Planned], list[dict[str, Any]]]:
    """Part the cases of a run from those that it leaves out, and tell of these by capability.

    A capability is left out whole or not at all: of the results on a cell those of one run count, so that a check
    that is made again brings back the others. An earlier run holds where it has every case that is planned, made by
    the same code.
    """
    by_capability: dict[str, list[Planned]] = {}
    for case, sha256 in planned:
        by_capability.setdefault(case.capability, []).append((case, sha256))
    earlier = {told["capability"]: told for told in request.standing}
    skipped: list[dict[str, Any]] = []
    for capability, cases in by_capability.items():
        told = {"capability": capability, "checks": len(cases)}
        if why := request.pruned.get(capability):
            skipped.append({**told, "why": why})
        elif (stands := earlier.get(capability)) and _has(stands["checks"], cases):
            seconds = sum(stands["checks"][case.identity][1] for case, _ in cases)
            skipped.append({**told, "run": stands["run"], "seconds": round(seconds, 3)})
    gone = {told["capability"] for told in skipped}
    return [each for each in planned if each[0].capability not in gone], skipped


def _has(checks: dict[str, tuple[str, float]], cases: Sequence[Planned]) -> bool:
    return all(checks.get(case.identity, ("",))[0] == sha256 for case, sha256 in cases)
