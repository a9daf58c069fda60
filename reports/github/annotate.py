"""Annotations: the lines of the stack file that broke, one remark a line. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from matrix.cell import Cell
from reports.github.change import Change
from reports.github.posting import Annotation
from reports.github.required import Required
from reports.markdown import inert
from reports.text import plain

_MESSAGE: Final = 4_000
"""Characters of a message; GitHub takes 64 KB, nobody reads it."""


def remarks(
    required: Required, found: Sequence[Change], *, path: str, lines: Mapping[str, int]
) -> tuple[Annotation, ...]:
    """Remark on each line what of it is required and does not work, else what of it regressed.

    `lines`: stack → line. Cells of stacks that the file does not have are not annotated; the texts tell them.
    """
    failing: dict[int, list[str]] = {}
    for cell in required.failing:
        if cell.stack in lines:
            failing.setdefault(lines[cell.stack], []).append(_failing(cell))
    regressed: dict[int, list[str]] = {}
    for change in found:
        line = lines.get(change.key.stack)
        if change.kind == "regressed" and line is not None and line not in failing:
            regressed.setdefault(line, []).append(_regressed(change))
    return tuple(
        Annotation(
            path=path,
            start_line=line,
            end_line=line,
            annotation_level="failure" if line in failing else "warning",
            title=f"{len(said)} {'required, and broken' if line in failing else 'regressed'}",
            message=_message(said),
        )
        for line, said in sorted((failing | regressed).items())
    )


def _message(said: Sequence[str]) -> str:
    """Write as many lines as fit; what is left out is counted."""
    shown: list[str] = []
    room = _MESSAGE - 40
    for one in said:
        room -= len(one) + 1
        if room < 0:
            break
        shown.append(one)
    left = len(said) - len(shown)
    return "\n".join([*shown, *([f"and {left} more"] if left else [])])


def _failing(cell: Cell) -> str:
    place = f"{cell.stack}, {cell.target}, {cell.machine}, {cell.environment}"
    return _line(f"{cell.capability}: {cell.verdict} {cell.reason} ({place})")


def _regressed(change: Change) -> str:
    was = change.before.verdict if change.before else ""
    now = f"{change.after.verdict} {change.after.reason}" if change.after else "gone"
    key = change.key
    place = f"{key.stack}, {key.target}, {key.machine}, {key.environment}"
    return _line(f"{key.capability}: {was} → {now} ({place})")


def _line(text: str) -> str:
    return inert(plain(text, limit=300))
