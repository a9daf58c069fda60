"""`vllm serve` on loopback: started, watched and stopped, its log kept in a file."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from probes.endurance.watchdog import SILENCE, Watchdog
from probes.reason import UNNAMED
from probes.serving import enginelog, group

HOST: Final = "127.0.0.1"
NAME: Final = "probe"
"""The name under which the model is served."""

LONGEST: Final = 4096
"""Tokens of a sequence: --max-model-len."""

MEMORY: Final = 16 << 30
"""Bytes of GPU memory that the server is given: weights below 3 GiB, and a cache for 64 short sequences. A GPU that shares its memory
with the CPU (DGX Spark) has to keep the rest."""

_STEP: Final = 0.25
_MOMENT: Final = 3.0
_TAKEN: Final = "address already in use"


class ServerError(Exception):
    """The server is not well: `reason` (of probes.reason), and in words."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, kw_only=True)
class Patience:
    """Seconds: `start`, until it has to be healthy; `silence`, without a word while it starts; `answer`, for one /health."""

    start: float = 1800.0
    silence: float = SILENCE
    answer: float = 30.0


def vllm(options: Mapping[str, Any]) -> list[str]:
    """Return the command line of vLLM: the request's option `vllm`, else of this interpreter's own package."""
    told: Sequence[str] = options.get("vllm", ())
    return list(told) or [sys.executable, "-m", "vllm.entrypoints.cli.main"]


def fraction(total: float) -> float:
    """Return --gpu-memory-utilization for MEMORY of `total` bytes: nine tenths at most, as vLLM itself takes."""
    return round(min(0.9, MEMORY / total), 3)


def command(
    program: Sequence[str], folder: Path, port: int, *, memory: float, vision: bool
) -> list[str]:
    """Return the command that serves the model in `folder`; every option is there from 0.12.0 to 0.33.0.

    No prefix caching: what is measured twice has to be computed twice. `memory`: a fraction of the GPU's.
    """
    told = [
        *program, "serve", str(folder),
        "--served-model-name", NAME,
        "--load-format", "dummy",
        "--host", HOST, "--port", str(port),
        "--max-model-len", str(LONGEST),
        "--max-num-seqs", "64",
        "--gpu-memory-utilization", str(memory),
        "--no-enable-prefix-caching",
        "--seed", "0",
    ]  # fmt: skip
    if vision:
        told += [
            "--limit-mm-per-prompt",
            '{"image": 1, "video": 0}',
            "--mm-processor-cache-gb",
            "0",
        ]
    return told


def variables() -> dict[str, str]:
    """Return the environment of server and client: no network, plain log lines, and no proxy before loopback."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
        "NO_PROXY": HOST,
        "no_proxy": HOST,
        "PYTHONUNBUFFERED": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "INFO",
    }


def free_port() -> int:
    """Return a port of loopback that nothing listens on now."""
    with socket.socket() as one:
        one.bind((HOST, 0))
        port: int = one.getsockname()[1]
        return port


class Server:
    """One server, from `with` to its end. Raises ServerError where it does not become healthy."""

    def __init__(
        self, program: Sequence[str], folder: Path, log: Path, *,
        memory: float, vision: bool = False, patience: Patience | None = None,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.log = log
        self.port = 0
        self.patience = patience or Patience()
        self.started = 0.0
        self._program = list(program)
        self._memory = memory
        self._vision = vision
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = time.monotonic()

    def __enter__(self) -> Server:  # noqa: PYI034 - typing has Self from Python 3.11 on
        """Start it; once more where the port was taken between being found and being used."""
        try:
            try:
                self._start()
            except ServerError:
                if _TAKEN not in enginelog.tail(self.log).lower():
                    raise
                self.stop()
                self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and all that it started."""
        if self._process is not None:
            group.end(self._process)

    def watch(self) -> None:
        """Look at the server once. Raises ServerError where it died, says that it is ill, or no longer answers."""
        self._living("while it served")
        status = health(self.port, 2.0)
        now = time.monotonic()
        if status == http.client.OK:
            self._answered = now
        elif status:
            reason, line = enginelog.trouble(self.log)
            told = "requests_failed" if reason == UNNAMED else reason
            raise ServerError(told, f"/health answered {status}; {line}")
        elif now - self._answered > self.patience.answer:
            raise ServerError("hang", f"/health did not answer for {now - self._answered:.0f} s")

    def settle(self) -> None:
        """Look at a server whose requests failed until it answers, or raise ServerError: a death takes a moment to be seen."""
        until = time.monotonic() + _MOMENT
        self.watch()
        while health(self.port, 2.0) != http.client.OK and time.monotonic() < until:
            time.sleep(_STEP)
            self.watch()

    def _start(self) -> None:
        begun = time.monotonic()
        self.port = free_port()
        asked = command(
            self._program, self.folder, self.port, memory=self._memory, vision=self._vision
        )
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self._process = group.start(asked, self.log, variables())
        watchdog = Watchdog(self.log, self.patience.silence)
        while health(self.port, 2.0) != http.client.OK:
            self._living("while it started")
            tuning = enginelog.stalled(self.log)
            waited = time.monotonic() - begun
            if (reason := watchdog.verdict(tuning=tuning)) or waited > self.patience.start:
                reason = reason or ("autotune_stall" if tuning else "hang")
                last = enginelog.tail(self.log).strip().splitlines()[-1:] or ["nothing"]
                told = f"not healthy after {waited:.0f} s, silent for {watchdog.quiet():.0f} s"
                raise ServerError(reason, f"{told}; its last words: {last[0]}")
            time.sleep(_STEP)
        self._answered = time.monotonic()
        self.started = self._answered - begun

    def _living(self, when: str) -> None:
        code = None if self._process is None else self._process.poll()
        if code is not None:
            reason, line = enginelog.trouble(self.log, code)
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise ServerError(reason, f"the server ended with {how} {when}; {line}")


def health(port: int, limit: float) -> int:
    """Return the status of GET /health, 0 where there is no answer within `limit` seconds."""
    connection = http.client.HTTPConnection(HOST, port, timeout=limit)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()
