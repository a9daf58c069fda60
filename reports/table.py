"""One capability of the report as a table for a terminal, or several side by side where it is narrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from matrix.cell import Report
from matrix.vocabulary import ENVIRONMENTS, Environment, Verdict
from reports.fold import Column, Row, columns, differs
from reports.marks import GLYPHS, Face, lamps
from reports.text import plain

STYLES: Final[dict[Verdict, str]] = {
    "works": "bold green",
    "likely": "green",
    "slow": "yellow",
    "fallback": "magenta",
    "broken": "bold red",
    "unavailable": "dim",
    "unknown": "dim",
}
TONES: Final = {"good": "green", "part": "yellow", "bad": "red", "none": "dim"}
_LABEL_LIMIT: Final = 30
_LABEL_NARROW: Final = 21


def print_tables(
    console: Console,
    report: Report,
    name: str,
    folded: Sequence[Row],
    *,
    words: bool,
    ascii_only: bool,
) -> None:
    """Print the tables of one capability: as many as the width asks for."""
    shown = columns(report, folded)
    order, label = _order(folded), _label(folded)
    if not words and len(_chunks(shown, console.width - label - 1)) > len(
        _chunks(shown, console.width - _LABEL_NARROW - 1)
    ):
        label = min(label, _LABEL_NARROW)  # long names wrap rather than cut the table in two
    room = console.width - label - 1
    parts = [shown] if words else _chunks(shown, room)
    for number, part in enumerate(parts, start=1):
        title = Text(plain(name), style="bold")
        if order:
            title.append(f"  {order[0]}", style="dim")
        if len(parts) > 1:
            title.append(f"  ({number} of {len(parts)})", style="dim")
        console.print(title)
        console.print(_table(part, folded, order, words=words, label=label, ascii_only=ascii_only))
        console.print()


def _order(folded: Sequence[Row]) -> list[Environment]:
    environments = {environment for row in folded for _, environment in row.faces}
    return [environment for environment in ENVIRONMENTS if environment in environments]


def _label(folded: Sequence[Row]) -> int:
    """Columns of the row's heading."""
    label = min(max((len(plain(row.label)) for row in folded), default=0) + 2, _LABEL_LIMIT)
    return max(label, *(min(len(plain(row.series)), _LABEL_LIMIT) for row in folded), 12)


def _table(
    shown: Sequence[Column],
    folded: Sequence[Row],
    order: Sequence[str],
    *,
    words: bool,
    label: int,
    ascii_only: bool,
) -> Table:
    table = Table(
        box=box.ASCII2 if ascii_only else box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        header_style="bold",
    )
    table.add_column("", min_width=label, max_width=label, overflow="fold")
    for column in shown:
        heading = Text(plain(column.target), style="bold")
        if not column.alone:
            heading.append("\n" + column.machines[0], style="dim")
        table.add_column(heading, no_wrap=True)
    current = ""
    for row in folded:
        if row.series != current:
            current = row.series
            table.add_row(Text(plain(current), style="bold"))
        first = order[0]
        table.add_row(
            Text("  " + plain(row.label)),
            *(_cell(column.face(row, first), words=words) for column in shown),
        )
        for other in order[1:]:
            if differs(row, shown, first, other):
                table.add_row(
                    Text(f"    {other}", style="dim"),
                    *(_difference(column, row, first, other, words=words) for column in shown),
                )
    return table


def _cell(seen: Face | None, *, words: bool) -> Text:
    if seen is None:
        return Text("")
    text = Text(GLYPHS[seen.verdict], style=STYLES[seen.verdict])
    if words:
        text.append(f" {seen.verdict}", style=STYLES[seen.verdict])
    text.append(" ")
    for lamp in lamps(seen):
        text.append(lamp.mark, style=TONES[lamp.tone])
    return text


def _difference(column: Column, row: Row, first: str, other: str, *, words: bool) -> Text:
    seen = column.face(row, other)
    return Text("") if seen == column.face(row, first) else _cell(seen, words=words)


def fits(report: Report, folded: Sequence[Row], width: int) -> bool:
    """Whether verdict words fit beside the glyphs, all targets in one table."""
    order, total = _order(folded), _label(folded) + 1
    for column in columns(report, folded):
        seen = [face for row in folded for e in order if (face := column.face(row, e))]
        widest = max((len(face.verdict) for face in seen), default=0) + 7
        total += max(widest, _heading(column)) + 2
    return total <= width


def _heading(column: Column) -> int:
    return max(len(column.target), 0 if column.alone else len(column.machines[0]))


def _chunks(shown: Sequence[Column], room: int) -> list[list[Column]]:
    """`shown` cut into tables of glyph columns that fit in `room`; a target is not torn apart."""
    parts: list[list[Column]] = [[]]
    used = 0
    for column in shown:
        size = max(6, _heading(column)) + 2
        together = size * sum(other.target == column.target for other in shown)
        starts = not parts[-1] or parts[-1][-1].target != column.target
        needed = together if starts and together <= room else size
        if parts[-1] and used + needed > room:
            parts.append([])
            used = 0
        parts[-1].append(column)
        used += size
    return parts
