"""Begin a probe run, or go on with one: what is asked of the suite, and where its lines go."""

from __future__ import annotations

import importlib.resources
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from images.following import finished
from images.place import Place
from matrix.errors import ConfigurationError, OutsideError
from matrix.proberun import identity, settled
from probes.check import digest
from probes.request import Request

CPU: Final = "cpu"
_SUITE: Final = Path(str(importlib.resources.files("probes"))) / "suite"
_RUN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
_MEMORY: Final = 24 << 30
"""Bytes of address space for one probe on a CPU: a runaway is ended before the machine suffers."""


def begin(
    place: Place,
    subject: str,
    folder: Path,
    *,
    when: str,
    only: Sequence[str] = (),
    seed: int = 0,
    limit: float = 300.0,
    soak: float = 60.0,
) -> Request:
    """Return a new run's request; `when` is now, UTC, as results have it. Raises OutsideError where the disk refuses."""
    run = f"probe-{re.sub('[^0-9]', '', when)}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{folder}: {error.strerror}") from error
    on_cpu = not place.gpu
    return Request(
        run=run,
        stack=place.stack,
        target=place.target,
        machine=place.machine,
        environment=place.environment,
        subject=subject,
        device=CPU if on_cpu else "cuda",
        results=str((folder / f"{run}.jsonl").absolute()),
        only=tuple(only),
        seed=seed,
        limit=limit,
        memory=_MEMORY if on_cpu else None,
        scale="small" if on_cpu else "full",
        options={"soak_seconds": soak, "rates": dict(place.rates)},
    )


def named(folder: Path, run: str) -> Path:
    """Return the file of an earlier run. Raises ConfigurationError for what is no name of one."""
    if not _RUN.fullmatch(run):
        raise _none(folder, run)
    return folder / f"{run}.jsonl"


def _none(folder: Path, run: str) -> ConfigurationError:
    return ConfigurationError(f"--resume {run}: {folder} has no run of that name")


def go_on(request: Request, run: str, folder: Path) -> Request:
    """Return `request` as the rest of what an earlier run planned, with its seed; its results stay as they are.

    Raises ConfigurationError where there is no such run, it was of another cell or subject, or a probe has changed
    since: its results would not be of one check.
    """
    file = named(folder, run)
    if not file.is_file():
        raise _none(folder, run)
    opening, results = finished(file)
    if opening is None:
        raise ConfigurationError(f"--resume {run}: {file} does not begin as a probe run")
    for name in ("stack", "target", "machine", "environment", "subject", "image"):
        before, after = getattr(opening, name), getattr(request, name)
        if before != after:
            raise ConfigurationError(
                f"--resume {run}: its {name} was {before}, and here it is {after}"
            )
    for probe in dict.fromkeys(planned.probe for planned in opening.planned):
        if probe.sha256 != _digest(probe.name):
            raise ConfigurationError(
                f"--resume {run}: the probe {probe.name} has changed since; begin a new run"
            )
    done = settled(result for result in results if result.run == run)
    left = [each for each in map(identity, opening.planned) if each not in done]
    return Request(
        **{
            **request.__dict__,
            "run": run,
            "results": str(file.absolute()),
            "seed": opening.conditions.seed,
            "rest": tuple(one.name for one in left),
        }
    )


def _digest(probe: str) -> str:
    """Return the hash that a probe has now, "" for one that is no more."""
    file = _SUITE / f"test_{probe.partition('.')[0]}.py"
    return digest(str(file)) if file.is_file() else ""
