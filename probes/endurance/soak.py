"""A server kept busy for a long time: requests by several threads, one known question in between, /health all the while."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from typing import Any, Final

from probes.endurance.xid import Watch
from probes.serving.server import HOST, NAME, Server, ServerError
from probes.serving.servingload import LoadError

_TOKENS: Final = 64
_PROMPT: Final = "the fox ran off and hid for all day"
_LIMIT: Final = 120.0
"""Seconds for one answer."""

_PAUSE: Final = 20.0
"""Seconds of load between two times that the known question is asked by itself."""


@dataclass
class Told:
    """What a soak has done so far; `compared`: the known question had one answer to begin with, so that a change tells."""

    requests: int = 0
    seconds: float = 0.0
    compared: bool = False


def server(one: Server, *, seconds: float, streams: int, watch: Watch, told: Told) -> None:
    """Keep a healthy server busy with `streams` requests at a time; stops at the first Xid error.

    Between loads the same question is asked with nothing else running, at temperature 0: where it is answered alike three times before
    the load, another answer after it is `corruption`. Raises LoadError for that and for failed requests, ServerError for a
    server that dies, hangs, or says that it is ill.
    """
    begun = time.monotonic()
    answers = {_ask(one, _PROMPT) for _ in range(3)}
    told.requests = 3
    told.compared = len(answers) == 1
    while told.seconds < seconds and not watch.found():
        _load(one, min(_PAUSE, max(seconds - told.seconds, 0.2)), streams, watch, told)
        again = _ask(one, _PROMPT)
        told.requests += 1
        told.seconds = time.monotonic() - begun
        if told.compared and again not in answers:
            text = f"after {told.requests} requests the same question, asked alone, is answered otherwise"
            raise LoadError("corruption", text)


def _load(one: Server, seconds: float, streams: int, watch: Watch, told: Told) -> None:
    """Ask with many threads for some seconds, and watch the server meanwhile."""
    stop = threading.Event()
    failed: list[LoadError | ServerError] = []
    done = [0] * streams

    def work(index: int) -> None:
        while not stop.is_set():
            try:
                _ask(one, f"{_PROMPT} {index} {done[index]}")
            except (LoadError, ServerError) as error:
                failed.append(error)
                return
            done[index] += 1

    threads = [
        threading.Thread(target=work, args=(index,), daemon=True) for index in range(streams)
    ]
    for thread in threads:
        thread.start()
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until and not failed and not watch.found():
            one.watch()
            time.sleep(0.2)
    finally:
        stop.set()
        told.requests += sum(done)
        told.seconds += seconds - max(0.0, until - time.monotonic())
    until = time.monotonic() + _LIMIT
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        one.watch()
        time.sleep(0.05)
    if failed:
        one.settle()
        raise failed[0]


def _ask(one: Server, prompt: str) -> str:
    """Return the text of one answer. Raises LoadError where there is none; the server's own state is looked at first."""
    asked: dict[str, Any] = {
        "model": NAME,
        "prompt": prompt,
        "max_tokens": _TOKENS,
        "temperature": 0,
        "ignore_eos": True,
    }
    connection = http.client.HTTPConnection(HOST, one.port, timeout=_LIMIT)
    try:
        headers = {"content-type": "application/json"}
        connection.request("POST", "/v1/completions", json.dumps(asked), headers)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != http.client.OK:
            raise LoadError("requests_failed", f"a request was answered {answer.status}")
        text: str = json.loads(content)["choices"][0]["text"]
    except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
        one.settle()
        reason = "hang" if isinstance(error, TimeoutError) else "requests_failed"
        raise LoadError(reason, f"a request had no answer: {type(error).__name__}") from error
    finally:
        connection.close()
    return text
