"""What a change did to our evidence: lamps and verdicts before and after it, per target and capability. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final, Literal, NamedTuple

from matrix.cell import Cell
from matrix.model import Model
from matrix.vocabulary import Answer, Compiled, Environment, Machine

Lamp = Literal["declared", "compiled", "selected", "executed", "verdict"]
OF_STACK: Final[tuple[Lamp, ...]] = ("selected", "executed", "verdict")
"""What a stack's cell says that no wheel says by itself."""

EVERY: Final[tuple[Lamp, ...]] = ("declared", "compiled", *OF_STACK)


_SILENT: Final[dict[Lamp, frozenset[str]]] = {
    "selected": frozenset({"not_asked"}),
    "executed": frozenset({"", "missing", "error", "skip"}),
}
"""What says nothing of the product: that it was asked, or ran, on one side alone is no change of it."""


class Change(Model, frozen=True, kw_only=True):
    """One lamp that says something else after than before. `environments`: where; none is the wheel alone."""

    target: str
    machine: Machine
    capability: str
    lamp: Lamp
    before: str
    after: str
    environments: tuple[Environment, ...] = ()


class Lamps(NamedTuple):
    """What one wheel says and holds for one capability on one target."""

    target: str
    machine: Machine
    capability: str
    declared: Answer
    compiled: Compiled


def of_wheels(before: Iterable[Lamps], after: Iterable[Lamps]) -> Iterator[Change]:
    """Compare two releases' wheels, where both were read."""
    old = {(one.target, one.machine, one.capability): one for one in before}
    lamps: tuple[Literal["declared", "compiled"], ...] = ("declared", "compiled")
    for new in after:
        was = old.get((new.target, new.machine, new.capability))
        if was is None:
            continue
        for lamp in lamps:
            first, second = getattr(was, lamp), getattr(new, lamp)
            if first != second:
                yield Change(
                    target=new.target,
                    machine=new.machine,
                    capability=new.capability,
                    lamp=lamp,
                    before=first,
                    after=second,
                )


def of_stacks(
    before: Sequence[Cell], after: Sequence[Cell], lamps: Sequence[Lamp] = OF_STACK
) -> Iterator[Change]:
    """Compare the cells of two stacks; environments that say the same are told together."""
    old = {_place(cell): cell for cell in before}
    found: list[tuple[tuple[str, Machine, str, Lamp, str, str], Environment]] = []
    for new in after:
        was = old.get(_place(new))
        if was is None:
            continue
        for lamp in lamps:
            first, second = str(getattr(was, lamp)), str(getattr(new, lamp))
            if first != second and not {first, second} & _SILENT.get(lamp, frozenset()):
                key = (new.target, new.machine, new.capability, lamp, first, second)
                found.append((key, new.environment))
    order = list(dict.fromkeys(key for key, _ in found))
    found.sort(key=lambda pair: order.index(pair[0]))
    for (target, machine, capability, lamp, first, second), same in groupby(
        found, key=lambda p: p[0]
    ):
        yield Change(
            target=target,
            machine=machine,
            capability=capability,
            lamp=lamp,
            before=first,
            after=second,
            environments=tuple(environment for _, environment in same),
        )


def _place(cell: Cell) -> tuple[str, str, str, str]:
    return cell.target, cell.machine, cell.environment, cell.capability
