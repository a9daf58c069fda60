"""Watching: each watched change beside the history of its repository, our stacks and our evidence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
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
from matrix.tracking import NONE, State, Tracked, events_of, has, tracked, untold
from matrix.upstream import Watched
from matrix.vocabulary import MACHINES

ANSWERS: Final[tuple[Literal["yes", "no", "unknown"], ...]] = ("yes", "no", "unknown")


class Source(Model, frozen=True, kw_only=True):
    """What was read of a repository: up to when, and its newest release; "" for what it has none of."""

    repository: str
    day: str
    newest_release: str
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
    return WatchReport(sources=tuple(_sources(histories)), watched=tuple(told))


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
    found = tracked(watched, history, events, builds=upstream.builds, said=said)
    releases = entered(history, events) if events else {}
    package = knowledge.configuration.package_of(watched.repository)
    stacks = _stacks(knowledge, package, releases, watched)
    evidence = _evidence(knowledge, watched, package, releases, stacks, executed)
    return msgspec.structs.replace(
        found,
        stacks={
            answer: tuple(name.name for name, is_in in stacks if is_in == answer)
            for answer in ANSWERS
        }
        if events
        else {},
        notes=(*found.notes, *notes),
        **(evidence if found.first_release != NONE else {"evidence": "not_released"}),
    )


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


def _evidence(
    knowledge: Knowledge,
    watched: Watched,
    package: str,
    releases: Mapping[str, bool],
    stacks: Sequence[tuple[NamedStack, str]],
    executed: Executed | None,
) -> dict[str, object]:
    """Compare the wheels, and the stacks, just before the change with the first that have it."""
    wheels = _turn(
        [v for v in releases if knowledge.published.records(package).get(v)], releases
    )
    changes: list[Change] = []
    before, after = [], []
    measured = False
    if wheels:
        old, new = (_lamps(knowledge, watched, package, version) for version in wheels)
        changes += of_wheels(old, new)
        measured = bool(old) and bool(new)
        before.append(f"{package} {wheels[0]}")
        after.append(f"{package} {wheels[1]}")
    plain = [(named, is_in) for named, is_in in reversed(stacks) if named.name.startswith(f"{named.lead[0]}==")]
    pair = _turn([named.name for named, _ in plain], {named.name: is_in == "yes" for named, is_in in plain})
    if pair:
        old_cells, new_cells = (_cells(knowledge, watched, name, executed) for name in pair)
        changes += of_stacks(old_cells, new_cells)
        measured = measured or any(cell.reason != "not_measured" for cell in (*old_cells, *new_cells))
        before.append(pair[0])
        after.append(pair[1])
    state = "changed" if changes else "unchanged" if measured else "not_measured"
    if not any(releases.values()):
        state = "unknown" if not releases else "not_released"
    return {
        "evidence": state,
        "before": tuple(before),
        "after": tuple(after),
        "changes": tuple(changes),
    }


def _turn(names: Sequence[str], there: Mapping[str, bool]) -> tuple[str, str] | None:
    """Return the first of `names` that has the change, behind the one before it; None where it came with none."""
    for before, after in zip(names, names[1:], strict=False):
        if there[after] and not there[before]:
            return before, after
    return None


def _lamps(knowledge: Knowledge, watched: Watched, package: str, version: str) -> list[Lamps]:
    """Return what a release's wheels hold and say, where they were read."""
    found = []
    pieces = knowledge.configuration.capabilities.pieces
    for name in watched.targets:
        target = knowledge.configuration.target(name)
        for machine in target.machines:
            record = knowledge.published.record(package, version, machine)
            for capability in watched.capabilities if record else ():
                found.append(
                    Lamps(
                        name,
                        machine,
                        capability,
                        declared(record.gates, capability, target.capability),
                        compiled(record, capability, target.capability, pieces).compiled,
                    )
                )
    return found


def _cells(
    knowledge: Knowledge, watched: Watched, stack: str, executed: Executed | None
) -> tuple[Cell, ...]:
    return knowledge.report(
        generated="",
        stacks=[stack],
        targets=watched.targets,
        capabilities=watched.capabilities,
        executed=executed,
    ).cells


def _sources(histories: Mapping[str, Upstream]) -> Iterator[Source]:
    for repository, upstream in histories.items():
        history = upstream.history
        newest = max(history.releases, default=Version("0"))
        at = history.commits.get(history.main)
        yield Source(
            repository=repository,
            day=f"{datetime.fromtimestamp(at.time, UTC):%Y-%m-%d}" if at else "",
            newest_release=str(newest) if history.releases else "",
            commits=len(history.commits),
            shallow=history.shallow,
        )
