"""Folding: runs of consecutive releases that say the same become one row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from matrix.cell import Cell, Report, StackSummary
from reports.marks import Face, face

WRITTEN: Final = "other stacks"
"""The series of stacks that somebody named by hand: they are no releases, so they never fold."""


class Place(NamedTuple):
    """A GPU in a machine, as one column of the matrix."""

    target: str
    machine: str


Faces = Mapping[tuple[Place, str], Face]
"""Place and environment → what is seen there."""


class Row(NamedTuple):
    """Stacks of one series, newest first, whose cells of one capability look the same."""

    series: str
    stacks: tuple[StackSummary, ...]
    faces: Faces

    @property
    def label(self) -> str:
        """`0.33.0`, or oldest to newest of a range; a stack written by hand has its name."""
        return self.stacks[0].name if self.series == WRITTEN else span(self.stacks)

    @property
    def title(self) -> str:
        """The label with its series: `vllm 0.33.0`."""
        return self.label if self.series == WRITTEN else f"{self.series} {self.label}"


class Column(NamedTuple):
    """One target; both of its machines where they say the same in every row."""

    target: str
    machines: tuple[str, ...]
    alone: bool
    """The target has no other column: its name is enough as a heading."""

    def face(self, row: Row, environment: str) -> Face | None:
        """Give what is seen here in `row`, None where the matrix has no such cell."""
        for machine in self.machines:
            seen = row.faces.get((Place(self.target, machine), environment))
            if seen is not None:
                return seen
        return None


def span(stacks: Sequence[StackSummary]) -> str:
    """Name a run of releases, given newest first: one version, or the oldest and the newest."""
    newest, oldest = stacks[0], stacks[-1]
    return newest.version if newest is oldest else f"{oldest.version} \u2013 {newest.version}"


def series(stack: StackSummary) -> str:
    """Name what a stack is a release of: `vllm[flashinfer]==0.33.0` → `vllm[flashinfer]`."""
    lead, separator, version = stack.name.partition("==")
    return lead if separator and version == stack.version else WRITTEN


def by_capability(report: Report) -> dict[str, list[Cell]]:
    """Group cells by capability, in the order in which capabilities first appear."""
    cells: dict[str, list[Cell]] = {}
    for cell in report.cells:
        cells.setdefault(cell.capability, []).append(cell)
    return cells


def rows(stacks: Iterable[StackSummary], cells: Iterable[Cell]) -> tuple[Row, ...]:
    """Fold one capability: series in order of their newest stack, stacks in the given order.

    Only neighbours fold: a release that differs splits the range, and a stack without any cell
    (filtered out) is left out.
    """
    faces: dict[str, dict[tuple[Place, str], Face]] = {}
    for cell in cells:
        key = (Place(cell.target, cell.machine), cell.environment)
        faces.setdefault(cell.stack, {})[key] = face(cell)
    families: dict[str, list[StackSummary]] = {}
    for stack in stacks:
        if stack.name in faces:
            families.setdefault(series(stack), []).append(stack)
    folded: list[Row] = []
    for name, members in families.items():
        if name == WRITTEN:
            folded.extend(Row(name, (member,), faces[member.name]) for member in members)
            continue
        runs = groupby(members, key=lambda stack: tuple(sorted(faces[stack.name].items())))
        for _, run in runs:
            same = tuple(run)
            folded.append(Row(name, same, faces[same[0].name]))
    return tuple(folded)


def columns(report: Report, folded: Sequence[Row]) -> tuple[Column, ...]:
    """Choose the columns that `folded` needs, in the report's order of targets."""
    used = {place for row in folded for place, _ in row.faces}
    found: list[Column] = []
    for target in report.targets:
        machines = tuple(m for m in target.machines if Place(target.name, m) in used)
        if not machines:
            continue
        first, *others = machines
        same = all(
            _at(row, Place(target.name, first)) == _at(row, Place(target.name, other))
            for row in folded
            for other in others
        )
        if same:
            found.append(Column(target.name, machines, alone=True))
        else:
            found.extend(Column(target.name, (machine,), alone=False) for machine in machines)
    return tuple(found)


def differs(row: Row, shown: Sequence[Column], first: str, second: str) -> bool:
    """Whether any column of `row` says something else in environment `second` than in `first`."""
    return any(column.face(row, second) not in {None, column.face(row, first)} for column in shown)


def _at(row: Row, place: Place) -> dict[str, Face]:
    return {environment: seen for (where, environment), seen in row.faces.items() if where == place}
