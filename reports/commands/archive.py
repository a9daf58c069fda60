"""`nvfp4-matrix archive`: results are kept on a branch, from where the next run reads them."""

from __future__ import annotations

import os
from pathlib import Path

import click

from matrix.errors import ConfigurationError

EXAMPLES = """\b
Examples:
  nvfp4-matrix archive --branch results --results kept/results
"""


@click.command(epilog=EXAMPLES)
@click.option("--branch", required=True, metavar="NAME", help="The branch; made where it is not.")
@click.option(
    "--results",
    "folder",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="The results: <run>.jsonl.",
)
def archive(*, branch: str, folder: Path) -> None:
    """Add results to a branch of the repository, in its folder results/; those that are there stay."""
    from reports.driving.archive import archive as keep  # noqa: PLC0415
    from reports.driving.connection import connected  # noqa: PLC0415

    if not folder.is_dir():
        raise ConfigurationError(f"--results {folder}: is no folder")
    try:
        files = {
            path.name: path.read_text(encoding="utf-8")
            for path in sorted(folder.glob("*.jsonl"))
            if path.is_file() and not path.is_symlink()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--results {folder}: {type(error).__name__}: {error}") from error
    there = connected(os.environ)
    added = keep(there.send, there.repository, branch, files)
    click.echo(f"the branch {branch}: {added} of {len(files)} runs are new")
