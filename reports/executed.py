"""Results that commands read beside the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.errors import ConfigurationError
from reports.text import plain

if TYPE_CHECKING:
    from matrix.executed import Executed


def kept(folder: Path | None) -> Executed:
    """Read the results of a folder, None for the default one; what is damaged is told on stderr and left out.

    Raises ConfigurationError for no folder.
    """
    from matrix.executed import Executed  # noqa: PLC0415
    from matrix.journal import Journal  # noqa: PLC0415

    if folder is not None and not folder.is_dir():
        raise ConfigurationError(f"--results {folder}: is no folder")
    read = Journal(folder).read()
    for complaint in read.complaints:
        click.echo(plain(complaint, limit=300), err=True)
    return Executed(read.results, read.runs)
