"""`vllm bench serve` against a running server, and what its `--save-result` says."""

from __future__ import annotations

import contextlib
import json
import math
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from probes.reason import UNNAMED, of_text
from probes.serving import enginelog, group
from probes.serving.server import HOST, NAME, Server, ServerError, variables

FIGURE: Final = "output_throughput"

_FIGURES: Final = {
    "output_throughput": (FIGURE, "tok/s"),
    "request_throughput": ("request_throughput", "req/s"),
    "total_token_throughput": ("total_throughput", "tok/s"),
    **{
        f"{which}_{what}_ms": (f"{what}_{which}", "ms")
        for what in ("ttft", "itl", "tpot")
        for which in ("mean", "median", "p99")
    },
}
"""Keys of the saved result that become metrics, under the names that imports of such files have."""

_STEP: Final = 0.5
_FAILED: Final = "initial test run failed"
"""How vllm/benchmarks/serve.py ends where the server refuses the first request."""


class LoadError(Exception):
    """A load was not carried through: `reason`, and in words."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text


@dataclass(frozen=True, kw_only=True)
class Load:
    """What is asked: `streams` requests at a time, `requests` in all, tokens in and out of each; or captions of images."""

    streams: int
    requests: int
    input_tokens: int
    output_tokens: int
    images: bool = False


def command(
    program: Sequence[str], load: Load, port: int, tokenizer: Path, *, seed: int, result: Path
) -> list[str]:
    """Return the client's command line; every option is there from 0.12.0 to 0.33.0.

    As many requests as there are streams go before, unmeasured. No end of sequence ends an answer early, so that both
    formats generate the same number of tokens.
    """
    way = ["--backend", "openai", "--endpoint", "/v1/completions", "--dataset-name", "random"]
    if load.images:
        way = [
            "--backend", "openai-chat", "--endpoint", "/v1/chat/completions",
            "--dataset-name", "random-mm",
            "--random-mm-base-items-per-request", "1",
            "--random-mm-num-mm-items-range-ratio", "0",
            "--random-mm-limit-mm-per-prompt", '{"image": 1, "video": 0}',
            "--random-mm-bucket-config", "{(512, 512, 1): 1.0}",
        ]  # fmt: skip
    return [
        *program, "bench", "serve", *way,
        "--base-url", f"http://{HOST}:{port}",
        "--model", NAME, "--tokenizer", str(tokenizer),
        "--random-input-len", str(load.input_tokens),
        "--random-output-len", str(load.output_tokens),
        "--random-range-ratio", "0",
        "--num-prompts", str(load.requests),
        "--max-concurrency", str(load.streams),
        "--num-warmups", str(load.streams),
        "--ignore-eos", "--temperature", "0",
        "--seed", str(seed),
        "--percentile-metrics", "ttft,tpot,itl",
        "--metric-percentiles", "99",
        "--ready-check-timeout-sec", "30",
        "--disable-tqdm",
        "--save-result", "--result-dir", str(result.parent), "--result-filename", result.name,
    ]  # fmt: skip


def measure(
    program: Sequence[str], server: Server, load: Load, *, seed: int, result: Path, limit: float
) -> dict[str, tuple[float, str]]:
    """Send one load to a server and return its figures. `limit`: seconds for it.

    Raises ServerError where the server fails meanwhile, LoadError where requests or the client do.
    """
    result.unlink(missing_ok=True)
    said = result.with_suffix(".txt")
    said.write_bytes(b"")
    asked = command(program, load, server.port, server.folder, seed=seed, result=result)
    begun = time.monotonic()
    client = group.start(asked, said, variables())
    try:
        while client.poll() is None:
            server.watch()
            if time.monotonic() - begun > limit:
                raise ServerError("hang", f"the load was not through after {limit:.0f} s")
            with contextlib.suppress(subprocess.TimeoutExpired):
                client.wait(_STEP)
    finally:
        group.end(client)
    try:
        if client.returncode:
            raise _client_failed(enginelog.tail(said), client.returncode)
        return read(result, load)
    except LoadError:
        server.settle()
        raise


def _client_failed(text: str, code: int) -> LoadError:
    last = text.strip().splitlines()[-1:] or [""]
    if _FAILED in text.lower():
        reason = of_text(text)
        told = "requests_failed" if reason == UNNAMED else reason
        return LoadError(told, f"the first request failed; {last[0]}")
    return LoadError("harness_error", f"the client ended with exit code {code}; {last[0]}")


def read(file: Path, load: Load) -> dict[str, tuple[float, str]]:
    """Return the figures of a saved result. Raises LoadError where it is not of the whole load."""
    try:
        saved: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError("harness_error", f"the client left no result: {error}") from error
    failed, done = saved.get("failed", 0), saved.get("completed", 0)
    if failed or done != load.requests:
        raise LoadError("requests_failed", f"{done} of {load.requests} requests were answered")
    if saved.get("total_output_tokens", 0) < load.requests:
        raise LoadError("requests_failed", "the answers are empty")
    figures = {}
    for key, (name, unit) in _FIGURES.items():
        value = saved.get(key)
        if isinstance(value, int | float) and math.isfinite(value):
            figures[name] = (float(value), unit)
    if not figures.get(FIGURE, (0.0,))[0] > 0:
        raise LoadError("harness_error", f"the result says no {FIGURE}")
    return figures
