"""What stands on the results branch: the page, the matrix as JSON, the badges, and what was posted last."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from matrix.cell import Report
from matrix.model import Model
from reports.github.badge import badges
from reports.github.state import Packed

STATE: Final = "state.json"
"""Which file tells the next run what stands there."""


class Standing(Model, frozen=True, kw_only=True):
    """The content of state.json: what the files were made of, and which are ours."""

    hash: str = ""
    at: str = ""
    files: tuple[str, ...] = ()
    state: Packed = Packed()


def matrix_json(report: Report) -> str:
    """`report` without its evidence, which the page has: a tenth of the size, by the same schema."""
    short = tuple(msgspec.structs.replace(cell, evidence=()) for cell in report.cells)
    return msgspec.json.encode(msgspec.structs.replace(report, cells=short)).decode() + "\n"


def files(report: Report, *, page: str, hash_: str, state: Packed) -> dict[str, str]:
    """Give every file of the branch by its path; a `.nojekyll` makes GitHub Pages serve them as they are."""
    made = {
        # Of one line, as GitHub is not known to take an empty file in a tree.
        ".nojekyll": "Served as it is.\n",
        "index.html": page,
        "matrix.json": matrix_json(report),
        **{f"badges/{name}": text for name, text in badges(report).items()},
    }
    standing = Standing(hash=hash_, at=report.generated, files=(*made, STATE), state=state)
    return {**made, STATE: msgspec.json.encode(standing).decode() + "\n"}


def earlier(file: Path | None) -> Packed | None:
    """Read what was posted last from a checkout of the branch; None where there is no such file, or a damaged one."""
    if file is None or not file.is_file():
        return None
    standing = read(file.read_bytes())
    return standing.state if standing.hash else None


def read(content: bytes) -> Standing:
    """Read state.json; an empty one for what is damaged, or by another release."""
    try:
        return msgspec.json.decode(content, type=Standing)
    except msgspec.DecodeError:
        return Standing()
