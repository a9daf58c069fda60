"""`probe STACK`, run as a user does, with a real torch in the image: for every test of a run in a container."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.builds import PYTHON

TORCH = "2.13.0"
STACKS = f"as_released: []\nwritten:\n  - {{name: torch, pins: {{torch: {TORCH}}}}}\n"
MAIN = [sys.executable, "-c", "from reports.cli import main; main()", "probe"]
PATIENCE = 120.0
RUN = {"label": "nvfp4-matrix.run"}
"""What the containers of runs have, and of nothing else."""

SMI = """#!/bin/sh
case "$*" in
  *compute-apps*) printf '%s' "{users}" ;;
  *) echo "NVIDIA RTX PRO 6000 Blackwell, {uuid}, 580.95.05, 12.0, 97887, 2430, 14001, 180, 405, 600.00, 31, Enabled, 0x0" ;;
esac
"""


class Program:
    """The command with its image, its environment, and a folder for results."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], results: Path) -> None:
        self.command = [*MAIN, *arguments, "--results", str(results)]
        self.environment = {**os.environ, **environment}
        self.results = results

    def __call__(self, *more: str, **variables: str) -> subprocess.CompletedProcess[str]:
        env = {**self.environment, **variables}
        command = [*self.command, *more]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=env)

    @contextlib.contextmanager
    def begun(self, *more: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Have it run beside the test."""
        with subprocess.Popen(
            [*self.command, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**self.environment, **variables},
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def lines(self) -> list[dict[str, Any]]:
        """Return the whole lines of the only run that there is."""
        (file,) = self.results.glob("*.jsonl")
        content = file.read_bytes()
        return [
            json.loads(each) for each in content.splitlines(keepends=True) if each[-1:] == b"\n"
        ]

    def came(self, count: int) -> bool:
        """Say whether so many results are there."""
        return any(self.results.glob("*.jsonl")) and len(self.lines()) > count


def until(there: Callable[[], bool], *, process: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + PATIENCE
    while not there():
        assert process is None or process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.05)


def ours(engine: Any) -> list[Any]:
    """Return the containers of runs: no test runs beside another."""
    return list(engine.containers.list(all=True, filters=RUN, ignore_removed=True))


def whole(lines: list[dict[str, Any]]) -> bool:
    """Say whether every planned check came back once with something else than an error."""
    opening, *results = lines
    names = [_name(each) for each in results if each["status"] != "error"]
    return sorted(names) == sorted(map(_name, opening["planned"]))


def _name(check: dict[str, Any]) -> str:
    return " ".join((check["probe"]["name"], check["backend"], *check["load"]))


def errors(lines: list[dict[str, Any]]) -> list[str]:
    return [each["reason"] for each in lines[1:] if each["status"] == "error"]


def smi(folder: Path, uuid: str, *users: str) -> str:
    """Put a fake nvidia-smi on the PATH that it returns: one GPU, and who computes on it."""
    folder.mkdir(exist_ok=True)
    file = folder / "nvidia-smi"
    file.write_text(SMI.format(uuid=uuid, users="\\n".join(users)))
    file.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


class Daemon:
    """An engine of our own, to be killed, with all that is its own in one folder.

    It has a network of its own, too: one without a bridge takes down the bridge of whichever engine is beside it.
    """

    def __init__(self, folder: Path) -> None:
        self.host = f"unix://{folder}/socket"
        tools = folder / "tools"
        tools.mkdir()
        # With that on its PATH the engine offers GPUs; it is what would put them into a container.
        hook = tools / "nvidia-container-runtime-hook"
        hook.write_text("#!/bin/sh\nexit 0\n")
        hook.chmod(0o755)
        self._path = f"{tools}:{os.environ['PATH']}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return once it answers."""
        own = self._folder
        command = ["unshare", "--net", "dockerd", "--host", self.host]
        command += ["--bridge=none", "--iptables=false", "--ip-forward=false"]
        command += ["--data-root", f"{own}/data", "--exec-root", f"{own}/run"]
        with (own / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--pidfile", f"{own}/pid"],
                stdout=log,
                stderr=log,
                env={**os.environ, "PATH": self._path},
            )
        until(self._answers)

    def kill(self) -> None:
        """End it as a crash does: its containers live on until it is back."""
        file = self._folder / "run" / "containerd" / "containerd.pid"
        theirs = Path("/proc", file.read_text().strip())
        self._end(signal.SIGKILL)
        # Its containerd dies with it, and would be taken for one that runs as long as its number is there.
        until(lambda: not theirs.exists())
        file.unlink(missing_ok=True)
        (self._folder / "pid").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()[-2000:]
        asked = ["docker", "--host", self.host, "version"]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0


def fetched(folder: Path) -> list[Path]:
    """Download torch, and all that it and pytest need, as pip here is told."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder)]
    command += ["--only-binary=:all:", "--python-version", PYTHON]
    subprocess.run([*command, f"torch=={TORCH}", "pytest"], check=True)
    return list(folder.iterdir())
