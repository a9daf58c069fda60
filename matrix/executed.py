"""The executed lamp: what the newest results say of each cell, folded into its verdict. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from matrix.cell import Cell, Item, StackSummary
from matrix.proberun import ProbeRun
from matrix.result import Result
from matrix.standing import usual
from matrix.verdict import Judgement, Status, verdict
from matrix.vocabulary import Environment, Machine, Mark, Reason

_WORST: Final[tuple[Status, ...]] = ("fail", "fallback", "slow", "pass", "error", "skip", "missing")
"""Of one run's results on a cell the first of these counts; from `error` on they say nothing of the product."""

_MOST: Final = 20
"""Results that a cell tells of one by one."""

_SETTLED: Final = frozenset({"fail", "fallback", "slow", "pass"})
_GREEN: Final[frozenset[Mark]] = frozenset({"kernels-unproven", "numbers-unchecked"})
"""Marks of a pass that cannot make a cell green by itself: it may be a silent fallback, or wrong and fast."""

_UNFINISHED: Final = frozenset({"error", "missing"})
"""Of a run in which checks were lost, what came back does not make a cell green."""


class Spot(NamedTuple):
    """A cell without its environment: a result need not say in which it was made."""

    stack: str
    target: str
    machine: Machine
    capability: str


class Execution(NamedTuple):
    """What ran on a cell: the worst status of the newest run that says something, its results, and its opening."""

    status: Status
    reason: Reason
    proven: bool
    results: tuple[Result, ...]
    run: ProbeRun | None = None


class Executed:
    """Results by cell. One that does not name its environment speaks for both."""

    def __init__(self, results: Iterable[Result] = (), runs: Iterable[ProbeRun] = ()) -> None:
        self._runs = {run.run: run for run in runs}
        self._by_spot: dict[Spot, list[Result]] = {}
        for result in results:
            spot = Spot(result.stack, result.target, result.machine, result.capability)
            self._by_spot.setdefault(spot, []).append(result)

    def at(self, spot: Spot, environment: Environment) -> Execution | None:
        """Fold the results on a cell; None where there are none.

        The newest run with a pass, slow, fallback or fail counts, and of it the worst; where no run
        has any, the newest one. Results of one kernel by itself are told and do not count.
        """
        every = [r for r in self._by_spot.get(spot, ()) if r.environment in ("", environment)]
        here = [result for result in every if "one-kernel" not in result.marks]
        if not here:
            return (
                Execution("missing", "not_measured", proven=False, results=_newest(every))
                if every
                else None
            )
        settled = [result for result in here if result.status in _SETTLED]
        run = _newest(settled or here)[0].run
        same = [result for result in here if result.run == run]
        same.sort(key=lambda result: _WORST.index(result.status))
        worst = same[0]
        proven = any(r.status == "pass" and not _GREEN & set(r.marks) for r in same)
        proven = proven and not any(r.status in _UNFINISHED for r in same)
        return Execution(worst.status, worst.reason, proven, tuple(same), self._runs.get(run))

    def stacks(self, known: Iterable[str]) -> tuple[StackSummary, ...]:
        """Summarise the stacks that results name and the matrix does not know, by name."""
        held = frozenset(known)
        machines: dict[str, set[str]] = {}
        for spot in self._by_spot:
            if spot.stack not in held:
                machines.setdefault(spot.stack, set()).add(spot.machine)
        return tuple(
            StackSummary(
                name=name,
                package="",
                version="",
                machines=tuple(sorted(machines[name])),
                pins={machine: {} for machine in machines[name]},
                note="declared with its results; its wheels were not read",
            )
            for name in sorted(machines)
        )

    @property
    def results(self) -> Iterator[Result]:
        """Every result, those of a cell together."""
        for results in self._by_spot.values():
            yield from results

    @property
    def usual(self) -> dict[tuple[str, str], float]:
        """How many seconds a run takes, by target and capability."""
        return usual(self.results)

    def light(self, cells: Sequence[Cell]) -> Iterator[Cell]:
        """Give each cell what ran on it; without results it stays what it is."""
        for cell in cells:
            spot = Spot(cell.stack, cell.target, cell.machine, cell.capability)
            ran = self.at(spot, cell.environment) if self._by_spot else None
            yield _lit(cell, ran) if ran else cell

    def more(
        self,
        stack: str,
        target: str,
        machine: str,
        capabilities: Sequence[str],
        environments: Sequence[Environment],
    ) -> Iterator[Cell]:
        """Yield cells that only results make: of stacks or capabilities that nothing else is known of."""
        for spot in self._by_spot:
            if (spot.stack, spot.target, spot.machine) != (stack, target, machine):
                continue
            if spot.capability not in capabilities:
                continue
            for environment in environments:
                if ran := self.at(spot, environment):
                    yield _lit(_dark(spot, environment), ran)


