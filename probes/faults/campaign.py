"""Run faults through the suite, each as a run of its own, and judge what the suite says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

from probes.faults import clean
from probes.faults.fault import Fault
from probes.request import Request
from probes.subjects.planted import VARIABLE

CONTROLS: Final = ("correctness.silu_quantize", "correctness.mxfp4_gemm")
"""Probes that every fault is shown to beside those that it concerns, so that they can be seen to stay green."""

_LONGEST: Final = 300.0
"""Seconds for the run of one fault; one that takes longer was not kept from hanging."""

_QUIET: Final = ("pass", "skip")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a fault: `found`: the probes that named it, `complaints`: why that is not good enough, `seconds` it took.

    `others`: results that had to stay green, and did.
    """

    fault: Fault
    found: tuple[str, ...]
    complaints: tuple[str, ...]
    seconds: float
    others: int = 0

    @property
    def caught(self) -> bool:
        """Whether it was named, and nothing else was blamed."""
        return not self.complaints


def run(faults: Sequence[Fault], *, jobs: int, seed: int = 0) -> Iterator[Outcome]:
    """Run each fault, `jobs` side by side, and yield outcomes as they come."""
    with ThreadPoolExecutor(jobs) as pool:
        for future in as_completed([pool.submit(one, fault, seed) for fault in faults]):
            yield future.result()


def one(fault: Fault, seed: int = 0) -> Outcome:
    """Run one fault through the suite, by `python -m probes`, as a package is."""
    started = time.monotonic()
    content, trouble = suite_run(request(fault, seed), {VARIABLE: fault.name})
    seconds = time.monotonic() - started
    if trouble:
        return Outcome(fault=fault, found=(), complaints=(trouble,), seconds=seconds)
    return judged(fault, content, seconds)


def isolated() -> tuple[int, list[str]]:
    """Run the whole suite on the clean reference: how many results, and what is neither a pass nor a skip."""
    content, trouble = suite_run(clean.REQUEST, {})
    if trouble:
        return 0, [trouble]
    results = [json.loads(line) for line in content.splitlines()][1:]
    return len(results), [
        f"{each['probe']['name']} [{', '.join(each['load'])}]: {each['reason']}: {each['text']}"
        for each in results
        if each["status"] not in _QUIET
    ]


def suite_run(asked: Request, variables: Mapping[str, str]) -> tuple[str, str]:
    """Run the suite in a process of its own; return its results file's content, or why there is none."""
    with tempfile.TemporaryDirectory(prefix="nvfp4-fault-") as folder:
        results, file = Path(folder, "results.jsonl"), Path(folder, "request.json")
        replace(asked, results=str(results)).write(file)
        try:
            done = subprocess.run(  # noqa: S603 - this interpreter
                [sys.executable, "-m", "probes", str(file), "-q"],
                env={**os.environ, **variables, "OMP_NUM_THREADS": "1", "TMPDIR": folder},
                capture_output=True,
                text=True,
                timeout=_LONGEST,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "", f"the run was not over after {_LONGEST:.0f} s"
        if not results.exists():
            return "", f"no results: {done.stdout.strip()[-300:]} {done.stderr.strip()[-300:]}"
        return results.read_text(encoding="utf-8"), ""


def request(fault: Fault, seed: int) -> Request:
    """Return what the run of a fault is asked to do."""
    only = [name for name in probes() if concerns(fault, name) or name in CONTROLS]
    told = replace(
        clean.REQUEST,
        run=fault.name,
        stack="planted",
        subject="planted",
        only=only,
        seed=seed,
        limit=60.0,
    )
    return replace(told, **fault.asks)


@cache
def probes() -> tuple[str, ...]:
    """Return the names of all probes that the suite has for the reference."""
    return tuple(dict.fromkeys(case.probe for _, case in clean.plan(("",))))


def concerns(fault: Fault, probe: str) -> bool:
    """Say whether a probe is one of those that have to find a fault."""
    return any(fnmatchcase(probe, pattern) for pattern in fault.probes)


def judged(fault: Fault, content: str, seconds: float) -> Outcome:
    """Judge the lines of a fault's run.

    At least one result of the fault's probes (and load) has its reason; these may say what `also` lists, or pass, and
    nothing else. Every other result passes or does not apply. Every planned case came back.
    """
    opening, *results = [json.loads(line) for line in content.splitlines()]
    complaints = []
    if len(results) != len(opening["planned"]):
        complaints.append(
            f"{len(opening['planned']) - len(results)} planned cases did not come back"
        )
    found, others = [], 0
    for each in results:
        status, reason, name = each["status"], each["reason"], each["probe"]["name"]
        hit = concerns(fault, name) and (not fault.where or fault.where in each["load"])
        if hit and reason == fault.reason:
            found.append(name)
        elif status not in _QUIET and not (hit and reason in fault.also):
            blamed = "was blamed for" if not hit else "gave another reason:"
            complaints.append(
                f"{name} [{', '.join(each['load'])}] {blamed} {reason}: {each['text']}"
            )
        elif not hit:
            others += status == "pass"
    if not found:
        complaints.insert(0, f"nothing said {fault.reason}")
    if not others and fault.operation != "every":
        complaints.append("no other result shows that neighbours are unharmed")
    return Outcome(
        fault=fault,
        found=tuple(dict.fromkeys(found)),
        complaints=tuple(complaints),
        seconds=seconds,
        others=others,
    )
