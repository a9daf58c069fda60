"""A run: what one benchmark said of itself, whatever its format."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from matrix.result import Metric, Role, Source
from matrix.vocabulary import Reason

_NUMBER = re.compile(r"[0-9]{1,18}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?")
"""Python prints a float with 17 digits at most, and with up to three zeros before them: 0.00016289848577155853."""


@dataclass(frozen=True)
class Run:
    """One benchmark run.

    `load`: what was asked of the machine; only runs with the same one can be compared, and () is not known.
    `figure`: the metric that tells how fast it was, with `lower` where less is better ("" where none does).
    `alone`: it is of one kernel by itself, not of a server. `trouble`: why it cannot be used, with `text` in one sentence.
    """

    source: Source
    role: Role
    capability: str
    load: tuple[str, ...] = ()
    metrics: dict[str, Metric] = field(default_factory=dict)
    figure: str = ""
    lower: bool = False
    alone: bool = False
    backend: str = ""
    kernels: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    seconds: float | None = None
    trouble: Reason = ""
    text: str = ""

    @property
    def speed(self) -> float:
        """How fast it was, more is faster; in the unit of `figure`, or its inverse."""
        value = self.metrics[self.figure].value
        return 1 / value if self.lower else value


def number(text: str) -> float | None:
    """Read a plain ASCII number of 0 or more, as Python prints it; None for anything else.

    A comma is refused: nobody can tell whether it parts thousands or decimals.
    """
    return float(text) if _NUMBER.fullmatch(text) else None
