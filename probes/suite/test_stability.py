"""Does it run for long? Tuning under a watchdog, every tactic by itself, graph replays, a soak with Xid errors watched."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from probes import watch
from probes.apart import apart
from probes.case import Case
from probes.check import Load, Loads, each
from probes.correctness.fault import Fault
from probes.correctness.making import make, representative
from probes.correctness.work import Outputs, Work, digests, launch
from probes.correctness.work import concluded as judged_as
from probes.endurance import replay, xid
from probes.endurance.watchdog import Watchdog, compiles_here
from probes.finding import Finding, Metrics, refused
from probes.outcome import answer, beside, concluded, told
from probes.request import Request
from probes.subject import Charged, NotOfferedError

Made = Callable[[], Charged]

TUNED: Final = ("gemm", "grouped_gemm", "moe", "mxfp4_gemm")

_TACTIC_LIMIT: Final = 120.0
_TACTICS_LIMIT: Final = 3000.0
_TUNING_LIMIT: Final = 1800.0
_SILENCE: Final = 120.0


def replay_loads(operation: str) -> Loads:
    """Return the loads of an operation's replays: ten thousand, on a CPU as many as take a second."""

    def loads(run: Request) -> Iterator[Load]:
        count = int(run.options.get("replays", 10_000 if run.scale == "full" else 200))
        yield {**representative(operation, run), "replays": count}

    return loads


@each({operation: replay_loads(operation) for operation in replay.SIZED})
@pytest.mark.limit(1800)
def test_replays(subject: Charged, case: Case, run: Request) -> Finding:
    """Replay CUDA graphs of several batch sizes in random order; each result has to be that of its first time."""
    sizes = replay.sizes(subject, case, run)
    work = sizes[0].works[0]
    _, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    with xid.Watch() as errors:
        fault = replay.learn(subject, sizes)
        rounds = replay.Rounds(subject, sizes, work.seed)
        while fault is None and rounds.done < case["replays"]:
            fault = rounds.go(min(50, case["replays"] - rounds.done))
            if rounds.done % 1000 == 0:
                print(f"replay {rounds.done}", flush=True)  # noqa: T201 - the last words of one that dies
        seen = errors.found()
        marks = errors.marks
    figures: Metrics = {"replays": (float(rounds.done), "1"), "sizes": (float(len(sizes)), "1")}
    if seen:
        fault = Fault("xid", f"{seen[0]}; after {rounds.done} replays")
    first = {size.name: size.first[0] for size in sizes if 0 in size.first}
    sums = {f"{name}_{key}": value for name, outputs in first.items() for key, value in digests(work, outputs).items()}  # fmt: skip
    found = judged_as(subject, case, work, (), kernels, fault, figures)
    return replace(found, digests=sums, marks=(*found.marks, *marks))


def tuned_loads(operation: str) -> Loads:
    """Return one load of an operation."""

    def loads(run: Request) -> Iterator[Load]:
        yield representative(operation, run)

    return loads


@each({operation: tuned_loads(operation) for operation in TUNED})
@pytest.mark.unmade
@pytest.mark.limit(3600)
def test_tactics(subject: Made, case: Case, run: Request) -> Finding:
    """Run every tactic that the package may choose, each in a process of its own; one that fails is named."""
    folder = Path(tempfile.mkdtemp(prefix="nvfp4-tactics-"))
    listed = apart(
        lambda: _tactics(subject, case, run), folder, limit=_TACTIC_LIMIT, excused=compiles_here
    )
    if not isinstance(listed.answer, list):
        return concluded(listed, "listing the tactics")
    found: dict[str, Finding] = {}
    begun = time.monotonic()
    for tactic in listed.answer:
        if time.monotonic() - begun > _TACTICS_LIMIT:
            break
        print(f"tactic {tactic}", flush=True)  # noqa: T201 - the last words of one that hangs
        ending = apart(
            lambda name=tactic: _with_tactic(subject, case, run, name),  # type: ignore[misc]
            folder,
            limit=_TACTIC_LIMIT,
            excused=compiles_here,
        )
        found[tactic] = concluded(ending, f"tactic {tactic}")
    return worst(found, len(listed.answer))


