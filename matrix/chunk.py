"""Chunks: the jobs of a plan as GitHub Actions takes them, which makes no more than 256 jobs of one matrix. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

from matrix.model import Model
from matrix.plan import Job, labels
from matrix.vocabulary import Environment, Machine

MOST: Final = 256
"""Jobs that GitHub Actions makes of one matrix at most (GitHub's documentation, "Actions limits")."""

_LEAST_MINUTES: Final = 120
_MOST_MINUTES: Final = 1_200
_BESIDE_MINUTES: Final = 60
"""For what is no probe: the image, which takes minutes where it has to be built, and its download."""


class Entry(Model, frozen=True, kw_only=True):
    """One job of a GitHub matrix: what a runner has to be, and which job of the plan it is given.

    `id` names the job in file names and artifacts. `minutes` is the time limit from the moment that a runner takes it.
    """

    id: str
    stack: str
    target: str
    machine: Machine
    environments: tuple[Environment, ...]
    runs_on: tuple[str, ...]
    minutes: int


class Chunk(Model, frozen=True, kw_only=True):
    """Jobs for the runners of one target and machine. `at_once`: how many of them run at the same time at most."""

    name: str
    target: str
    machine: Machine
    at_once: int
    include: tuple[Entry, ...]


def chunks(
    jobs: Iterable[Job], *, runners: Mapping[tuple[str, str], int], most: int = MOST
) -> tuple[Chunk, ...]:
    """Put each job in one chunk; jobs for the same runners stay together and in their order.

    `runners`: how many there are by target and machine; where that is not known, one job runs at a time. One that
    has more jobs than `most` has several chunks.
    """
    kinds: dict[tuple[str, Machine], list[Entry]] = {}
    for job in jobs:
        kinds.setdefault((job.target, job.machine), []).append(_entry(job))
    found = []
    for (target, machine), entries in kinds.items():
        parts = [entries[start : start + most] for start in range(0, len(entries), most)]
        for number, part in enumerate(parts, 1):
            name = f"{target} {machine}"
            found.append(
                Chunk(
                    name=name if len(parts) == 1 else f"{name}, {number} of {len(parts)}",
                    target=target,
                    machine=machine,
                    at_once=max(runners.get((target, machine), 1), 1),
                    include=tuple(part),
                )
            )
    return tuple(found)


def word(job: Job) -> str:
    """Return one word for a job, fit for a file's name; a stack may be called anything."""
    return f"{job.target}-{job.machine}-{sha256(job.stack.encode()).hexdigest()[:12]}"


def minutes(job: Job) -> int:
    """Return the time limit of a job: three times what it usually takes, and an hour for the image."""
    asked = _BESIDE_MINUTES + round(3 * job.seconds / 60)
    return min(max(asked, _LEAST_MINUTES), _MOST_MINUTES)


def _entry(job: Job) -> Entry:
    return Entry(
        id=word(job),
        stack=job.stack,
        target=job.target,
        machine=job.machine,
        environments=tuple(job.cells),
        runs_on=labels(job),
        minutes=minutes(job),
    )
