"""The report on a terminal: one table per capability, folded, no wider than the window."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from matrix.cell import Cell, Report
from reports.console import text_console
from reports.contradictions import Folded, fold
from reports.fold import by_capability, rows
from reports.marks import ASCII, GLYPHS, LAMPS, MEANINGS, SIGNS, face, lamps
from reports.table import STYLES, TONES, fits, print_tables
from reports.text import plain

_TOP_CONTRADICTIONS: Final = 5
_EVIDENCE_CELLS: Final = 4


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
    console = text_console(out, width=width, colour=colour)
    grouped = by_capability(report)
    chosen = [name for name in capabilities or grouped if name in grouped]
    shown = [cell for name in chosen for cell in grouped[name]]
    if not shown:
        console.print(Text("Nothing to show: no cell matches."))
    folded = {name: rows(report.stacks, grouped[name]) for name in chosen}
    # All tables with words or none: two forms in one output read as two meanings.
    words = all(fits(report, found, console.width) for found in folded.values())
    for name, found in folded.items():
        print_tables(console, report, name, found, words=words, ascii_only=ascii_only)
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


def _evidence(console: Console, cells: Sequence[Cell]) -> None:
    for cell in cells:
        heading = (
            f"{cell.stack}  {cell.target} {cell.machine}  {cell.environment}  {cell.capability}"
        )
        text = Text(plain(heading), style="bold")
        text.append(f"  {cell.verdict}", style=STYLES[cell.verdict])
        if cell.reason:
            text.append(f" ({cell.reason})")
        console.print(text)
        for lamp, (_, _, question) in zip(lamps(face(cell)), LAMPS, strict=True):
            told = Text(plain(lamp.word)).append(f"  {question}", style="dim")
            _entry(console, Text(f"{lamp.mark} {lamp.name}", style=TONES[lamp.tone]), told)
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
            line = Text(f"  {GLYPHS[verdict]} {verdict:<11} ", style=STYLES[verdict])
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
    """Print what to run next; the cell named is the newest broken one, of a plain release if there is one.

    No pins are chosen by what only results tell.
    """
    read = [c for c in cells if any(item.kind not in ("run", "result") for item in c.evidence)]
    one = min(read or cells, key=lambda cell: (cell.verdict != "broken", "[" in cell.stack))
    stack, target, capability = plain(one.stack), plain(one.target), plain(one.capability)
    commands = [
        (f"nvfp4-matrix pins --target {target} --need {capability}", "pins that do work there"),
        ("nvfp4-matrix show --format html --output matrix.html", "everything, to click on"),
    ]
    if not read:
        del commands[0]
    if len(cells) > _EVIDENCE_CELLS:
        why = f"nvfp4-matrix show --stack '{stack}' --target {target} --capability {capability}"
        if len({cell.machine for cell in cells if cell.target == one.target}) > 1:
            why += f" --machine {plain(one.machine)}"
        commands.insert(0, (why, "the evidence of one cell"))
    console.print(Text("Next", style="bold"))
    for command, purpose in commands:
        line = Text(f"  {command}")
        if len(command) + len(purpose) + 6 <= console.width:
            line.append(f"  # {purpose}", style="dim")
        console.print(line, soft_wrap=True)
    console.print(Text(f"As of {plain(report.generated)}", style="dim"))
