"""Does it last? Operations and a server under load for a chosen time, with Xid errors and /health watched."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from probes import watch
from probes.case import Case
from probes.check import Load, Loads, check, each
from probes.correctness.fault import Fault
from probes.correctness.making import representative
from probes.correctness.work import concluded as judged_as
from probes.correctness.work import launch
from probes.endurance import replay, soak, xid
from probes.finding import Finding, Metrics, refused
from probes.request import Request
from probes.serving import enginelog
from probes.serving.served import Place
from probes.serving.server import ServerError
from probes.serving.servingload import LoadError
from probes.subject import Charged


def soak_loads(operation: str) -> Loads:
    """Return the load of an operation's soak; how long is the request's option `soak_seconds`."""

    def loads(run: Request) -> Iterator[Load]:
        seconds = run.options.get("soak_seconds", 60 if run.scale == "full" else 1)
        yield {**representative(operation, run), "seconds": float(seconds)}

    return loads


@each({operation: soak_loads(operation) for operation in ("gemm", "moe")})
@pytest.mark.limit(7 * 24 * 3600)
def test_operation(subject: Charged, case: Case, run: Request) -> Finding:
    """Run for a chosen time without a pause, every result held against the first, Xid errors watched."""
    sizes = replay.sizes(subject, case, run)
    work = sizes[0].works[0]
    _, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    seconds = float(case.word("seconds"))
    with xid.Watch() as errors:
        fault = replay.learn(subject, sizes)
        rounds = replay.Rounds(subject, sizes, work.seed)
        begun = told = time.monotonic()
        while fault is None and (now := time.monotonic()) - begun < seconds and not errors.found():
            fault = rounds.go()
            if now - told > 60:  # noqa: PLR2004 - once a minute
                told = now
                print(f"{now - begun:.0f} s, {rounds.done} calls", flush=True)  # noqa: T201 - as above
        seen, marks = errors.found(), errors.marks
    lasted = time.monotonic() - begun
    figures: Metrics = {"calls": (float(rounds.done), "1"), "soaked": (lasted, "s")}
    if seen:
        fault = Fault("xid", f"{seen[0]}; after {lasted:.0f} s")
    found = judged_as(subject, case, work, (), kernels, fault, figures)
    return replace(found, digests={}, marks=(*found.marks, *marks))


def server_loads(run: Request) -> Iterator[Load]:
    """Yield the soak of one server."""
    seconds = run.options.get("soak_seconds", 60 if run.scale == "full" else 2)
    yield {"model": "dense", "streams": 10, "seconds": float(seconds)}


@check("serve", server_loads)
@pytest.mark.limit(7 * 24 * 3600)
def test_server(subject: Charged, case: Case, run: Request) -> Finding:
    """Keep a server busy for a chosen time; its /health, its answers and Xid errors are watched."""
    del subject
    place, model = Place.of(run), case.word("model")
    seconds, marks = float(case.word("seconds")), ["numbers-unchecked"]
    told = soak.Told()
    reason = text = ""
    with xid.Watch() as errors:
        marks += errors.marks
        server = place.server(model, f"{case.backend}")
        try:
            with server:
                soak.server(
                    server, seconds=seconds, streams=case["streams"], watch=errors, told=told
                )
        except (ServerError, LoadError) as error:
            reason, text = error.reason, f"after {told.seconds:.0f} s: {error.text}"
        if seen := errors.found():
            reason, text = "xid", f"after {told.seconds:.0f} s: {seen[0]}; {text}"
    kernels = enginelog.kernels(server.log)
    figures: Metrics = {
        "answers_compared": (float(told.compared), "1"),
        "requests": (float(told.requests), "req"),
        "soaked": (told.seconds, "s"),
    }
    reason = reason or enginelog.fallback(kernels)
    if reason:
        text = text or f"vLLM uses {', '.join(kernels)}"
        return refused(
            reason,
            text,
            metrics=figures,
            kernels=kernels,
            marks=tuple(marks),
            selected=case.backend,
        )
    if not kernels:
        marks.append("kernels-unproven")
    return Finding(
        status="pass", metrics=figures, kernels=kernels, marks=tuple(marks),
        advertised=", ".join(kernels), selected=case.backend,
    )  # fmt: skip
