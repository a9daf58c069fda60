"""`nvfp4-matrix collect`: what came back from the runners of a plan, and what did not, becomes results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.clock import now
from reports.text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrix.returned import Kept, Line

EXAMPLES = """\b
Examples:
  nvfp4-matrix collect artifacts --plan plan.json
  nvfp4-matrix collect artifacts --plan plan.json --results results
"""


@click.command(epilog=EXAMPLES)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--plan",
    "plan_file",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What `plan --output` wrote: only what it asks for is taken.",
)
@click.option(
    "--digest",
    default="",
    metavar="SHA256",
    help="What that file has to be: artifacts of a run can be replaced by its jobs.",
)
@click.option(
    "--results",
    "results",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept, if not in the default folder.",
)
@click.option("--summary", is_flag=True, help="Tell it in the job's summary (GITHUB_STEP_SUMMARY).")
def collect(
    *, folder: Path, plan_file: Path, digest: str, results: Path | None, summary: bool
) -> None:
    """Take in the results in FOLDER, where the artifacts of a workflow were downloaded to.

    Nothing in them is trusted: a line counts where it is a sound result of a cell that was planned. A cell of which
    nothing came back is kept as missing.
    """
    from matrix.artifact import lines  # noqa: PLC0415
    from matrix.configuration import Configuration  # noqa: PLC0415
    from matrix.journal import FOLDER  # noqa: PLC0415
    from matrix.returned import missing, take, told  # noqa: PLC0415
    from reports.driving.planfile import read  # noqa: PLC0415

    outline = read(plan_file, digest)
    kept = results or FOLDER
    capabilities = Configuration().capabilities.capabilities
    complaints: list[str] = []
    before = _before(kept)
    taken = take(
        lines(folder, complaints.append),
        outline,
        now=now(),
        results_only=[each.name for each in capabilities if each.executed_only],
        kept=before,
    )
    lost = missing(outline, taken)
    refused = [*complaints, *taken.refused]
    for run, found in (*taken.runs.items(), (outline.run, lost)):
        _keep(kept, run, found)
    if summary:
        from reports.driving.summary import text  # noqa: PLC0415
        from reports.workflow import summarise  # noqa: PLC0415

        summarise(text(taken, lost, refused))
    for line in told(taken, lost):
        click.echo(plain(line, limit=300))
    for line in refused:
        # Never at the beginning of a line, where a workflow would obey it.
        click.echo(f"nvfp4-matrix: left out: {plain(line, limit=300)}", err=True)


def _before(folder: Path) -> Kept:
    """Read what is kept: the lines as they stand there, and where each run is of."""
    from matrix.journal import Journal  # noqa: PLC0415
    from matrix.returned import Kept, place  # noqa: PLC0415

    read = Journal(folder).read()
    places = {each.run: place(each) for each in read.results}
    places |= {each.run: place(each) for each in read.runs}
    lines = {line for file in sorted(folder.glob("*.jsonl")) for line in _lines(file)}
    return Kept(frozenset(lines), places)


def _keep(folder: Path, run: str, found: Sequence[Line]) -> None:
    """Add to a run's file what it has not, whole or not at all; what is there stays as it is.

    Without what looks like a secret: these files go onto a branch that others can read.
    """
    import msgspec  # noqa: PLC0415

    from matrix.errors import OutsideError  # noqa: PLC0415
    from matrix.wholefile import write  # noqa: PLC0415
    from reports.github.redact import Redactor  # noqa: PLC0415

    path = folder / f"{run}.jsonl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    there = _lines(path)
    safe = Redactor().value
    lines = dict.fromkeys(msgspec.json.encode(safe(line)) + b"\n" for line in found)
    more = [line for line in lines if line not in set(there)]
    if more:
        write(path, b"".join((*there, *more)))


def _lines(path: Path) -> list[bytes]:
    """Read the lines of a file, a cut one ended; none where there is no file."""
    from matrix.errors import OutsideError  # noqa: PLC0415

    try:
        content = path.read_bytes() if path.is_file() else b""
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    return [line + b"\n" for line in content.split(b"\n") if line]
