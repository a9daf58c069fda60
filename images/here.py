"""A probe run in an interpreter of this machine: one object owns the process from its start to its end."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

import msgspec

from images.following import Line, follow, holding, nothing
from matrix.errors import ConfigurationError, OutsideError, ToolError
from matrix.model import Model
from probes.heirs import Heirs
from probes.lines import DISK
from probes.request import Request

_PREFLIGHT: Final = 120.0
_PATIENCE: Final = 5.0
"""Seconds that a suite is given to end by itself once it was asked to."""
_NOTHING: Final = 5
"""pytest's exit code where there was nothing to run."""
FINISHED: Final = (0, 1, _NOTHING)
"""pytest's exit codes of a suite that came to its end: all passed, some did not, nothing to run."""
_OLDEST: Final = (3, 10)
"""The Python that the suite is written for; no release of vLLM with NVFP4 takes an older one."""
_TAIL: Final = 4000
_LONGEST: Final = 300
"""Characters of a last line that are told."""


class Preflight(Model, frozen=True, kw_only=True):
    """What `probes.preflight` tells; `missing`: packages that no probe can do without."""

    python: str
    machine: str
    packages: dict[str, str]
    missing: tuple[str, ...]
    compilers: tuple[str, ...]
    gpu: tuple[dict[str, str], ...]


def copied(folder: Path) -> Path:
    """Copy the probes into a folder, readable to all: a run is not of what is changed meanwhile."""
    with importlib.resources.as_file(importlib.resources.files("probes")) as source:
        ignored = shutil.ignore_patterns("__pycache__", "selection")
        made = shutil.copytree(source, folder / "probes", ignore=ignored)
    for each in (made, *made.rglob("*")):
        each.chmod(0o755 if each.is_dir() else 0o644)
    return made


class Here:
    """An interpreter and a copy of the probes for it, in a temporary folder: nothing is installed there."""

    def __init__(self, python: Path) -> None:
        self.python = python
        self._folder = tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")
        self.folder = Path(self._folder.name)
        copied(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def preflight(self) -> Preflight:
        """Ask what is there.

        Raises ConfigurationError for a Python that is too old or without torch or pytest, ToolError for no answer.
        """
        try:
            with Heirs() as heirs:
                try:
                    asked = subprocess.run(  # noqa: S603 - the user names the interpreter
                        [str(self.python), "-B", "-m", "probes.preflight"],
                        cwd=self.folder,
                        capture_output=True,
                        check=False,
                        timeout=_PREFLIGHT,
                        stdin=subprocess.DEVNULL,
                    )
                finally:
                    heirs.end()
            told = _told(asked.stdout)
        except subprocess.TimeoutExpired as error:
            raise ToolError(
                f"{self.python} does not say what is installed: no answer after {_PREFLIGHT:.0f} s"
            ) from error
        except (OSError, msgspec.DecodeError) as error:
            raise ToolError(f"{self.python} does not say what is installed: {error}") from error
        if told is None:
            said = _last(asked.stderr) or f"it ended {_ending(asked.returncode)}"
            raise ToolError(f"{self.python} does not say what is installed: {said}")
        if tuple(int(part) for part in re.findall(r"\d+", told.python)[:2]) < _OLDEST:
            least = ".".join(map(str, _OLDEST))
            raise ConfigurationError(
                f"{self.python} is Python {told.python}: the probes need {least} or newer"
            )
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
        beat: Callable[[], None] = nothing,
        variables: dict[str, str] | None = None,
    ) -> None:
        """Run what `request` asks for, and call `tell` with each line as it comes, `beat` in between; return when it has ended.

        What the suite prints goes to `log`. A stop (Ctrl-C) ends the suite and whatever it started, and goes on up.
        Raises ConfigurationError where the run is going on already or nothing of the subject is asked for,
        OutsideError where the disk refuses, ToolError where the suite itself died; what was finished before is in
        the results' file in any case.
        """
        file = self.folder / "request.json"
        request.write(file)
        results = Path(request.results)
        begin = results.stat().st_size if results.exists() else 0
        count = 0
        wrong, first = 0, ""
        with holding(log) as output, Heirs() as heirs:
            said = output.tell()
            process = subprocess.Popen(  # noqa: S603 - the user names the interpreter
                [str(self.python), "-B", "-m", "probes", str(file), "-q", "--no-header"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, **(variables or {})},
            )
            try:
                for line in follow(results, begin, lambda: process.poll() is not None, beat):
                    count += 1
                    if isinstance(line, str):
                        wrong, first = wrong + 1, first or line
                    else:
                        tell(line)
            finally:
                _stop(process, heirs)
        code = process.returncode
        if code == DISK:
            raise OutsideError(
                f"{results}: cannot be written (is the disk full?); what was measured before is kept"
            )
        if code == _NOTHING and not count and request.rest is None:
            asked = " ".join(f"--only {name}" for name in request.only)
            raise ConfigurationError(f"{asked}: {request.subject} has no probe of such a name")
        if code not in FINISHED or (request.rest is None and not count):
            last = _last(_tail(log, said))
            kept = not log.is_relative_to(self.folder)
            more = f" ({log} tells more)" if kept else ""
            raise ToolError(f"the suite ended {_ending(code)}{': ' * bool(last)}{last}{more}")
        if wrong:
            raise ToolError(f"{results}: {wrong} lines are no results: {first}")


def _stop(process: subprocess.Popen[bytes], heirs: Heirs) -> None:
    """End what is left of the process and what it started: gently, then not; a second stop does not wait."""
    try:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_PATIENCE)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_PATIENCE)
        heirs.end()


def _told(stdout: bytes) -> Preflight | None:
    """Find the answer in what was printed: an environment's own start may say something before it."""
    lines = [line for line in stdout.splitlines() if line.startswith(b"{")]
    return msgspec.json.decode(lines[-1], type=Preflight) if lines else None


def _tail(file: Path, begin: int) -> bytes:
    """Read the end of what was written to a file after `begin`."""
    with contextlib.suppress(OSError), file.open("rb") as held:
        held.seek(max(begin, held.seek(0, os.SEEK_END) - _TAIL))
        return held.read()
    return b""


def _last(printed: bytes) -> str:
    """Return the last line with something in it, "" where there is none."""
    lines = printed.decode(errors="replace").strip().splitlines()
    return lines[-1].strip()[:_LONGEST] if lines else ""


def _ending(code: int) -> str:
    return f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
