"""Read a file of any of the formats: what it is shows in its beginning, and it is read once, as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import msgspec

from matrix.errors import ConfigurationError
from matrix.result import Form, Role, Source
from matrix.runs import enginelog, kernelbench, serving, servingjson
from matrix.runs.run import Run
from matrix.runs.stream import Readable, Stream, words

MOST_RUNS: Final = 10_000
"""Runs in one file."""

_WANTED: Final = (
    "the output of `vllm bench serve` or its JSON, vLLM's log, or FlashInfer's benchmark CSV"
)


class Log(NamedTuple):
    """What a file holds: its runs in order, and the NVFP4 kernels that vLLM said it used."""

    source: Source
    runs: tuple[Run, ...]
    kernels: tuple[str, ...]


def read(file: Readable, name: str, role: Role) -> Log:
    """Read a file to its end; `name` stands for it in complaints and results.

    Raises ConfigurationError, one line, where no benchmark is in it, or more than MOST_RUNS.
    """
    stream = Stream(file)
    head = stream.head.lstrip()
    # What the file is called stands in each run, and its digest is known at the end: both are set then.
    unread = Source(name=name, sha256="0" * 64, role=role, form="")
    kernels: tuple[str, ...] = ()
    form: Form = ""
    runs: list[Run] = []
    if head.startswith(b"{") and (content := stream.whole(servingjson.MOST)) is not None:
        form = "vllm-bench-serve-json"
        as_json = (servingjson.saved_run(o, unread) for o in servingjson.objects(content))
        runs = _counted(as_json, name)
    sign = kernelbench.delimiter(words(head.partition(b"\n")[0][:4096]))
    if sign:
        form = "flashinfer-benchmark"
        lines = (words(line) for line in stream)
        made = (kernelbench.row_run(row, unread) for row in kernelbench.rows(lines, sign))
        runs = _counted((run for run in made if run), name)
    elif not runs:
        engine = enginelog.EngineLog()
        form = "vllm-bench-serve"
        runs = _counted(_text(stream, engine, unread), name)
        kernels = tuple(engine.kernels)
        if not runs and (engine.busy or kernels):
            form = "vllm-log"
            runs = [engine.run(unread)] if engine.busy else []
        elif not runs:
            raise ConfigurationError(f"{name}: {_nothing(head)}; wanted is {_WANTED}")
    if sign and not runs:
        raise ConfigurationError(f"{name}: no row of it is of an FP4 routine")
    source = msgspec.structs.replace(unread, sha256=stream.sha256, form=form)
    return Log(source, tuple(_sourced(run, source) for run in runs), kernels)


def _text(stream: Stream, engine: enginelog.EngineLog, source: Source) -> Iterator[Run]:
    """Find results and engine lines in text; most lines of a log are neither, and cost little."""
    block: serving.Block | None = None
    for line in stream:
        if b"Serving Benchmark Result" in line and serving.opens(words(line)):
            if block:
                block.cut()
                yield block.run(source)
            block = serving.Block()
        elif b"throughput:" in line or b"FP4" in line or b"Fp4" in line:
            engine.take(words(line))
        elif block is None:
            continue
        if block and (block.take(words(line), whole=line.endswith(b"\n")) or block.endless):
            if block.endless:
                block.cut()
            yield block.run(source)
            block = None
    if block:
        block.cut()
        yield block.run(source)


def _counted(runs: Iterable[Run], name: str) -> list[Run]:
    found: list[Run] = []
    for run in runs:
        if len(found) == MOST_RUNS:
            raise ConfigurationError(f"{name}: more than {MOST_RUNS} runs; import it in parts")
        found.append(run)
    return found


def _sourced(run: Run, source: Source) -> Run:
    return replace(run, source=source)


def _nothing(head: bytes) -> str:
    if not head:
        return "is empty"
    if head.startswith(b"{"):
        return "is JSON, but not of a benchmark (or has more than 64 MB: save it without details)"
    return "no benchmark is in it"
