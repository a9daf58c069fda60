"""Pins: which stack to install for a target and what it must do, and why not the others. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from matrix.cell import Cell, Report, StackSummary
from matrix.driver import DriversFile, older
from matrix.hearing import ASKED
from matrix.model import Model
from matrix.vocabulary import Environment, Verdict

GOOD: Final[tuple[Verdict, ...]] = ("works", "likely")
"""Verdicts that qualify: a native path that is right as far as anyone knows."""


class Rejected(Model, frozen=True, kw_only=True):
    """A stack that does not qualify, and why in one plain sentence, the most telling reason first."""

    stack: str
    reason: str


class Choice(Model, frozen=True, kw_only=True):
    """The newest and the oldest stack that qualify, by name (null: none does), and why others do not.

    `not_asked`: which of the two were not asked which kernels they would choose for all that is needed, so
    that a complete path is known, not that it is the one taken.
    """

    newest: str | None
    oldest: str | None
    rejected: tuple[Rejected, ...]
    not_asked: tuple[str, ...] = ()


class Host(Model, frozen=True, kw_only=True):
    """What the user's machine is known to have; "" is not known and rejects nothing.

    `driver`: NVIDIA's ("580.65.06", or the branch alone). `python`: "3.12". `first_cuda`: the toolkit that
    first knew the target, whose driver is the oldest that knows it. `drivers`: the table to look in.
    """

    driver: str = ""
    python: str = ""
    first_cuda: str = ""
    drivers: DriversFile | None = None


def choose(
    report: Report,
    *,
    target: str,
    needs: Sequence[str],
    machines: Sequence[str],
    environment: Environment = "slim",
    host: Host | None = None,
    accept: Sequence[Verdict] = GOOD,
) -> Choice:
    """Choose among `report`'s stacks for `target` on all of `machines`.

    A stack qualifies when on each machine each of `needs` has a verdict in `accept` in `environment`, and
    `host`'s driver and Python are what it needs. Newest and oldest are by the version of the
    leading package, the plain stack before those with extras or other pins at the same version; stacks
    that another package leads do not count as older ones. `rejected` is newest first.
    """
    host = host or Host()
    cells = _cells(report.cells, target, environment)
    good: list[StackSummary] = []
    rejected: list[Rejected] = []
    for stack in ordered(report.stacks):
        reasons = list(_reasons(stack, cells, needs, machines, accept))
        reasons += _host(stack, target, machines, host)
        if reasons:
            rejected.append(Rejected(stack=stack.name, reason="; ".join(reasons)))
        else:
            good.append(stack)
    if not good:
        return Choice(newest=None, oldest=None, rejected=tuple(rejected))
    newest, oldest = good[0].name, _oldest(good[0], good).name
    return Choice(
        newest=newest,
        oldest=oldest,
        rejected=tuple(rejected),
        not_asked=tuple(
            name
            for name in dict.fromkeys((newest, oldest))
            if any(_not_asked(cells.get((name, m, need))) for m in machines for need in needs)
        ),
    )


def ordered(stacks: Iterable[StackSummary]) -> list[StackSummary]:
    """Sort newest release first; at one version the plain stack first, then as given.

    Stacks of one leading package stay together, in the order in which the packages first appear.
    """
    given = list(stacks)
    packages = list(dict.fromkeys(stack.package for stack in given))
    given.sort(key=lambda stack: not _plain(stack))
    given.sort(key=lambda stack: _version(stack.version), reverse=True)
    given.sort(key=lambda stack: packages.index(stack.package))
    return given


def _not_asked(cell: Cell | None) -> bool:
    """Say whether a cell's choice could have been asked for and was not; what ran needs no asking."""
    return (
        cell is not None
        and cell.capability in ASKED
        and cell.verdict == "likely"
        and cell.selected == "not_asked"
    )


def _oldest(newest: StackSummary, good: Sequence[StackSummary]) -> StackSummary:
    same = [stack for stack in good if stack.package == newest.package]
    least = _version(same[-1].version)
    return next(stack for stack in same if _version(stack.version) == least)


def _plain(stack: StackSummary) -> bool:
    return stack.name == f"{stack.package}=={stack.version}"


