"""A probe run: what was planned, and the conditions that it ran under. Planned and not come back is `missing`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from matrix.model import Model
from matrix.result import Probe, Result
from matrix.target import RunTarget
from matrix.vocabulary import Environment, Machine, Reason

ATTEMPTS: Final = 2
"""How often a check is run whose container or machine was lost meanwhile: it may be what takes it along."""

_LOST: Final[frozenset[Reason]] = frozenset({"killed", "runner_lost"})


class Planned(Model, frozen=True, kw_only=True):
    """One check that a run set out to make; fields as in `Result`."""

    probe: Probe
    capability: str
    backend: str = ""
    load: tuple[str, ...] = ()


class Conditions(Model, frozen=True, kw_only=True):
    """What a run ran on, as the interpreter under test told it.

    `packages`: versions of what a verdict can hang on. `gpu`: what nvidia-smi said of each GPU, by its own field
    names (driver, clocks, limits). `torch`: the CUDA that it was built for, and its commit. `nvcc`: its last line; ""
    where there is none. `libraries`: NVIDIA's libraries that were loaded with the package, by file name. `variables`: settings of the
    packages in the environment. `device`: torch's word. `seed`: added to every check's own.
    """

    python: str
    platform: str
    machine: str
    packages: dict[str, str]
    device: str
    seed: int = 0
    gpu: tuple[dict[str, str], ...] = ()
    torch: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default
    nvcc: str = ""
    libraries: tuple[str, ...] = ()
    variables: dict[str, str] = {}  # noqa: RUF012 - msgspec copies an empty default


class Skipped(Model, frozen=True, kw_only=True):
    """A capability that a run left out: why it cannot work, or the earlier `run` that holds, and the seconds that its checks took."""

    capability: str
    checks: int
    why: str = ""
    run: str = ""
    seconds: float = 0.0


class ProbeRun(Model, frozen=True, kw_only=True):
    """The line that opens a probe run's file; the results follow it. Place and run as in `Result`.

    `record` tells it from a result. `subject`: the adapter of the suite that was used. `image`: what it ran in, "" for an interpreter of the machine.
    `question`: digits over all that decides what a check asks. `skipped`: what it left out, and is not planned.
    """

    record: Literal["run"]
    stack: str
    target: RunTarget
    machine: Machine
    environment: Environment | Literal[""] = ""
    run: str
    when: str
    subject: str
    planned: tuple[Planned, ...]
    image: str = ""
    question: str = ""
    skipped: tuple[Skipped, ...] = ()
    conditions: Conditions


class Identity(NamedTuple):
    """What makes a check one of a run."""

    probe: str
    backend: str
    load: tuple[str, ...]

    @property
    def name(self) -> str:
        """One word for it, as the suite has it: `correctness.gemm[cutlass-m=128-n=256]`."""
        return f"{self.probe}[{'-'.join((self.backend, *self.load))}]"


def identity(check: Planned | Result) -> Identity:
    """Return what a planned check and its result have in common."""
    return Identity(check.probe.name, check.backend, check.load)


def settled(results: Iterable[Result]) -> frozenset[Identity]:
    """Return the checks of one run that are not run again when it goes on: all that came back, and what was lost too often."""
    lost: dict[Identity, int] = {}
    done: set[Identity] = set()
    for result in results:
        if result.status == "error" and result.reason in _LOST:
            lost[identity(result)] = lost.get(identity(result), 0) + 1
        else:
            done.add(identity(result))
    return frozenset(done | {each for each, count in lost.items() if count >= ATTEMPTS})


def last_words(results: Iterable[Result]) -> tuple[Result, ...]:
    """Leave out an error where the same check of the same run said something else later: it was run once more."""
    every = list(results)
    last = {(result.run, identity(result)): place for place, result in enumerate(every)}
    return tuple(
        result
        for place, result in enumerate(every)
        if result.status != "error" or last[result.run, identity(result)] == place
    )


def missing(run: ProbeRun, results: Iterable[Result]) -> Iterator[Result]:
    """Yield a result of status `missing` for every check of `run` that none of its `results` is of."""
    back = {identity(result) for result in results if result.run == run.run}
    for planned in run.planned:
        if identity(planned) not in back:
            yield Result(
                stack=run.stack,
                target=run.target,
                machine=run.machine,
                environment=run.environment,
                capability=planned.capability,
                probe=planned.probe,
                backend=planned.backend,
                load=planned.load,
                status="missing",
                reason="runner_lost",
                when=run.when,
                run=run.run,
                text="planned, and did not come back",
            )