def worst(found: Mapping[str, Finding], listed: int) -> Finding:
    """Make one finding of all tactics': the first that failed says how, and all that failed are named.

    `listed`: how many there are; for some the time may not have sufficed.
    """
    bad = {name: each for name, each in found.items() if each.status != "pass"}
    figures: Metrics = {
        "tactics": (float(listed), "1"),
        "tactics_run": (float(len(found)), "1"),
        "tactics_failed": (float(len(bad)), "1"),
    }
    if not bad:
        one = next(iter(found.values()))
        kernels = dict.fromkeys(name for each in found.values() for name in each.kernels)
        return replace(
            one, metrics=figures, digests={}, kernels=tuple(kernels),
            text=f"{len(found)} of {listed} tactics ran, each by itself",
        )  # fmt: skip
    named = "; ".join(f"{name}: {each.reason}" for name, each in bad.items())
    first = next((each for each in bad.values() if each.status == "fail"), next(iter(bad.values())))
    return replace(
        first, metrics=figures, text=f"{len(bad)} of {len(found)} tactics: {named}; {first.text}"
    )


@each({operation: tuned_loads(operation) for operation in TUNED})
@pytest.mark.unmade
@pytest.mark.limit(2400)
def test_autotune(subject: Made, case: Case, run: Request) -> Finding:
    """Tune in a process of its own: silent for too long is a stalled autotune. What was chosen has to be right."""
    folder = Path(tempfile.mkdtemp(prefix="nvfp4-autotune-"))
    watchdog = Watchdog(folder / "output", float(run.options.get("silence_seconds", _SILENCE)))
    asked = [0.0]

    def hopeless() -> bool:
        now = time.monotonic()
        if now - asked[0] < 1:
            return False
        asked[0] = now
        return bool(watchdog.verdict(tuning=True))

    ending = apart(lambda: _autotuned(subject, case, run), folder, limit=_TUNING_LIMIT, hopeless=hopeless)  # fmt: skip
    found = concluded(ending, "tuning")
    if ending.late and ending.seconds < _TUNING_LIMIT:
        said = ending.printed.strip().splitlines()[-1:] or ["nothing"]
        text = f"tuning was ended after {ending.seconds:.0f} s, {watchdog.quiet():.0f} s of them silent; its last words: {said[0]}"
        return refused("autotune_stall", text)
    return replace(found, durations={**found.durations, "autotune": ending.seconds})


def _tactics(subject: Made, case: Case, run: Request) -> Any:
    """List the tactics of a case, in a process of its own, since it needs the device; a finding where there is no list."""
    listed: list[str] = []

    def ask() -> Finding:
        made, _, call = _work(subject, case, run)
        if not hasattr(made.subject, "tactics"):
            raise NotOfferedError("the package offers no list of tactics")
        listed.extend(str(each) for each in made.tactics(case.operation, case.backend, call))
        if not listed:
            raise NotOfferedError("the package has no choice of tactics for this backend")
        return Finding(status="skip", reason="not_offered")

    found = told(ask)
    return listed or answer(found)


def _with_tactic(subject: Made, case: Case, run: Request, tactic: str) -> Any:
    def one() -> Finding:
        made, work, call = _work(subject, case, run)
        return _judged(made, case, work, lambda: made.with_tactic(tactic, call))

    return answer(told(one))


def _autotuned(subject: Made, case: Case, run: Request) -> Any:
    def tune() -> Finding:
        made, work, call = _work(subject, case, run)
        if not hasattr(made.subject, "autotune"):
            raise NotOfferedError("the package does not tune here")
        made.autotune(call)
        print("tuned", flush=True)  # noqa: T201 - a sign of life
        return _judged(made, case, work, lambda: launch(made, work))

    return answer(told(tune))


def _work(subject: Made, case: Case, run: Request) -> tuple[Charged, Work, Callable[[], Outputs]]:
    """Make the subject, the work of the case, and one call of it that waits for nothing."""
    made = subject()
    work = make(made, case, run)
    return made, work, lambda: work.call(made.subject, *work.inputs)


def _judged(made: Charged, case: Case, work: Work, call: Callable[[], Outputs]) -> Finding:
    outputs, kernels = watch.kernels(call, made.device)
    fault, figures = work.judge(outputs)
    return beside(judged_as(made, case, work, outputs, kernels, fault, figures), made, case)
