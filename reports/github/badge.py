"""Badges as shields.io reads them from an endpoint: one small JSON a capability and target. Pure."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from matrix.cell import Cell, Report
from matrix.vocabulary import VERDICTS, Verdict
from reports.text import plain

COLOURS: Final[dict[Verdict, str]] = {
    "works": "brightgreen",
    "likely": "green",
    "slow": "yellow",
    "fallback": "orange",
    "broken": "red",
    "unavailable": "lightgrey",
    "unknown": "lightgrey",
}


def badges(report: Report) -> dict[str, str]:
    """Give file name → endpoint JSON, of the newest stack that has the cell, as pip installs it (slim).

    Where a target exists with two machines, the worse of them counts.
    """
    order = {stack.name: at for at, stack in enumerate(report.stacks)}
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in sorted(report.cells, key=lambda cell: order[cell.stack]):
        if cell.environment != "slim":
            continue
        same = found.setdefault((cell.capability, cell.target), [])
        if not same or same[0].stack == cell.stack:
            same.append(cell)
    return {
        f"{_file(capability)}-{_file(target)}.json": _badge(capability, target, cells)
        for (capability, target), cells in found.items()
    }


def _badge(capability: str, target: str, cells: list[Cell]) -> str:
    worst = max(cells, key=lambda cell: VERDICTS.index(cell.verdict))
    content = {
        "schemaVersion": 1,
        "label": plain(f"{capability} {target}", limit=60),
        "message": plain(f"{worst.verdict} ({worst.stack})", limit=60),
        "color": COLOURS[worst.verdict],
    }
    return msgspec.json.encode(content).decode() + "\n"


def _file(name: str) -> str:
    return re.sub(r"[^0-9A-Za-z.-]+", "_", name).lstrip(".") or "_"
