"""From files that somebody posted to results: who is who by name, what they show, and where it was read."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from matrix.comparison import Finding, compare
from matrix.errors import ConfigurationError
from matrix.result import Probe, Result, Role, Source
from matrix.runs.reading import Log
from matrix.vocabulary import Environment, Machine

_WORDS: Final[dict[Role, frozenset[str]]] = {
    "native": frozenset({"nvfp4"}),
    "baseline": frozenset(
        {
            "awq",
            "gptq",
            "bf16",
            "bfloat16",
            "fp16",
            "fp8",
            "int4",
            "int8",
            "w4a16",
            "w8a8",
            "marlin",
        }
    ),
}
_SPLIT = re.compile(r"[^a-z0-9]+")
_HERE: Final = Path(__file__).parent


class Given(NamedTuple):
    """A file as the user names it, and whether it tells of NVFP4 or of what that is compared with."""

    path: str
    role: Role


class Place(NamedTuple):
    """The cell that the files are about, by what the user says of it."""

    stack: str
    target: str
    machine: Machine
    environment: Environment | Literal[""] = ""


def roles(arguments: Sequence[str]) -> tuple[Given, ...]:
    """Tell who is who: `native=FILE`, `baseline=FILE`, or a name with one format in it (nvfp4; awq, bf16, …).

    A lone file whose name says nothing is native. Raises ConfigurationError where a name says nothing
    or both, or no file is native.
    """
    given = [_role(argument, alone=len(arguments) == 1) for argument in arguments]
    if not any(one.role == "native" for one in given):
        raise ConfigurationError("no file is of an NVFP4 run: name one as native=FILE")
    if sum(one.path == "-" for one in given) > 1:
        raise ConfigurationError("standard input (-) can be read once")
    return tuple(given)


def _role(argument: str, *, alone: bool) -> Given:
    word, separator, path = argument.partition("=")
    if separator and word in _WORDS:
        if not path:
            raise ConfigurationError(f"{argument}: names no file")
        return Given(path, "native" if word == "native" else "baseline")
    parts = frozenset(_SPLIT.split(Path(argument).name.lower()))
    said: list[Role] = [role for role, words in _WORDS.items() if words & parts]
    if not said and alone:
        return Given(argument, "native")
    if len(said) != 1:
        told = "both NVFP4 and another format" if said else "neither NVFP4 nor another format"
        raise ConfigurationError(
            f"{argument}: its name says {told}; write native={argument} or baseline={argument}"
        )
    return Given(argument, said[0])


def intake(logs: Sequence[Log], place: Place, *, when: str) -> tuple[Result, ...]:
    """Make the results of files that were read; `when` is now, UTC, as 2026-11-21T03:00:00Z.

    What vLLM says of its kernels in any native file holds for all native runs. Raises
    ConfigurationError where the files have nothing of NVFP4, or one of them comes twice.
    """
    digests = [log.source.sha256 for log in logs]
    for log in logs:
        if digests.count(log.source.sha256) > 1:
            raise ConfigurationError(f"{log.source.name}: given twice; a repeat is another run")
    runs = [run for log in logs for run in log.runs]
    native = [log for log in logs if log.source.role == "native"]
    kernels = tuple(dict.fromkeys(kernel for log in native for kernel in log.kernels))
    found = compare(runs, kernels)
    if not found:
        names = ", ".join(log.source.name for log in native)
        raise ConfigurationError(f"{names}: names kernels, but has no run of NVFP4")
    made = "".join(log.source.sha256 for log in logs) + when + "\0".join(place)
    word = f"import-{re.sub('[^0-9]', '', when)}-{hashlib.sha256(made.encode()).hexdigest()[:12]}"
    return tuple(_result(one, place, when, word) for one in found)


def unpaired(logs: Sequence[Log], results: Sequence[Result]) -> Iterator[str]:
    """Name the baseline files that no result was compared with."""
    used = {source.sha256 for result in results for source in result.source}
    for log in logs:
        if log.source.role == "baseline" and log.source.sha256 not in used:
            yield log.source.name


def _result(found: Finding, place: Place, when: str, run: str) -> Result:
    native = found.native
    durations = {}
    for one in reversed(found.runs):
        if one.seconds is not None:
            durations["run" if one.role == "native" else "baseline"] = one.seconds
    return Result(
        stack=place.stack,
        target=place.target,
        machine=place.machine,
        environment=place.environment,
        capability=native.capability,
        probe=Probe(name=f"import.{native.source.form}", sha256=digest()),
        backend=native.backend,
        kernels=found.kernels,
        status=found.status,
        reason=found.reason,
        marks=found.marks,
        load=native.load,
        metrics=found.metrics,
        seeds=native.seeds,
        durations=durations,
        when=when,
        run=run,
        source=tuple(dict.fromkeys(_told(one.source, one.role) for one in found.runs)),
        text=found.text,
    )


def _told(source: Source, role: Role) -> Source:
    return msgspec.structs.replace(source, role=role)


@cache
def digest() -> str:
    """Hash the code that reads and compares: a changed rule makes another probe."""
    files = sorted([*(_HERE / "runs").glob("*.py"), _HERE / "comparison.py", _HERE / "intake.py"])
    content = b"".join(file.read_bytes().replace(b"\r\n", b"\n") for file in files)
    return hashlib.sha256(content).hexdigest()
