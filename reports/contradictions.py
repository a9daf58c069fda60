"""Contradictions, folded: one that stands in many releases and on many targets is told once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from matrix.cell import Contradiction, Report, StackSummary
from reports.fold import WRITTEN, Place, series, span

SEVERITY: Final = (
    "selected-incomplete",
    "declared-not-compiled",
    "trap",
    "unreachable",
    "silent-fallback",
    "packages-disagree",
    "compiled-not-declared",
)
"""The worst first: what crashes every user, one who believed the claim, then what only keeps a kernel from use."""


class Folded(NamedTuple):
    """One disagreement in every release and on every place where it is the same.

    `label`: its releases, newest first, runs of them as ranges. `where`: its targets, with the machine
    where it is one of two. `newest` tells it in full; `times` is how many of the report it stands for.
    """

    kind: str
    capability: str
    label: str
    stacks: tuple[str, ...]
    places: tuple[Place, ...]
    where: str
    newest: Contradiction
    times: int


def fold(report: Report, found: Sequence[Contradiction] | None = None) -> tuple[Folded, ...]:
    """Fold contradictions (all of the report's where none are given), the worst and newest first.

    Two are the same where kind, capability, path and missing pieces are; a target joins another where
    it holds in the same releases.
    """
    order = {stack.name: at for at, stack in enumerate(report.stacks)}
    places = {
        Place(target.name, machine): at
        for at, (target, machine) in enumerate(
            (target, machine) for target in report.targets for machine in target.machines
        )
    }
    same: dict[tuple[str, ...], dict[Place, list[Contradiction]]] = {}
    for one in report.contradictions if found is None else found:
        lead = series(report.stacks[order[one.stack]])
        key = (one.kind, one.capability, one.path or one.text, lead, *one.pieces)
        at_place = same.setdefault(key, {})
        at_place.setdefault(Place(one.target, one.machine), []).append(one)
    folded = [
        _folded(report, order, members, where)
        for by_place in same.values()
        for where, members in _alike(by_place, places)
    ]
    folded.sort(key=lambda one: (_severity(one.kind), order[one.stacks[0]], -one.times))
    return tuple(folded)


def _severity(kind: str) -> int:
    return SEVERITY.index(kind) if kind in SEVERITY else len(SEVERITY)


def _alike(
    by_place: dict[Place, list[Contradiction]], order: dict[Place, int]
) -> Iterator[tuple[tuple[Place, ...], list[Contradiction]]]:
    """Join the places where the same releases contradict themselves."""
    joined: dict[frozenset[str], list[Place]] = {}
    for place, members in by_place.items():
        joined.setdefault(frozenset(one.stack for one in members), []).append(place)
    for where in joined.values():
        where.sort(key=lambda place: order.get(place, len(order)))
        yield tuple(where), [one for place in where for one in by_place[place]]


def _folded(
    report: Report,
    order: dict[str, int],
    members: Sequence[Contradiction],
    where: tuple[Place, ...],
) -> Folded:
    newest = min(members, key=lambda one: order[one.stack])
    named = sorted({one.stack for one in members}, key=lambda name: order[name])
    return Folded(
        kind=newest.kind,
        capability=newest.capability,
        label=_label(report.stacks, [order[name] for name in named]),
        stacks=tuple(named),
        places=where,
        where=_where(report, where),
        newest=newest,
        times=len(members),
    )


def _where(report: Report, places: Sequence[Place]) -> str:
    named: list[str] = []
    for target in report.targets:
        machines = [place.machine for place in places if place.target == target.name]
        if len(machines) == len(target.machines):
            named.append(target.name)
        elif machines:
            named.append(f"{target.name} ({', '.join(machines)})")
    return ", ".join(named)


def _label(stacks: Sequence[StackSummary], at: Sequence[int]) -> str:
    """Name stacks of one series, each run of consecutive releases as a range."""
    lead = series(stacks[at[0]])
    if lead == WRITTEN:
        return ", ".join(stacks[one].name for one in at)
    rank = {place: n for n, place in enumerate(_members(stacks, lead))}
    runs = groupby(enumerate(at), key=lambda pair: rank[pair[1]] - pair[0])
    named = (span([stacks[one] for _, one in run]) for _, run in runs)
    return f"{lead} {', '.join(named)}"


def _members(stacks: Sequence[StackSummary], lead: str) -> Iterator[int]:
    return (at for at, stack in enumerate(stacks) if series(stack) == lead)
