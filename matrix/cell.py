"""Cells: what the whole matrix says, as JSON prints it and every report reads it."""

from __future__ import annotations

from matrix.model import Model
from matrix.vocabulary import (
    Answer,
    Compiled,
    Environment,
    Machine,
    Reason,
    Selected,
    Verdict,
)


class Item(Model, frozen=True, kw_only=True):
    """One thing that was read, and where: the unit of a cell's evidence.

    `kind`: `stack`, `selected`, `candidate`, `path`, `piece`, `gate`, `defect`, `result`. `answer`: yes, no,
    trap, unknown, …
    `text`: one plain sentence. `where`: wheel file name, member and line, or a source link.
    """

    kind: str
    name: str
    answer: str
    text: str = ""
    where: str = ""


class Cell(Model, frozen=True, kw_only=True):
    """Stack x target x machine x environment x capability, its four lamps and their verdict."""

    stack: str
    target: str
    machine: Machine
    environment: Environment
    capability: str
    declared: Answer
    compiled: Compiled
    selected: Selected
    executed: str
    verdict: Verdict
    reason: Reason
    evidence: tuple[Item, ...] = ()


class Contradiction(Model, frozen=True, kw_only=True):
    """Two lamps (or two packages) that disagree, ready to be pasted into an upstream issue.

    `kind`: `declared-not-compiled`, `compiled-not-declared`, `trap`, `unreachable`, `packages-disagree`,
    `selected-incomplete`, `silent-fallback`. `text` is plain sentences; `read` lists what was read where.
    `path` is the path that is claimed (denied, chosen), `pieces` those that speak against it.
    """

    kind: str
    stack: str
    target: str
    machine: Machine
    capability: str
    text: str
    read: tuple[str, ...] = ()
    path: str = ""
    pieces: tuple[str, ...] = ()


class StackSummary(Model, frozen=True, kw_only=True):
    """A stack as the report's header tells it: pins per machine, and the lead's release order.

    `cuda`: the toolkit of its torch by machine ("13.0"; "" is a CPU build; no entry: not known).
    `requires_python`: the leading wheel's Requires-Python.
    """

    name: str
    package: str
    version: str
    machines: tuple[str, ...]
    pins: dict[str, dict[str, str]]
    cuda: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default
    requires_python: str = ""
    note: str = ""


class TargetSummary(Model, frozen=True, kw_only=True):
    """A target as the report's header tells it."""

    name: str
    compute_capability: str
    machines: tuple[str, ...]
    products: tuple[str, ...]


class Report(Model, frozen=True, kw_only=True):
    """Everything that `show` knows: newest stack first."""

    generated: str
    targets: tuple[TargetSummary, ...]
    stacks: tuple[StackSummary, ...]
    cells: tuple[Cell, ...]
    contradictions: tuple[Contradiction, ...]