def _version(text: str) -> Version:
    try:
        return Version(text)
    except InvalidVersion:
        return Version("0")


Cells = dict[tuple[str, str, str], Cell]
"""(stack, machine, capability) → its cell, of one target and environment."""


def _cells(cells: Iterable[Cell], target: str, environment: str) -> Cells:
    return {
        (cell.stack, cell.machine, cell.capability): cell
        for cell in cells
        if cell.target == target and cell.environment == environment
    }


def _reasons(
    stack: StackSummary,
    cells: Cells,
    needs: Sequence[str],
    machines: Sequence[str],
    accept: Sequence[Verdict],
) -> Iterator[str]:
    """Yield what the matrix holds against a stack: no wheel first, then the worst verdict."""
    here = []
    for machine in machines:
        told = [cells.get((stack.name, machine, need)) for need in needs]
        if not all(cell is not None and cell.reason == "no_wheel" for cell in told):
            here.append(machine)
            continue
        elsewhere = f", only for {' and '.join(stack.machines)}" if stack.machines else ""
        yield f"{stack.package} {stack.version} has no wheel for {machine}{elsewhere}"
    yield from _verdicts(stack, cells, needs, here, accept)


def _verdicts(
    stack: StackSummary,
    cells: Cells,
    needs: Sequence[str],
    machines: Sequence[str],
    accept: Sequence[Verdict],
) -> Iterator[str]:
    """Yield what is wrong, the worst first; needs, and machines, with the same trouble together."""
    bad: dict[str, dict[str, list[str]]] = {}
    for machine in machines:
        for need in dict.fromkeys(needs):
            cell = cells.get((stack.name, machine, need))
            if cell is not None and cell.verdict in accept:
                continue
            words: str = "nothing is known" if cell is None else cell.verdict
            if cell is not None and cell.reason:
                words += f" ({cell.reason})"
            bad.setdefault(words, {}).setdefault(machine, []).append(need)
    for words, where in sorted(bad.items(), key=lambda found: _severity(found[0])):
        together: dict[str, list[str]] = {}
        for machine, names in where.items():
            together.setdefault(", ".join(names), []).append(machine)
        for names_, on in together.items():
            yield f"{names_} on {' and '.join(on)}: {words}"


_TELLING: Final = ("broken", "unavailable", "fallback", "slow", "unknown")
"""Known trouble before what nobody knows."""


def _severity(words: str) -> int:
    verdict = words.partition(" ")[0]
    return _TELLING.index(verdict) if verdict in _TELLING else len(_TELLING)


def _host(stack: StackSummary, target: str, machines: Sequence[str], host: Host) -> Iterator[str]:
    """Yield what the user's driver and Python hold against a stack."""
    if host.driver and host.drivers:
        yield from _driver(stack, target, machines, host, host.drivers)
    if host.python and not _admits(stack.requires_python, host.python):
        yield f"needs Python {stack.requires_python}, you have {host.python}"


def _driver(
    stack: StackSummary,
    target: str,
    machines: Sequence[str],
    host: Host,
    drivers: DriversFile,
) -> Iterator[str]:
    driver = host.driver
    first = drivers.needed(host.first_cuda) if host.first_cuda else ""
    if first and older(driver, first):
        yield f"driver {driver} is older than {first}, the first that knows {target}"
        return
    told = set()
    for machine in machines:
        cuda = stack.cuda.get(machine)
        if cuda is None and machine in stack.machines:
            words = f"which CUDA it needs on {machine} is not known, so nor is whether driver {driver} is enough"
        elif cuda and (needed := drivers.needed(cuda)) and older(driver, needed):
            words = f"driver {driver} is older than {needed}, which CUDA {cuda} needs"
        else:
            continue
        if words not in told:
            told.add(words)
            yield words


def _admits(requires: str, python: str) -> bool:
    """Say whether any patch release of `python` satisfies a Requires-Python."""
    try:
        wanted = SpecifierSet(requires)
    except InvalidSpecifier:
        return True  # pip passes over a specifier that it cannot read
    return any(wanted.contains(version, prereleases=True) for version in (python, f"{python}.99"))