def _newest(results: Sequence[Result]) -> tuple[Result, ...]:
    """Pick the results of the newest run."""
    newest = max(results, key=lambda result: (result.when, result.run))
    return tuple(result for result in results if result.run == newest.run)


def _dark(spot: Spot, environment: Environment) -> Cell:
    return Cell(
        stack=spot.stack,
        target=spot.target,
        machine=spot.machine,
        environment=environment,
        capability=spot.capability,
        declared="unknown",
        compiled="unknown",
        selected="not_asked",
        executed="missing",
        verdict="unknown",
        reason="not_measured",
    )


def _lit(cell: Cell, ran: Execution) -> Cell:
    """Settle a cell by what ran; a pass that is not proven lights its lamp and settles nothing."""
    judged = Judgement(cell.verdict, cell.reason)
    if ran.status == "pass" and not ran.proven:
        if cell.verdict == "unknown":
            judged = Judgement("unknown", "not_proven")
    elif ran.status in _SETTLED:
        judged = verdict(
            (), declared=cell.declared, executed=ran.status, executed_reason=ran.reason
        )
    elif cell.verdict == "unknown" and not cell.evidence:
        judged = Judgement("unknown", ran.reason)
    return msgspec.structs.replace(
        cell,
        executed=ran.status,
        verdict=judged.verdict,
        reason=judged.reason,
        evidence=(*_conditions(ran.run), *_items(ran.results), *cell.evidence),
    )


def _conditions(run: ProbeRun | None) -> Iterator[Item]:
    """Tell what a probe run ran on, where it was one."""
    if run is None:
        return
    told = run.conditions
    gpus = dict.fromkeys(
        ", ".join(filter(None, (gpu.get("name"), f"driver {gpu.get('driver_version', 'unknown')}")))
        for gpu in told.gpu
    )
    versions = ", ".join(f"{name} {version}" for name, version in told.packages.items())
    yield Item(
        kind="run",
        name=run.run,
        answer=told.device,
        text="; ".join((*gpus, versions, f"Python {told.python}", *filter(None, (told.nvcc,)))),
        where=run.when,
    )


def _items(results: Sequence[Result]) -> Iterator[Item]:
    """Tell the first results, checks of one probe that say the same together, and how many more there are."""
    alike: dict[object, list[Result]] = {}
    for number, result in enumerate(results):
        alike.setdefault(_same(result) or number, []).append(result)
    groups = list(alike.values())
    for group in groups[:_MOST]:
        yield _item(group[0]) if len(group) == 1 else _together(group)
    left = sum(len(group) for group in groups[_MOST:])
    if left > 0:
        yield Item(kind="result", name=results[0].run, answer="more", text=f"{left} more results")


def _same(result: Result) -> tuple[object, ...] | None:
    """Return what checks of a probe share that are told together; None for what is told by itself.

    What was read from somebody's file, and what is wrong, is.
    """
    if result.source or result.status not in ("pass", "skip", "missing"):
        return None
    return result.probe, result.backend, result.status, result.reason, result.marks


def _together(group: Sequence[Result]) -> Item:
    """Tell checks of one probe that say the same: how many, and of what loads."""
    first = group[0]
    marks = f" ({', '.join(first.marks)})" if first.marks else ""
    loads = [" ".join(result.load) for result in group]
    told = (
        f"{len(group)} checks, {loads[0]} to {loads[-1]}" if any(loads) else f"{len(group)} checks"
    )
    said = "; ".join(filter(None, (first.backend, told, first.reason)))
    return Item(
        kind="result",
        name=first.probe.name,
        answer=first.status,
        text=said + marks,
        where=max(result.when for result in group),
    )


def _item(result: Result) -> Item:
    marks = f" ({', '.join(result.marks)})" if result.marks else ""
    said = ": ".join(filter(None, (result.reason, result.text)))
    told = (result.backend, " ".join(result.load), said)
    read = ", ".join(dict.fromkeys(source.name for source in result.source))
    return Item(
        kind="result",
        name=result.probe.name,
        answer=result.status,
        text="; ".join(filter(None, told)) + marks,
        where=", ".join(filter(None, (read, result.when))),
    )
