"""Begin a probe run, or go on with one: what is asked of the suite, and where its lines go."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from images.here import finished
from images.place import Place
from matrix.errors import ConfigurationError, OutsideError
from matrix.proberun import identity
from probes.request import Request

CPU: Final = "cpu"
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
    told = "\0".join((when, place.stack, place.target, place.machine, place.gpu, *only, str(seed)))
    run = f"probe-{re.sub('[^0-9]', '', when)}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
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


def go_on(request: Request, run: str, folder: Path) -> Request:
    """Return `request` as the rest of an earlier run, whose results stay as they are.

    Raises ConfigurationError where there is no such run, or it was of another cell, subject or seed.
    """
    file = folder / f"{run}.jsonl"
    if not _RUN.fullmatch(run) or not file.is_file():
        raise ConfigurationError(f"--resume {run}: {folder} has no run of that name")
    opening, results = finished(file)
    if opening is None:
        raise ConfigurationError(f"--resume {run}: {file} does not begin as a probe run")
    was = (opening.stack, opening.target, opening.machine, opening.environment, opening.subject)
    now = (request.stack, request.target, request.machine, request.environment, request.subject)
    for name, before, after in zip(
        ("stack", "target", "machine", "environment", "subject"), was, now, strict=True
    ):
        if before != after:
            raise ConfigurationError(
                f"--resume {run}: its {name} was {before}, and here it is {after}"
            )
    done = [identity(result) for result in results]
    return Request(
        **{
            **request.__dict__,
            "run": run,
            "results": str(file.absolute()),
            "seed": opening.conditions.seed,
            "done": tuple(f"{one.probe}[{'-'.join((one.backend, *one.load))}]" for one in done),
        }
    )
