"""What earlier runs found that still holds, so that no GPU is asked the same again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

from matrix.model import Model
from matrix.proberun import Identity, ProbeRun, identity
from matrix.result import Result
from matrix.target import RunTarget
from matrix.vocabulary import Environment, Machine, Reason

SECONDS: Final = "probe"
"""The duration that a check took as a whole."""

_SETTLED: Final = frozenset({"pass", "fallback", "slow", "fail", "skip"})
_PASSING: Final[frozenset[Reason]] = frozenset({"throttled"})
"""Reasons that pass by themselves: the same check may find otherwise a minute later."""

_GPU: Final = ("name", "driver_version")
"""What has to be the same of a GPU, by nvidia-smi's own names; another one of the same product will do."""


class Now(NamedTuple):
    """What is about to be run: the place, the image, the question (`ProbeRun.question`), and what nvidia-smi says of the GPU."""

    stack: str
    target: RunTarget
    machine: Machine
    environment: Environment | str
    subject: str
    image: str
    question: str
    gpu: Mapping[str, str]


class Standing(Model, frozen=True, kw_only=True):
    """A capability of which a run's results hold: for each check its probe's hash, and the seconds that it took."""

    capability: str
    run: str
    checks: dict[str, tuple[str, float]]


def standing(now: Now, runs: Iterable[ProbeRun], results: Iterable[Result]) -> tuple[Standing, ...]:
    """Return what still holds, by capability: same image, same question, same GPU and driver.

    Of each capability the newest run that says something decides, as in a verdict: where a check of it was lost, or
    failed by the harness, nothing holds. Whether a probe has changed since is for the suite to say, which knows what
    it plans today. Without an image nothing holds: an interpreter's packages may have changed.
    """
    if not now.image:
        return ()
    by_run: dict[str, list[Result]] = {}
    for result in results:
        by_run.setdefault(result.run, []).append(result)
    here = [run for run in runs if _place(run) == _place(now)]
    found: dict[str, Standing] = {}
    decided: set[str] = set()
    for run in sorted(here, key=lambda run: (run.when, run.run), reverse=True):
        for capability, checks in _settled(run, by_run.get(run.run, ())).items():
            if capability in decided:
                continue
            decided.add(capability)
            if checks is not None and _same(run, now):
                found[capability] = Standing(capability=capability, run=run.run, checks=checks)
    return tuple(found.values())


def usual(results: Iterable[Result]) -> dict[tuple[str, str], float]:
    """Return how many seconds a run takes for a capability on a target, as the middle of the runs that are kept."""
    spent: dict[tuple[str, str], dict[str, float]] = {}
    for result in results:
        if seconds := result.durations.get(SECONDS):
            runs = spent.setdefault((result.target, result.capability), {})
            runs[result.run] = runs.get(result.run, 0.0) + seconds
    return {key: median(runs.values()) for key, runs in spent.items()}


def _place(one: ProbeRun | Now) -> tuple[str, ...]:
    return one.stack, one.target, one.machine, one.environment, one.subject


def _same(run: ProbeRun, now: Now) -> bool:
    """Say whether a run had the image, the question and the kind of GPU that are there now."""
    if (run.image, run.question) != (now.image, now.question):
        return False
    mine = [now.gpu.get(name, "") for name in _GPU]
    if not run.conditions.gpu:
        return not now.gpu
    return all([gpu.get(name, "") for name in _GPU] == mine for gpu in run.conditions.gpu)


def _settled(
    run: ProbeRun, results: Sequence[Result]
) -> dict[str, dict[str, tuple[str, float]] | None]:
    """Tell by capability what a run found, None where some of it did not come to an end; nothing where all of it did not."""
    back: dict[Identity, Result] = {identity(result): result for result in results}
    found: dict[str, dict[str, tuple[str, float]] | None] = {}
    for planned in run.planned:
        result = back.get(identity(planned))
        if result is not None and result.status in _SETTLED and result.status != "skip":
            found.setdefault(planned.capability, {})
    for planned in run.planned:
        checks = found.get(planned.capability)
        if checks is None:
            continue
        result = back.get(identity(planned))
        if result is None or result.status not in _SETTLED or result.reason in _PASSING:
            found[planned.capability] = None
        else:
            told = (planned.probe.sha256, result.durations.get(SECONDS, 0.0))
            checks[identity(planned).name] = told
    return found
