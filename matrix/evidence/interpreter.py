"""A foreign interpreter: hand it the payload of `probes/selection` as one file, and read its answer.

Nothing is installed there and nothing in it is changed: the payload is a zip in a temporary folder.
"""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import os
import shutil
import signal
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from matrix.errors import ConfigurationError, ToolError

PATIENCE: Final = 900.0
"""Seconds for everything: a first import from a slow disk takes minutes."""

_WHO: Final = "import sys; print('nvfp4', *sys.version_info[:2])"
_OLDEST: Final = (3, 9)
_PACKAGE: Final = "probes.selection"


def interpreter(place: Path | None) -> Path:
    """Return the Python that a path names: an executable, or an environment's folder.

    Without a path: of the active virtual environment, else the first `python3` of PATH. Raises
    ConfigurationError for what is no Python, or one that is too old.
    """
    if place is None:
        active = os.environ.get("VIRTUAL_ENV")
        found = Path(active) if active else Path(shutil.which("python3") or "python3")
    else:
        found = place
    if found.is_dir():
        found = found / "bin" / "python"
    if not found.exists():
        raise ConfigurationError(
            f"{found} is not there: --python takes a Python or its environment"
        )
    try:
        told = subprocess.run(  # noqa: S603 - the user names it
            [str(found), "-B", "-c", _WHO],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{found} is no Python interpreter: {error}") from error
    # An environment's own start (sitecustomize, a wrapper) may print something before it.
    words = next(
        (line.split() for line in told.stdout.splitlines() if line.startswith("nvfp4 ")), []
    )
    if told.returncode or not words:
        raise ConfigurationError(f"{found} is no Python interpreter")
    version = tuple(int(word) for word in words[1:])
    if version < _OLDEST:
        raise ConfigurationError(f"{found} is Python {words[1]}.{words[2]}: 3.9 or newer is needed")
    return found.absolute()


def payload(file: Path) -> None:
    """Write the payload as one file that a Python runs: a zip of `probes/selection`."""
    folder = importlib.resources.files(_PACKAGE)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("probes/__init__.py", "")
        for member in sorted(folder.iterdir(), key=lambda each: each.name):
            if member.name.endswith(".py"):
                inside = "" if member.name == "__main__.py" else _PACKAGE.replace(".", "/") + "/"
                archive.writestr(inside + member.name, member.read_text(encoding="utf-8"))


def ask(
    python: Path,
    request: Mapping[str, Any],
    run: Callable[[list[str], Path], tuple[int, str]] | None = None,
) -> dict[str, Any]:
    """Run the payload in `python` and return its answer.

    `run` carries a command out in a folder whose files it needs and fills, and returns exit code and last
    words; without it that is done here, on this machine. Raises ConfigurationError where vLLM or torch is not installed there, ToolError where they cannot
    be imported or the interpreter died.
    """
    with tempfile.TemporaryDirectory(prefix="nvfp4-matrix-") as name:
        folder = Path(name)
        payload(folder / "select.pyz")
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        command = [str(python), "-B", str(folder / "select.pyz")]
        command += [str(folder / "request.json"), str(folder / "answer.json")]
        code, said = (run or _run)(command, folder)
        answer = folder / "answer.json"
        if not answer.exists():
            raise ToolError(f"{python} gave no answer: {_ending(code)}{said}")
        told: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    if error := told.get("error"):
        kind = ConfigurationError if error["kind"] == "missing" else ToolError
        raise kind(f"{python}: {error['text']}")
    return told


def _run(command: list[str], folder: Path) -> tuple[int, str]:
    """Run in a session of its own, so that nothing outlives a stop; return code and last words."""
    with (folder / "log").open("w+b") as log:
        process = subprocess.Popen(  # noqa: S603 - the user names the interpreter
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder,
            # Its temporary files go with this folder, even where it is killed.
            env={**os.environ, "TMPDIR": str(folder)},
            start_new_session=True,
        )
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"{command[0]} gave no answer within {PATIENCE:.0f} s") from error
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        lines = log.read()[-4000:].decode(errors="replace").strip().splitlines()
    return code, lines[-1] if lines else ""


def _ending(code: int) -> str:
    return f"ended by {signal.Signals(-code).name}; " if code < 0 else f"exit code {code}; "
