"""Whether what was required works: the conclusion of a check run, and the command's exit code. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from matrix.cell import Cell, Report
from matrix.pins import GOOD

Conclusion = Literal["success", "failure", "neutral"]


class Required(NamedTuple):
    """The cells that must work, and those of them that do not, or of which it is not known.

    `words`: what was required, as a user wrote it; `absent`: those capabilities that have no cell at all.
    """

    words: str = ""
    total: int = 0
    absent: tuple[str, ...] = ()
    failing: tuple[Cell, ...] = ()
    unknown: tuple[Cell, ...] = ()

    @property
    def conclusion(self) -> Conclusion:
        """Give what a check run says: nothing required, or not known, is neither good nor bad."""
        if self.failing:
            return "failure"
        return "success" if self.total and not self.unknown and not self.absent else "neutral"

    @property
    def sentence(self) -> str:
        """Say it in one sentence of plain words."""
        if not self.words:
            return "nothing is required"
        if not self.total:
            return f"{self.words}: no such cell"
        works = self.total - len(self.failing) - len(self.unknown)
        left = [
            f"{len(cells)} {what}"
            for cells, what in (
                (self.failing, "does not" if len(self.failing) == 1 else "do not"),
                (self.unknown, "not known"),
            )
            if cells
        ]
        left += [f"no cell of {name}" for name in self.absent]
        return f"{self.words}: {works} of {self.total} required cells work" + "".join(
            f", {each}" for each in left
        )


def judge(
    report: Report, capabilities: Sequence[str], stacks: Sequence[str], environments: Sequence[str]
) -> Required:
    """Judge the cells of `capabilities` in the named stacks and environments, on all of the report's targets."""
    cells = [
        cell
        for cell in report.cells
        if cell.capability in capabilities
        and cell.stack in stacks
        and cell.environment in environments
    ]
    return Required(
        words=", ".join(capabilities),
        total=len(cells),
        absent=tuple(name for name in capabilities if all(c.capability != name for c in cells)),
        failing=tuple(c for c in cells if c.verdict not in (*GOOD, "unknown")),
        unknown=tuple(c for c in cells if c.verdict == "unknown"),
    )
