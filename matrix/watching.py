"""Watching: each watched change beside the history of its repository, our stacks and our evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal, NamedTuple, Protocol

import msgspec
from packaging.version import Version

from matrix.build import Build
from matrix.cell import Cell
from matrix.compiled import compiled
from matrix.declared import declared
from matrix.effect import Change, Lamps, of_stacks, of_wheels
from matrix.evidence.git import RefusedError
from matrix.executed import Executed
from matrix.history import History
from matrix.knowledge import Knowledge
from matrix.landing import Alike, entered
from matrix.model import Model
from matrix.namedstack import NamedStack
from matrix.tracking import (
    NONE,
    Evidence,
    State,
    Tracked,
    events_of,
    has,
    tracked,
    untagged,
    untold,
)
from matrix.upstream import Watched
from matrix.vocabulary import MACHINES

ANSWERS: Final[tuple[Literal["yes", "no", "unknown"], ...]] = ("yes", "no", "unknown")


class Source(Model, frozen=True, kw_only=True):
    """What was read of a repository: up to when, and its newest release; "" for what it has none of.

    `untagged`: how many published releases are newer than that, of which it tells nothing.
    """

    repository: str
    day: str
    newest_release: str
    untagged: int
    commits: int
    shallow: bool


class WatchReport(Model, frozen=True, kw_only=True):
    """What `watch` tells, and which histories that rests on."""

    sources: tuple[Source, ...]
    watched: tuple[Tracked, ...]


class States(Protocol):
    """Somebody who knows what no clone tells: whether a pull request or issue is open."""

    def state(self, repository: str, number: int) -> State | None:
        """Return the state of a pull request or issue; None where it is not known."""


class Upstream(NamedTuple):
    """One repository's history, how its commits are compared, and what was built of it."""

    history: History
    alike: Alike
    builds: tuple[Build, ...] = ()


def watch(
    knowledge: Knowledge,
    asked: Sequence[Watched],
    histories: Mapping[str, Upstream],
    *,
    executed: Executed | None = None,
    states: States | None = None,
) -> WatchReport:
    """Tell of every watched change what its repository's history says; "unknown" where none was read."""
    told = [
        _one(knowledge, watched, histories.get(watched.repository), executed, states)
        for watched in asked
    ]
    return WatchReport(sources=tuple(_sources(knowledge, histories)), watched=tuple(told))


def _one(
    knowledge: Knowledge,
    watched: Watched,
    upstream: Upstream | None,
    executed: Executed | None,
    states: States | None,
) -> Tracked:
    said = states.state(watched.repository, watched.number) if states and watched.number else None
    if upstream is None:
        return untold(watched, "its history was not read", said or "unknown")
    history, notes = upstream.history, []
    try:
        events = events_of(watched, history, upstream.alike)
    except RefusedError:
        events = events_of(watched, history, None)
        notes.append("picks under another subject are not counted: the clone lacks file contents")
    package = knowledge.configuration.watched.package_of(watched.repository)
    found = tracked(
        watched,
        history,
        events,
        builds=upstream.builds,
        published=_published(knowledge, watched.repository),
        said=said,
    )
    found = msgspec.structs.replace(found, notes=(*found.notes, *notes))
    if not events:
        return found
    releases = entered(history, events)
    stacks = _stacks(knowledge, package, releases, watched)
    by_answer = {
        answer: tuple(named.name for named, is_in in stacks if is_in == answer)
        for answer in ANSWERS
    }
    found = msgspec.structs.replace(found, stacks=by_answer)
    if not found.releases:
        return msgspec.structs.replace(found, evidence=_unreleased(found))
    as_released = {
        named.name: is_in == "yes"
        for named, is_in in reversed(stacks)
        if named.name == f"{named.lead[0]}=={named.lead[1]}" and is_in != "unknown"
    }
    return _compared(knowledge, found, releases, as_released, executed)


def _unreleased(found: Tracked) -> Evidence:
    return "not_released" if found.first_release == NONE else "unknown"


