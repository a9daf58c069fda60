"""What came back from the runners of a plan: taken in line by line, each held against the plan. Pure.

A runner is not trusted, nor is the name of an artifact, which a runner chooses: a line counts where the plan asked for
it. What is kept already is never changed: a run may go on, at its own place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from matrix.journal import decode
from matrix.planned import PlanOutput, Spot, spots
from matrix.proberun import ProbeRun
from matrix.result import Probe, Result
from matrix.runner import OFFLINE
from matrix.vocabulary import Reason

_AHEAD: Final = timedelta(hours=1)
"""By how much a runner's clock may be ahead; one that lies would be the newest for ever."""

_MOST_REFUSED: Final = 100
"""Lines that are told why they are not taken; the others are counted."""

Line = Result | ProbeRun
Place = tuple[str, str, str, str]
"""Stack, target, machine, environment."""


class Given(NamedTuple):
    """One line that a runner gave back; `run`: the name of its file, without `.jsonl`."""

    run: str
    where: str
    line: bytes


class Kept(NamedTuple):
    """What was there before: every line, and the place of each run. Runners are handed it, and hand it back."""

    lines: Collection[bytes] = ()
    places: Mapping[str, Place] = {}


NOTHING: Final = Kept()


class Taken(NamedTuple):
    """What is taken in, by run; the runs of which some was not there before; and what is refused, a line each."""

    runs: dict[str, tuple[Line, ...]]
    new: frozenset[str]
    refused: tuple[str, ...]


def take(
    given: Iterable[Given],
    outline: PlanOutput,
    *,
    now: str,
    results_only: Collection[str] = (),
    kept: Kept = NOTHING,
) -> Taken:
    """Take in what the plan asked for, and tell why the rest is not; a line that stands twice counts once.

    `results_only`: capabilities that a plan has no cell of, since only results make one. A line that is `kept` and is
    not of this plan is no complaint.
    """
    asked = frozenset(spots(outline.include))
    places = frozenset(spot[:4] for spot in asked)
    latest = _time(now) + _AHEAD
    places_of = dict(kept.places)
    runs: dict[str, dict[bytes, Line]] = {}
    new: set[str] = set()
    refused: list[str] = []
    more = 0
    for one in given:
        try:
            found = decode(one.line)
            _check_run(found, one.run, latest)
            where = _check_place(found, places)
            if isinstance(found, Result):
                _check_cell(found, asked, results_only)
            else:
                found = _narrowed(found, asked, results_only)
            if places_of.setdefault(one.run, where) != where:
                raise ValueError("the run is of another place than this line")
            runs.setdefault(one.run, {})[one.line] = found
            if one.line not in kept.lines:
                new.add(one.run)
        except ValueError as error:
            if one.line in kept.lines:
                continue
            more += len(refused) == _MOST_REFUSED
            refused = [*refused, f"{one.where}: {error}"][:_MOST_REFUSED]
    if more:
        refused.append(f"{more} more lines")
    taken = {run: tuple(lines.values()) for run, lines in runs.items()}
    return Taken(taken, frozenset(new), tuple(refused))


def missing(outline: PlanOutput, taken: Taken) -> tuple[Result, ...]:
    """Return a result of status `missing` for each cell of which nothing came back, and for each that had no runner.

    Where a run was opened, what it lost of its own plan is told by `matrix.proberun.missing`.
    """
    back = {
        place(line)
        for run, lines in taken.runs.items()
        for line in lines
        if run in taken.new or line.when >= outline.when
    }
    lost = [
        _absent(spot, outline, "runner_lost", "planned, and nothing came back from the runner")
        for spot in spots(outline.include)
        if spot[:4] not in back
    ]
    away = [
        _absent(spot, outline, OFFLINE, f"{job.why} since {job.since}")
        for job in outline.missing
        for spot in spots((job,))
    ]
    return (*lost, *away)


def told(taken: Taken, lost: Iterable[Result]) -> Iterator[str]:
    """Tell what was taken in, a line each."""
    for run, lines in taken.runs.items():
        if run not in taken.new:
            continue
        stack, target, machine, environment = place(lines[0])
        count = sum(isinstance(line, Result) for line in lines)
        yield f"{run}: {count} results of {stack}, {target} {machine} {environment}"
    for result in lost:
        yield (
            f"missing ({result.reason}): {result.stack}, {result.target} {result.machine} "
            f"{result.environment} {result.capability}: {result.text}"
        )


def place(line: Line) -> Place:
    """Tell where a line is of."""
    return line.stack, line.target, line.machine, line.environment


@cache
def digest() -> str:
    """Hash the rule by which a cell is missing, which stands where a probe's own code would."""
    return hashlib.sha256(Path(__file__).read_bytes().replace(b"\r\n", b"\n")).hexdigest()


def _check_run(found: Line, run: str, latest: datetime) -> None:
    """Refuse a line of another run than its file, and one of a time that is not yet."""
    if found.run != run:
        raise ValueError("it is of another run than its file")
    if _time(found.when) > latest:
        raise ValueError(f"it is of {found.when}, which is not yet")


def _check_place(found: Line, places: Collection[Place]) -> Place:
    """Refuse what no job of the plan is of."""
    where = place(found)
    if where not in places:
        raise ValueError("the plan has no such stack, target, machine and environment")
    return where


def _narrowed(found: ProbeRun, asked: Collection[Spot], results_only: Collection[str]) -> ProbeRun:
    """Return the opening of a run without what the plan does not ask for: its results are not taken, and not missed."""
    planned = tuple(
        check
        for check in found.planned
        if (*place(found), check.capability) in asked or check.capability in results_only
    )
    return msgspec.structs.replace(found, planned=planned)


def _check_cell(found: Result, asked: Collection[Spot], results_only: Collection[str]) -> None:
    """Refuse a result of a cell that the plan does not ask for, and one that no probe made."""
    if (*place(found), found.capability) not in asked and found.capability not in results_only:
        raise ValueError(f"the plan does not ask for {found.capability} there")
    if found.source:
        raise ValueError("a probe's result is read from no file")


def _absent(spot: Spot, outline: PlanOutput, reason: Reason, text: str) -> Result:
    stack, target, machine, environment, capability = spot
    return Result(
        stack=stack,
        target=target,
        machine=machine,  # type: ignore[arg-type] # as the plan has it
        environment=environment,  # type: ignore[arg-type]
        capability=capability,
        probe=Probe(name="plan.job", sha256=digest()),
        status="missing",
        reason=reason,
        when=outline.when,
        run=outline.run,
        text=text,
    )


def _time(text: str) -> datetime:
    """Read a UTC time. Raises ValueError for what is none."""
    if not text.endswith("Z"):
        raise ValueError("its time is not in UTC")
    return datetime.fromisoformat(text)
