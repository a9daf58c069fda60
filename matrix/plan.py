"""Planning: which checks are worth a GPU runner's time, and why the others are not. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from matrix.cell import Cell, Report
from matrix.imports import NOT_LOADABLE
from matrix.model import Model
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment, Machine, Reason, Verdict

INCOMPLETE: Final[tuple[Verdict, ...]] = ("broken", "unavailable")
"""Verdicts that say that a path is known to be incomplete, so that running it would teach nothing."""


class Job(Model, frozen=True, kw_only=True):
    """What one GPU runner gets: one stack on one target in one machine.

    `cells`: the capabilities to probe, by environment; an environment without any is left out. `seconds`: what they
    usually take on a GPU, as far as earlier runs tell; 0.0 where none does.
    """

    stack: str
    target: str
    machine: Machine
    cells: dict[Environment, tuple[str, ...]]
    seconds: float = 0.0


class Pruned(Model, frozen=True, kw_only=True):
    """One cell that is not sent to a GPU runner, with the verdict and the reason that say why.

    `seconds`: what it usually takes on a GPU, 0.0 where no earlier run tells.
    """

    stack: str
    target: str
    machine: Machine
    environment: Environment
    capability: str
    verdict: Verdict
    reason: Reason
    seconds: float = 0.0


class Plan(Model, frozen=True, kw_only=True):
    """Every cell of a report, in exactly one job or pruned; both in the report's order of stacks and targets."""

    jobs: tuple[Job, ...]
    pruned: tuple[Pruned, ...]


def plan(
    report: Report,
    *,
    controls: Collection[str] = (),
    usual: Mapping[tuple[str, str], float] | None = None,
) -> Plan:
    """Make jobs of `report`'s cells. Time is linear in their number; their order does not matter.

    A cell whose path is known to be incomplete is pruned. One that a probe found broken is not: that is
    no missing piece, and another driver may change it. `controls` are targets without FP4 hardware: no
    native path is complete there, and what a probe measures is the fallback, so that a cell is pruned
    only where the stack cannot be loaded at all. A job whose every cell is pruned is no job. `usual`: seconds by
    target and capability (`matrix.standing.usual`).
    """
    usual = usual or {}
    groups: dict[tuple[str, str, Machine], list[Cell]] = {}
    for cell in report.cells:
        groups.setdefault((cell.stack, cell.target, cell.machine), []).append(cell)
    stacks = {stack.name: rank for rank, stack in enumerate(report.stacks)}
    targets = {target.name: rank for rank, target in enumerate(report.targets)}
    order = sorted(
        groups,
        key=lambda at: (
            stacks.get(at[0], len(stacks)),
            targets.get(at[1], len(targets)),
            MACHINES.index(at[2]),
            at,
        ),
    )
    jobs: list[Job] = []
    pruned: list[Pruned] = []
    for stack, target, machine in order:
        cells: dict[Environment, list[str]] = {}
        spent = 0.0
        for cell in sorted(groups[stack, target, machine], key=_place):
            if _worthwhile(cell, control=target in controls):
                cells.setdefault(cell.environment, []).append(cell.capability)
                spent += usual.get((target, cell.capability), 0.0)
            else:
                pruned.append(_pruned(cell, usual.get((target, cell.capability), 0.0)))
        if cells:
            told = {environment: tuple(names) for environment, names in cells.items()}
            jobs.append(Job(stack=stack, target=target, machine=machine, cells=told, seconds=spent))
    return Plan(jobs=tuple(jobs), pruned=tuple(pruned))


def labels(job: Job) -> tuple[str, ...]:
    """Name the labels that a self-hosted runner must carry to be given `job`.

    `linux`, `x64` and `arm64` are what GitHub's runner calls itself; `gpu` and the target are ours.
    """
    machine = "x64" if job.machine == "x86_64" else "arm64"
    return ("self-hosted", "linux", machine, "gpu", job.target)


def _place(cell: Cell) -> tuple[int, str]:
    return ENVIRONMENTS.index(cell.environment), cell.capability


def _worthwhile(cell: Cell, *, control: bool) -> bool:
    """Say whether a probe could teach something that is not known yet."""
    if cell.verdict not in INCOMPLETE or cell.executed == "fail":
        return True
    return control and cell.reason not in NOT_LOADABLE


def _pruned(cell: Cell, seconds: float) -> Pruned:
    return Pruned(
        stack=cell.stack,
        target=cell.target,
        machine=cell.machine,
        environment=cell.environment,
        capability=cell.capability,
        verdict=cell.verdict,
        reason=cell.reason,
        seconds=seconds,
    )
