"""The lines of a run: one for what was planned and where, then one for each result, on the disk before the next probe."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from probes.case import Case
from probes.finding import Finding
from probes.request import Request

DISK: Final = 74
"""The suite's exit code where the disk refuses: EX_IOERR of sysexits.h."""

MOST_TEXT: Final = 600
MOST_KERNELS: Final = 100


def now() -> str:
    """Return the time as results have it: 2026-11-21T03:00:00Z."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def place(request: Request) -> dict[str, str]:
    """Return the cell's fields, which every line has."""
    return {
        "stack": request.stack,
        "target": request.target,
        "machine": request.machine,
        "environment": request.environment,
        "run": request.run,
    }


def opening(
    request: Request,
    planned: Sequence[tuple[Case, str]],
    conditions: Mapping[str, Any],
    *,
    skipped: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the line that opens a run: every case that is planned, with its probe's hash, where it runs, and what it leaves out."""
    told = [
        {
            "probe": {"name": case.probe, "sha256": sha256},
            "capability": case.capability,
            "backend": case.backend,
            "load": case.loads,
        }
        for case, sha256 in planned
    ]
    return {
        "record": "run",
        **place(request),
        "when": now(),
        "subject": request.subject,
        "image": request.image,
        "question": request.question,
        "planned": told,
        "skipped": list(skipped),
        "conditions": conditions,
    }


def result(request: Request, case: Case, sha256: str, found: Finding) -> dict[str, Any]:
    """Return the line of one result: what matrix/result.py reads."""
    return {
        **place(request),
        "capability": case.capability,
        "probe": {"name": case.probe, "sha256": sha256},
        "backend": case.backend,
        "kernels": _few(found.kernels),
        "advertised": _plain(found.advertised),
        "selected": _plain(found.selected),
        "status": found.status,
        "reason": found.reason,
        "marks": found.marks,
        "load": case.loads,
        "metrics": {k: {"value": v, "unit": unit} for k, (v, unit) in found.metrics.items()},
        "digests": dict(found.digests),
        "seeds": found.seeds,
        "durations": {name: round(seconds, 6) for name, seconds in found.durations.items()},
        "when": now(),
        "text": _plain(found.text),
    }


def append(file: str, line: Mapping[str, Any], *, create: bool = True) -> None:
    """Append one line whole and return once it is on the disk. Raises OSError where the disk refuses.

    Without `create` the file has to be there: one that somebody removed is not begun anew in the middle of a run.
    What a full disk took in part is cut off again, so that what stands there stays readable; a half line that an
    earlier crash left is ended first, so that nothing is glued to it.
    """
    told = json.dumps(line, ensure_ascii=False, allow_nan=False)
    content = told.encode(errors="replace") + b"\n"  # a package's words may hold what is no Unicode
    handle = os.open(file, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), 0o644)
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        if end and os.pread(handle, 1, end - 1) != b"\n":
            content = b"\n" + content
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(handle, rest) :]
            os.fsync(handle)
        except BaseException:
            with contextlib.suppress(OSError):  # it is the first error that tells
                os.ftruncate(handle, end)
            raise
    finally:
        os.close(handle)


def _few(names: Sequence[str]) -> list[str]:
    """Return kernels' names fit for a line, and of too many the first."""
    told = [_plain(name) for name in names[:MOST_KERNELS]]
    left = len(names) - len(told)
    return [*told, f"… {left} more"] if left else told


def _plain(text: str) -> str:
    """Return a package's words without what cannot be seen, and not too many of them."""
    told = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return told if len(told) <= MOST_TEXT else told[: MOST_TEXT - 1] + "…"
