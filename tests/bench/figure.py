"""What a bench says: tables to read, and aims with the figure that was measured beside them."""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

PYTHON: Final = sys.executable
PROGRAM: Final = str(Path(sys.executable).with_name("nvfp4-matrix"))


class BenchError(Exception):
    """A bench that could not be carried out; the message is one line."""


@dataclass(frozen=True)
class Times:
    """Wall-clock seconds of the same thing, done several times."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def spread(self) -> str:
        return f"{told(min(self.seconds))} \u2013 {told(max(self.seconds))}"


@dataclass(frozen=True)
class Aim:
    """A figure that the project states: `figure` is to be at most `bound`; `hoped` is better still."""

    what: str
    figure: float
    bound: float
    unit: str
    hoped: float | None = None

    @property
    def met(self) -> bool:
        return self.figure <= self.bound

    @property
    def word(self) -> str:
        if not self.met:
            return "NOT MET"
        return "met, and what was hoped" if self.hoped and self.figure <= self.hoped else "met"


@dataclass(frozen=True)
class Table:
    """Rows of words under a title; the first column is what the row is about."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class Findings:
    """What one bench measured; `values` are the figures by name, for a machine to read."""

    tables: list[Table] = field(default_factory=list)
    aims: list[Aim] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)


def told(seconds: float) -> str:
    """Write a duration with three digits that count: 12.3 s, 1.23 s, 123 ms, 1.23 µs."""
    units = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
    scale, unit = next((each for each in units if abs(seconds) >= each[0]), units[-1])
    value = seconds / scale
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.{max(digits, 0)}f} {unit}"


def ran(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    output: Path | None = None,
    limit: float = 3600,
) -> float:
    """Run a command to its end and return its wall-clock seconds; `output` takes what it prints.

    Raises BenchError with the command's own last line where it fails.
    """
    env = {**os.environ, **(environment or {})}
    with (output or Path(os.devnull)).open("wb") as out:
        start = time.perf_counter()
        try:
            done = subprocess.run(
                command, stdout=out, stderr=subprocess.PIPE, env=env, cwd=folder, timeout=limit,
                check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            raise BenchError(f"{command[0]}: not there; is the project installed?") from error
        except subprocess.TimeoutExpired as error:
            raise BenchError(f"{told(limit)} were not enough for {' '.join(command)}") from error
        seconds = time.perf_counter() - start
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["(no message)"]
        raise BenchError(f"{Path(command[0]).name} ended with {done.returncode}: {lines[-1]}")
    return seconds


def slope(sizes: Sequence[int], seconds: Sequence[float]) -> float:
    """Fit time = a x size^slope by least squares over logarithms: 1.0 is linear."""
    result = statistics.linear_regression(
        [math.log(size) for size in sizes], [math.log(each) for each in seconds]
    )
    return result.slope
