"""`nvfp4-matrix collect`: what came back from the runners of a plan, and what did not, becomes results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from reports.text import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matrix.returned import Line

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
    "--results",
    "results",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept, if not in the default folder.",
)
@click.option("--summary", is_flag=True, help="Tell it in the job's summary (GITHUB_STEP_SUMMARY).")
def collect(*, folder: Path, plan_file: Path, results: Path | None, summary: bool) -> None:
    """Take in the results in FOLDER, where the artifacts of a workflow were downloaded to.

    Nothing in them is trusted: a line counts where it is a sound result of a cell that was planned. A cell of which
    nothing came back is kept as missing.
    """
    from matrix.artifact import lines  # noqa: PLC0415
    from matrix.configuration import Configuration  # noqa: PLC0415
    from matrix.journal import FOLDER  # noqa: PLC0415
    from matrix.returned import missing, take, told  # noqa: PLC0415
    from reports.driving.planfile import read  # noqa: PLC0415

    outline = read(plan_file)
    kept = results or FOLDER
    capabilities = Configuration().capabilities.capabilities
    complaints: list[str] = []
    taken = take(
        lines(folder, complaints.append),
        outline,
        now=_now(),
        results_only=[each.name for each in capabilities if each.executed_only],
    )
    lost = missing(outline, taken)
    refused = [*complaints, *taken.refused]
    for run, found in taken.runs.items():
        if words := _keep(kept, run, found):
            refused.append(words)
    if lost and (words := _keep(kept, outline.run, lost)):
        refused.append(words)
    if summary:
        from reports.driving.summary import text  # noqa: PLC0415
        from reports.workflow import summarise  # noqa: PLC0415

        summarise(text(taken, lost, refused))
    for line in told(taken, lost):
        click.echo(plain(line, limit=300))
    for line in refused:
        # Never at the beginning of a line, where a workflow would obey it.
        click.echo(f"nvfp4-matrix: left out: {plain(line, limit=300)}", err=True)


def _keep(folder: Path, run: str, found: Sequence[Line]) -> str:
    """Write a run's file, whole or not at all; the same again changes nothing. Says why where it is not kept."""
    import msgspec  # noqa: PLC0415

    from matrix.errors import OutsideError  # noqa: PLC0415
    from matrix.wholefile import write  # noqa: PLC0415

    path = folder / f"{run}.jsonl"
    content = b"".join(msgspec.json.encode(line) + b"\n" for line in found)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            same = path.read_bytes() == content
            return "" if same else f"{run}: is kept already, and not so"
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    write(path, content)
    return ""


def _now() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
