"""A probe run in an interpreter of this machine: one object owns the process from its start to its end."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final, Self

import msgspec

from matrix.errors import ConfigurationError, OutsideError, ToolError
from matrix.journal import decode
from matrix.model import Model
from matrix.proberun import ProbeRun
from matrix.result import Result
from probes.request import Request

_PREFLIGHT: Final = 120.0
_STEP: Final = 0.2
_PATIENCE: Final = 5.0
"""Seconds that a suite is given to end by itself once it was asked to."""
_DISK: Final = 74
"""The suite's exit code where results could not be written (probes/plugin.py)."""
_FINISHED: Final = (0, 1, 5)
"""pytest's: all passed, some did not, nothing was asked for."""

Line = Result | ProbeRun


class Preflight(Model, frozen=True, kw_only=True):
    """What `probes.preflight` tells; `missing`: packages that no probe can do without."""

    python: str
    machine: str
    packages: dict[str, str]
    missing: tuple[str, ...]
    compilers: tuple[str, ...]
    gpu: tuple[dict[str, str], ...]


class Here:
    """An interpreter and a copy of the probes for it, in a temporary folder: nothing is installed there."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._folder = tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")
        self.folder = Path(self._folder.name)
        with importlib.resources.as_file(importlib.resources.files("probes")) as source:
            ignored = shutil.ignore_patterns("__pycache__", "selection")
            shutil.copytree(source, self.folder / "probes", ignore=ignored)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def preflight(self) -> Preflight:
        """Ask what is there. Raises ConfigurationError where torch or pytest is missing, ToolError for no answer."""
        try:
            asked = subprocess.run(  # noqa: S603 - the user names the interpreter
                [str(self.python), "-B", "-m", "probes.preflight"],
                cwd=self.folder,
                capture_output=True,
                check=False,
                timeout=_PREFLIGHT,
                stdin=subprocess.DEVNULL,
            )
            told = msgspec.json.decode(asked.stdout, type=Preflight)
        except (OSError, subprocess.TimeoutExpired, msgspec.DecodeError) as error:
            raise ToolError(f"{self.python} does not say what is installed: {error}") from error
        if told.missing:
            names = " and ".join(told.missing)
            raise ConfigurationError(
                f"{self.python}: {names} not installed there; the probes run in it, on pytest and torch"
            )
        return told

    def run(
        self,
        request: Request,
        log: Path,
        *,
        tell: Callable[[Line], None],
        variables: dict[str, str] | None = None,
    ) -> None:
        """Run what `request` asks for, and call `tell` with each line as it comes; return when it has ended.

        What the suite prints goes to `log`. A stop (Ctrl-C) ends the suite and whatever it started, and goes on up.
        Raises OutsideError where the disk is full, ToolError where the suite itself died; what was finished
        before is in the results' file in any case.
        """
        file = self.folder / "request.json"
        request.write(file)
        results = Path(request.results)
        begin = results.stat().st_size if results.exists() else 0
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - the user names the interpreter
                [str(self.python), "-B", "-m", "probes", str(file), "-q", "--no-header"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(variables or {})},
            )
            wrong: list[str] = []
            try:
                for line in _follow(results, begin, process):
                    if isinstance(line, str):
                        wrong.append(line)
                    else:
                        tell(line)
            finally:
                _stop(process)
        if process.returncode == _DISK:
            raise OutsideError(f"{results}: the disk is full; what was measured before is kept")
        if process.returncode not in _FINISHED:
            raise ToolError(f"the suite ended {_ending(process.returncode)}; {log} tells more")
        if wrong:
            raise ToolError(f"{results}: {len(wrong)} lines are no results: {wrong[0]}")


def _follow(results: Path, begin: int, process: subprocess.Popen[bytes]) -> Iterator[Line | str]:
    """Yield what is appended to `results` until the process has ended and everything is read."""
    held: IO[bytes] | None = None
    with contextlib.ExitStack() as stack:
        while True:
            ended = process.poll() is not None
            if held is None and results.exists():
                held = stack.enter_context(results.open("rb"))
                held.seek(begin)
            if held is not None:
                yield from _lines(held)
            if ended:
                return
            time.sleep(_STEP)


def _lines(file: IO[bytes]) -> Iterator[Line | str]:
    """Yield the whole lines that are there, of what is none why; one in the middle of being written is left."""
    while True:
        place = file.tell()
        line = file.readline()
        if not line.endswith(b"\n"):
            file.seek(place)
            return
        try:
            yield decode(line)
        except ValueError as error:
            yield str(error)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the process and its session: gently, then not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"


def finished(results: Path) -> tuple[ProbeRun | None, tuple[Result, ...]]:
    """Read what an earlier attempt of a run left: its opening, and what it finished."""
    opening: ProbeRun | None = None
    found: list[Result] = []
    with contextlib.suppress(FileNotFoundError):
        for line in results.read_bytes().splitlines(keepends=True):
            with contextlib.suppress(ValueError):
                told = decode(line)
                if isinstance(told, ProbeRun):
                    opening = told
                else:
                    found.append(told)
    return opening, tuple(found)
