"""`nvfp4-matrix handback`: of the results in a folder, those that a job was not handed when it began."""

from __future__ import annotations

from pathlib import Path

import click

from matrix.errors import ConfigurationError, OutsideError

_FOLDER = click.Path(path_type=Path, file_okay=False)

EXAMPLES = """\b
Examples:
  nvfp4-matrix handback --results results --before kept --output back
"""


@click.command(epilog=EXAMPLES)
@click.option("--results", required=True, type=_FOLDER, metavar="DIR", help="What is there now.")
@click.option("--before", required=True, type=_FOLDER, metavar="DIR", help="What was handed over.")
@click.option("--output", required=True, type=_FOLDER, metavar="DIR", help="Where the rest goes.")
def handback(*, results: Path, before: Path, output: Path) -> None:
    """Copy the runs of a folder that are new, or went on, to another one.

    A job of a workflow hands these back, and not once more what every job was handed.
    """
    from matrix.wholefile import write  # noqa: PLC0415

    if not results.is_dir():
        raise ConfigurationError(f"--results {results}: is no folder")
    count = 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path in sorted(results.glob("*.jsonl")):
            content, handed = path.read_bytes(), before / path.name
            if not handed.is_file() or handed.read_bytes() != content:
                write(output / path.name, content)
                count += 1
    except OSError as error:
        raise OutsideError(f"{error.filename}: {error.strerror}") from error
    click.echo(f"{count} runs are new, or went on")
