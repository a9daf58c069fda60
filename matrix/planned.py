"""A plan as it is handed on: what `plan --json` prints, a workflow runs, and what comes back is held against. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256

from matrix.chunk import minutes, word
from matrix.model import Model
from matrix.plan import Job, Plan, Pruned, labels
from matrix.vocabulary import Environment, Machine

Spot = tuple[str, str, str, str, str]
"""Stack, target, machine, environment, capability."""


class PlannedJob(Model, frozen=True, kw_only=True):
    """One job of a GitHub matrix: `cells` are the capabilities to probe, by environment.

    `id`: one word for it. `runs_on`: the labels of the runner that it needs. `seconds`: what it usually takes on a GPU, 0.0 where no earlier
    run tells. `minutes`: its time limit.
    """

    id: str
    stack: str
    target: str
    machine: Machine
    environments: tuple[Environment, ...]
    capabilities: tuple[str, ...]
    cells: dict[Environment, tuple[str, ...]]
    runs_on: tuple[str, ...]
    seconds: float
    minutes: int


class Absent(Model, frozen=True, kw_only=True):
    """One job that nobody is there to take: its cells are missing. `why` in words, `since` when, UTC."""

    stack: str
    target: str
    machine: Machine
    cells: dict[Environment, tuple[str, ...]]
    runs_on: tuple[str, ...]
    why: str
    since: str


class PlanOutput(Model, frozen=True, kw_only=True):
    """What `plan --json` prints: `include` is GitHub's, `missing` has no runner, `pruned` is not worth one, and why.

    `run`: one word for the plan; `when` it was made, UTC.
    """

    run: str
    when: str
    include: tuple[PlannedJob, ...]
    missing: tuple[Absent, ...]
    pruned: tuple[Pruned, ...]


def handed_on(
    made: Plan,
    *,
    when: str,
    away: Iterable[Job] = (),
    why: Mapping[tuple[str, str], tuple[str, str]] | None = None,
) -> PlanOutput:
    """Return a plan as it is handed on; `why`: words and date for those `away`, by target and machine."""
    told = why or {}
    jobs = tuple(_planned(job) for job in made.jobs)
    missing = tuple(_absent(job, *told[job.target, job.machine]) for job in away)
    made_of = "\n".join(
        [when, *(job.id for job in jobs), *(f"{job.stack} {job.target}" for job in missing)]
    )
    stamp = when.replace("-", "").replace(":", "").removesuffix("Z")
    return PlanOutput(
        run=f"plan-{stamp}-{sha256(made_of.encode()).hexdigest()[:12]}",
        when=when,
        include=jobs,
        missing=missing,
        pruned=made.pruned,
    )


def spots(jobs: Iterable[PlannedJob | Absent]) -> Iterator[Spot]:
    """Yield every cell of jobs."""
    for job in jobs:
        for environment, names in job.cells.items():
            for name in names:
                yield job.stack, job.target, job.machine, environment, name


def _planned(job: Job) -> PlannedJob:
    return PlannedJob(
        id=word(job),
        stack=job.stack,
        target=job.target,
        machine=job.machine,
        environments=tuple(job.cells),
        capabilities=tuple(dict.fromkeys(n for names in job.cells.values() for n in names)),
        cells=job.cells,
        runs_on=labels(job),
        seconds=job.seconds,
        minutes=minutes(job),
    )


def _absent(job: Job, why: str, since: str) -> Absent:
    return Absent(
        stack=job.stack,
        target=job.target,
        machine=job.machine,
        cells=job.cells,
        runs_on=labels(job),
        why=why,
        since=since,
    )
