"""What these tests post, and how they tell what became of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from matrix.cell import Report
from matrix.errors import OutsideError
from reports.github.post import Done
from reports.github.request import Answer, Repository, Request
from reports.github.required import Required
from reports.github.wish import Matter, Wish
from tests.reports.github.hub import COMMIT

AT = Repository(owner="o", name="n")
EVERY = Wish(
    repository=AT,
    name="nvfp4-matrix",
    commit=COMMIT,
    check=True,
    status=True,
    number=3,
    branch="gh-pages",
    tag="v1",
)
Publish = Callable[..., Done]
Command = Callable[..., tuple[int, str, str]]

TOKEN = "ghs_made0up1token2of3these4tests5"
"""Nobody's: of the form that a job's own token has."""


def changed(
    report: Report, *, generated: str = "2026-11-22T03:00:00Z", verdict: str = "broken"
) -> Report:
    """The report of a day later: gemm of the newest release is broken on sm120."""

    def other(cell: Any) -> Any:
        mine = (cell.stack, cell.target, cell.capability) == ("vllm==0.33.0", "sm120", "gemm")
        return (
            msgspec.structs.replace(cell, verdict=verdict, reason="trap_kernel") if mine else cell
        )

    return msgspec.structs.replace(
        report, generated=generated, cells=tuple(other(cell) for cell in report.cells)
    )


def matter(report: Report, required: Required | None = None) -> Matter:
    return Matter(whole=report, brief=report, required=required or Required())


def what(done: Done) -> dict[str, str]:
    assert done.failed == ()
    return {outcome.place: outcome.what for outcome in done.outcomes}


def down(_: Request) -> Answer:
    raise OutsideError("GitHub is away")
