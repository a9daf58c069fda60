"""How many requests a publish is, against a server on loopback that does what GitHub does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NamedTuple

import msgspec

from matrix.cell import Cell, Report
from matrix.knowledge import Knowledge
from reports import html
from reports.github.client import Client
from reports.github.credential import Token
from reports.github.etags import Etags
from reports.github.outbox import Outbox
from reports.github.post import publish
from reports.github.request import Repository
from reports.github.required import judge
from reports.github.wish import Matter, Wish
from tests.bench.figure import Aim, BenchError, Findings, Table, told
from tests.reports.github.hub import COMMIT, HubServer

CELLS: Final = 2_000
UNCHANGED: Final = 6
CHANGED: Final = 12
AT: Final = Repository(owner="o", name="n")
USUAL: Final = Wish(
    repository=AT,
    name="nvfp4-matrix",
    commit=COMMIT,
    check=True,
    status=True,
    number=3,
    branch="gh-pages",
)
"""Everything but a release's file, which is posted on demand."""


class Run(NamedTuple):
    """One publish: what was sent, and how long it took without GitHub's own time."""

    reads: int
    writes: int
    sent: int
    bytes: int
    seconds: float


def bench(*, rounds: int) -> Findings:
    """Publish a matrix of 2,000 cells: for the first time, unchanged, with one other cell, and with all others."""
    del rounds  # requests are counted, not timed
    report = _report()
    found = Findings()
    rows = []
    for name, wish in (("all but a file", USUAL), ("and a file", _with_file(USUAL))):
        with _server() as server, TemporaryDirectory() as folder:
            for step, current in _steps(report):
                run = _publish(server, wish, current, Path(folder))
                rows.append(
                    (
                        f"{name}: {step}",
                        str(run.sent),
                        str(run.reads),
                        str(run.writes),
                        f"{run.bytes / 1e3:,.0f} kB",
                        told(run.seconds),
                    )
                )
                found.values[f"{name} {step}".replace(" ", "_")] = run.sent
                if wish is USUAL and step != "the first time":
                    bound = UNCHANGED if step == "unchanged" else CHANGED
                    found.aims.append(Aim(f"publish, {step}", run.sent, bound, "requests"))
    columns = (
        f"publish, {len(report.cells):,} cells",
        "requests",
        "reads",
        "writes",
        "sent",
        "took",
    )
    found.tables.append(Table("publish: check, comment, status and branch", columns, tuple(rows)))
    found.notes.append(
        "By a job's token; an app logs in with one request more, and asks for its installation with another unless it is told."
    )
    return found


def _report() -> Report:
    """Take 2,000 cells of the real report."""
    report = Knowledge.load().report(
        generated="2026-01-01T00:00:00Z", capabilities=("gemm", "moe", "quantize")
    )
    if len(report.cells) < CELLS:
        raise BenchError(f"the ledger makes {len(report.cells)} cells only")
    cells = report.cells[:CELLS]
    named = {cell.stack for cell in cells}
    stacks = tuple(stack for stack in report.stacks if stack.name in named)
    told_of = tuple(one for one in report.contradictions if one.stack in named)
    return msgspec.structs.replace(report, cells=cells, stacks=stacks, contradictions=told_of)


def _steps(report: Report) -> Iterator[tuple[str, Report]]:
    def other(cell: Cell) -> Cell:
        return msgspec.structs.replace(cell, verdict="fallback", reason="weight_only_fallback")

    def later(day: int, change: Callable[[int, Cell], Cell]) -> Report:
        cells = tuple(change(at, cell) for at, cell in enumerate(report.cells))
        return msgspec.structs.replace(report, generated=f"2026-01-0{day}T00:00:00Z", cells=cells)

    yield "the first time", report
    yield "unchanged", later(2, lambda _, cell: cell)
    yield "one cell changed", later(3, lambda at, cell: cell if at else other(cell))
    yield "every cell changed", later(4, lambda _, cell: other(cell))


def _publish(server: HubServer, wish: Wish, report: Report, folder: Path) -> Run:
    server.hub.requests.clear()
    start = time.perf_counter()
    newest = [report.stacks[0].name]
    matter = Matter(whole=report, brief=report, required=judge(report, ["gemm"], newest, ["slim"]))
    client = Client(
        Token(token="made-up-token"),
        AT,
        api=server.base,
        etags=Etags(folder / "etags.json"),
    )
    done = publish(
        client.send, wish, matter, lambda: html.render(report), Outbox(folder / "outbox")
    )
    client.close()
    seconds = time.perf_counter() - start
    if done.failed:
        raise BenchError(f"{done.failed[0][0]}: {done.failed[0][1]}")
    writes = [request for request in server.hub.requests if request.writes]
    size = sum(len(request.content) for request in writes)
    return Run(client.sent - len(writes), len(writes), client.sent, size, seconds)


def _with_file(wish: Wish) -> Wish:
    return msgspec.structs.replace(wish, tag="v1")


@contextmanager
def _server() -> Iterator[HubServer]:
    with HubServer() as server:
        server.etags = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
