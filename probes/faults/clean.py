"""The other half of the campaign: on the clean reference nothing may be found, whatever the seed."""

from __future__ import annotations

import importlib
import multiprocessing
import pkgutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch

from probes import suite, watch
from probes.apart import apart
from probes.case import Case
from probes.check import cases, checked
from probes.request import Request
from probes.subject import Charged
from probes.subjects import reference

SUITES: Final = ("correctness", "availability")
"""What is run for each seed: those that are about numbers, which the seed is of."""

REQUEST: Final = Request(
    run="clean",
    stack="reference",
    target="cpu",
    machine="x86_64",
    subject="reference",
    device="cpu",
    results="",
    scale="small",
)
_LIMIT: Final = 300.0


def alarms(seeds: Sequence[int], jobs: int) -> Iterator[tuple[int, int, list[str]]]:
    """Yield for each seed how many results there were, and what was said that is neither a pass nor a skip.

    The probes are called without pytest, all cases of a seed in one process, for speed: a run of the whole suite
    (`campaign.isolated`) shows that the way through pytest says the same. `jobs` seeds are run side by side.
    """
    start = multiprocessing.get_context("spawn")  # this process has threads
    with ProcessPoolExecutor(jobs, mp_context=start, initializer=_warm) as pool:
        yield from pool.map(_seed, seeds)


def _warm() -> None:
    """Pay for what every seed would pay for in its own process."""
    importlib.import_module("torch._dynamo")
    watch.warm(torch.device(REQUEST.device))


def _seed(seed: int) -> tuple[int, int, list[str]]:
    asked = replace(REQUEST, seed=seed)
    with tempfile.TemporaryDirectory(prefix="nvfp4-clean-") as folder:
        ending = apart(lambda: _all(list(plan()), asked), Path(folder), limit=_LIMIT)
    if ending.answer is None:
        return seed, 0, [f"the process ended: {ending.printed[-300:]}"]
    count, told = ending.answer
    return seed, count, told


def plan(only: Sequence[str] = SUITES) -> Iterator[tuple[Any, Case]]:
    """Yield the probes whose names begin so, with each of their cases."""
    asked = replace(REQUEST, only=only)
    for module in pkgutil.iter_modules(suite.__path__):
        if not module.name.startswith("test_"):
            continue
        loaded = importlib.import_module(f"{suite.__name__}.{module.name}")
        for name, function in vars(loaded).items():
            if name.startswith("test_") and (found := checked(function)):
                probe = f"{module.name}.{name}".replace("test_", "")
                for case in cases(probe, found, reference.OFFERS, asked):
                    yield function, case


def _all(planned: Sequence[tuple[Any, Case]], asked: Request) -> tuple[int, list[str]]:
    torch.set_num_threads(1)
    told = []
    for function, case in planned:
        subject = Charged(reference.make(torch.device(asked.device)))
        found = function(subject=subject, case=case, run=asked)
        if found.status not in ("pass", "skip"):
            told.append(f"{case.probe}[{case.name}]: {found.status} ({found.reason}): {found.text}")
    return len(planned), told
