"""The report on a terminal: one table per capability, folded, no wider than the window."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from matrix.cell import Cell, Report
from matrix.vocabulary import ENVIRONMENTS, Verdict
from reports.contradictions import Folded, fold
from reports.fold import Column, Row, by_capability, columns, differs, rows
from reports.marks import ASCII, GLYPHS, LAMPS, MEANINGS, SIGNS, Face, face, lamps
from reports.text import plain

_STYLES: Final[dict[Verdict, str]] = {
    "works": "bold green",
    "likely": "green",
    "slow": "yellow",
    "fallback": "magenta",
    "broken": "bold red",
    "unavailable": "dim",
    "unknown": "dim",
}
_TONES: Final = {"good": "green", "part": "yellow", "bad": "red", "none": "dim"}
_TOP_CONTRADICTIONS: Final = 5
_EVIDENCE_CELLS: Final = 4
_LABEL_LIMIT: Final = 30
_LABEL_NARROW: Final = 21


def render(
    report: Report,
    *,
    width: int = 100,
    colour: bool = False,
    ascii_only: bool = False,
    capabilities: Sequence[str] | None = None,
    evidence: bool | None = None,
) -> str:
    """`report` as text of at most `width` columns, ready to be printed.

    `capabilities` chooses tables and their order; None shows all. `ascii_only` is for output that is
    not UTF-8. `evidence` prints each cell's items; None does so where only a few cells are shown.
    """
    out = StringIO()
    console = Console(
        file=out,
        width=max(width, 40),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
        _environ={},  # the caller has decided: NO_COLOR and COLUMNS are read there, not here
    )
    grouped = by_capability(report)
    chosen = [name for name in capabilities or grouped if name in grouped]
    shown = [cell for name in chosen for cell in grouped[name]]
    if not shown:
        console.print(Text("Nothing to show: no cell matches."))
    for name in chosen:
        _capability(
            console, report, name, rows(report.stacks, grouped[name]), ascii_only=ascii_only
        )
    if evidence or (evidence is None and 0 < len(shown) <= _EVIDENCE_CELLS):
        _evidence(console, shown)
    keys = {(cell.stack, cell.target, cell.machine, cell.capability) for cell in shown}
    wanted = [
        found
        for found in report.contradictions
        if (found.stack, found.target, found.machine, found.capability) in keys
    ]
    _contradictions(console, fold(report, wanted), len(wanted))
    if shown:
        _legend(console, shown)
        _hints(console, report, shown)
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    if ascii_only:
        text = text.translate(ASCII).encode("ascii", "replace").decode("ascii")
    return text


def _capability(
    console: Console, report: Report, name: str, folded: Sequence[Row], *, ascii_only: bool
) -> None:
    """Print the tables of one capability: as many as the width asks for."""
    shown = columns(report, folded)
    environments = {environment for row in folded for _, environment in row.faces}
    order = [environment for environment in ENVIRONMENTS if environment in environments]
    label = min(max((len(plain(row.label)) for row in folded), default=0) + 2, _LABEL_LIMIT)
    label = max(label, *(min(len(plain(row.series)), _LABEL_LIMIT) for row in folded), 12)
    if len(_chunks(shown, console.width - label - 1)) > len(
        _chunks(shown, console.width - _LABEL_NARROW - 1)
    ):
        label = min(label, _LABEL_NARROW)  # long names wrap rather than cut the table in two
    words = _fits(shown, folded, order, label, console.width)
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
    text = Text(GLYPHS[seen.verdict], style=_STYLES[seen.verdict])
    if words:
        text.append(f" {seen.verdict}", style=_STYLES[seen.verdict])
    text.append(" ")
    for lamp in lamps(seen):
        text.append(lamp.mark, style=_TONES[lamp.tone])
    return text


def _difference(column: Column, row: Row, first: str, other: str, *, words: bool) -> Text:
    seen = column.face(row, other)
    return Text("") if seen == column.face(row, first) else _cell(seen, words=words)


def _fits(
    shown: Sequence[Column], folded: Sequence[Row], order: Sequence[str], label: int, width: int
) -> bool:
    """Whether verdict words fit beside the glyphs, all targets in one table."""
    total = label + 1
    for column in shown:
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


def _evidence(console: Console, cells: Sequence[Cell]) -> None:
    for cell in cells:
        heading = (
            f"{cell.stack}  {cell.target} {cell.machine}  {cell.environment}  {cell.capability}"
        )
        text = Text(plain(heading), style="bold")
        text.append(f"  {cell.verdict}", style=_STYLES[cell.verdict])
        if cell.reason:
            text.append(f" ({cell.reason})")
        console.print(text)
        for lamp, (_, _, question) in zip(lamps(face(cell)), LAMPS, strict=True):
            told = Text(plain(lamp.word)).append(f"  {question}", style="dim")
            _entry(console, Text(f"{lamp.mark} {lamp.name}", style=_TONES[lamp.tone]), told)
        for item in cell.evidence:
            told = Text(f"{plain(item.name)}: {plain(item.answer)}. {plain(item.text)}")
            if item.where:
                told.append(f"\n{plain(item.where)}", style="dim")
            _entry(console, Text(plain(item.kind)), told)
        console.print()


def _entry(console: Console, name: Text, told: Text) -> None:
    """Print one entry, its later lines under its first."""
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column(width=2)
    grid.add_column(width=10)
    grid.add_column(overflow="fold")
    grid.add_row("", name, told)
    console.print(grid)


def _contradictions(console: Console, found: Sequence[Folded], cells: int) -> None:
    if not found:
        return
    heading = Text(f"Contradictions: {len(found)}", style="bold")
    if cells > len(found):
        heading.append(f"  in {cells} places", style="dim")
    console.print(heading)
    told = _one_of_each(found)[:_TOP_CONTRADICTIONS]
    for one in told:
        line = Text(plain(one.kind), style="red")
        line.append(f"  {plain(one.capability)}  {plain(one.label)}  {plain(one.where)}", "bold")
        console.print(_indented(line, 2))
        console.print(_indented(Text(plain(one.newest.text)), 4))
    if len(found) > len(told):
        rest = len(found) - len(told)
        console.print(Text(f"  … and {rest} more: --format html lists all", style="dim"))
    console.print()


def _one_of_each(found: Sequence[Folded]) -> list[Folded]:
    """Put the first of each kind and capability before the others: five of one kind say less."""
    first: dict[tuple[str, str], Folded] = {}
    for one in found:
        first.setdefault((one.kind, one.capability), one)
    return list(first.values())


def _legend(console: Console, cells: Sequence[Cell]) -> None:
    console.print(Text("How to read", style="bold"))
    present = {cell.verdict for cell in cells}
    for verdict, meaning in MEANINGS.items():
        if verdict in present:
            line = Text(f"  {GLYPHS[verdict]} {verdict:<11} ", style=_STYLES[verdict])
            console.print(line.append(meaning, style="default"))
    lit = ", ".join(f"{letter} {name}" for name, letter, _ in LAMPS)
    signs = ", ".join(f"{sign} {meaning}" for sign, meaning in SIGNS)
    console.print(_indented(Text(f"lamps, in this order: {lit}. In a lamp's place: {signs}."), 2))
    environments = {cell.environment for cell in cells}
    if len(environments) > 1:
        console.print(
            _indented(
                Text(
                    "slim: what pip installs. devel: plus nvcc and ninja, shown where it differs."
                ),
                2,
            )
        )
    console.print()


def _indented(text: Text, indent: int) -> Table:
    """`text` wrapped under an indent."""
    grid = Table.grid(padding=0)
    grid.add_column(width=indent)
    grid.add_column(overflow="fold")
    grid.add_row("", text)
    return grid


def _hints(console: Console, report: Report, cells: Sequence[Cell]) -> None:
    """Print what to run next; the cell named is the newest broken one, else the newest."""
    one = min(cells, key=lambda cell: cell.verdict != "broken")
    stack, target, capability = plain(one.stack), plain(one.target), plain(one.capability)
    commands = [
        (f"nvfp4-matrix pins --target {target} --need {capability}", "pins that do work there"),
        ("nvfp4-matrix show --format html --output matrix.html", "everything, to click on"),
    ]
    if len(cells) > _EVIDENCE_CELLS:
        why = f"nvfp4-matrix show --stack '{stack}' --target {target} --capability {capability}"
        commands.insert(0, (why, "the evidence of one cell"))
    console.print(Text("Next", style="bold"))
    for command, purpose in commands:
        line = Text(f"  {command}")
        if len(command) + len(purpose) + 6 <= console.width:
            line.append(f"  # {purpose}", style="dim")
        console.print(line, soft_wrap=True)
    console.print(Text(f"As of {plain(report.generated)}", style="dim"))