def _stacks(
    knowledge: Knowledge, package: str, releases: Mapping[str, bool], watched: Watched
) -> list[tuple[NamedStack, Literal["yes", "no", "unknown"]]]:
    """Say of each stack that has the package whether it has the change, on any machine."""
    found = []
    for named in knowledge.stacks:
        versions = {knowledge.resolve(named, machine).version(package) for machine in MACHINES}
        answers = {has(version, releases, watched.number) for version in versions if version}
        if answers:
            found.append((named, answers.pop() if len(answers) == 1 else "unknown"))
    return found


def _compared(
    knowledge: Knowledge,
    found: Tracked,
    releases: Mapping[str, bool],
    stacks: Mapping[str, bool],
    executed: Executed | None,
) -> Tracked:
    """Compare the wheels, and the stacks as released, just before the change with the first that have it."""
    package = knowledge.configuration.watched.package_of(found.repository)
    read = knowledge.published.records(package)
    changes: list[Change] = []
    pairs: list[tuple[str, str]] = []
    measured = False
    if wheels := _turn([version for version in releases if version in read], releases):
        old, new = (list(_lamps(knowledge, found, package, version)) for version in wheels)
        changes += of_wheels(old, new)
        measured = bool(old) and bool(new)
        pairs.append((f"{package} {wheels[0]}", f"{package} {wheels[1]}"))
    if pair := _turn(list(stacks), stacks):
        before, after = (_cells(knowledge, found, name, executed) for name in pair)
        changes += of_stacks(before, after)
        judged = [any(cell.verdict != "unknown" for cell in cells) for cells in (before, after)]
        measured = measured or all(judged)
        pairs.append(pair)
    return msgspec.structs.replace(
        found,
        evidence="changed" if changes else "unchanged" if measured else "not_measured",
        before=tuple(before for before, _ in pairs),
        after=tuple(after for _, after in pairs),
        changes=tuple(changes),
    )


def _turn(names: Sequence[str], there: Mapping[str, bool]) -> tuple[str, str] | None:
    """Return the first of `names` that has the change, behind the one before it; None where it came with none."""
    for before, after in pairwise(names):
        if there[after] and not there[before]:
            return before, after
    return None


def _lamps(knowledge: Knowledge, found: Tracked, package: str, version: str) -> Iterator[Lamps]:
    """Yield what a release's wheels hold and say, where they were read."""
    pieces = knowledge.configuration.capabilities.pieces
    for name in found.targets:
        target = knowledge.configuration.target(name)
        for machine in target.machines:
            record = knowledge.published.record(package, version, machine)
            for capability in found.capabilities:
                if record is not None:
                    says = declared(record.gates, capability, target.capability)
                    holds = compiled(record, capability, target.capability, pieces).compiled
                    yield Lamps(name, machine, capability, says, holds)


def _cells(
    knowledge: Knowledge, found: Tracked, stack: str, executed: Executed | None
) -> tuple[Cell, ...]:
    return knowledge.report(
        generated="",
        stacks=[stack],
        targets=found.targets,
        capabilities=found.capabilities,
        executed=executed,
    ).cells


def _published(knowledge: Knowledge, repository: str) -> set[str]:
    package = knowledge.configuration.watched.package_of(repository)
    return {v for machine in MACHINES for v in knowledge.published.versions(package, machine)}


def _sources(knowledge: Knowledge, histories: Mapping[str, Upstream]) -> Iterator[Source]:
    for repository, upstream in histories.items():
        history = upstream.history
        newest = max(history.releases, default=Version("0"))
        at = history.commits.get(history.main)
        yield Source(
            repository=repository,
            day=f"{datetime.fromtimestamp(at.time, UTC):%Y-%m-%d}" if at else "",
            newest_release=str(newest) if history.releases else "",
            untagged=untagged(history, _published(knowledge, repository)),
            commits=len(history.commits),
            shallow=history.shallow,
        )
