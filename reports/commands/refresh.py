"""`nvfp4-matrix refresh`: read the releases that the index has and the ledger has not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from matrix.capability import CapabilitiesFile
    from matrix.evidence.wheelfile import WheelFile

EXAMPLES = """\b
Examples:
  nvfp4-matrix refresh --list
  nvfp4-matrix refresh --package vllm --jobs 4
  nvfp4-matrix refresh --outdated
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--package", "packages", multiple=True, metavar="P", help="Only this one; may be repeated."
)
@click.option("--list", "only_list", is_flag=True, help="Name what is missing and read nothing.")
@click.option("--outdated", is_flag=True, help="Read again what was read by rules of before, too.")
@click.option(
    "--jobs", type=click.IntRange(1, 16), default=2, show_default=True, help="Wheels at a time."
)
@click.option(
    "--ledger",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Another ledger than the one that comes with the project.",
)
def refresh(
    packages: tuple[str, ...], jobs: int, folder: Path | None, *, only_list: bool, outdated: bool
) -> None:
    """Read the releases that the index has and the ledger has not, and keep them in the ledger.

    Each wheel is kept as soon as it is read: a run that was stopped goes on where it was.
    """
    from matrix import fill  # noqa: PLC0415
    from matrix.configuration import Configuration  # noqa: PLC0415
    from matrix.errors import OutsideError  # noqa: PLC0415
    from matrix.evidence.index import Index  # noqa: PLC0415
    from matrix.ledger import FOLDER, Ledger  # noqa: PLC0415
    from reports.progress import progress  # noqa: PLC0415

    configuration = Configuration()
    capabilities, gates = configuration.capabilities, configuration.gates
    index, ledger = Index.from_environment(), Ledger(folder or FOLDER)
    files = fill.ask(index, _known(packages, capabilities))
    records = ledger.read()
    todo = fill.missing(files, records, capabilities)
    if outdated:
        todo += fill.outdated(files, records, capabilities, gates)
    if only_list or not todo:
        click.echo("\n".join(listing(todo)) or "the ledger has every release that the index has")
        return
    with progress(len(todo)) as told:
        failures = fill.fill(
            todo, index.session, capabilities, gates, ledger=ledger, jobs=jobs, progress=told
        )
    click.echo(f"{len(todo) - len(failures)} of {len(todo)} wheels are in the ledger")
    for file, error in failures:
        click.echo(f"{file.filename}: {error}", err=True)
    if failures:
        raise OutsideError(
            f"{len(failures)} of {len(todo)} wheels could not be read; the next refresh tries again"
        )


def listing(files: Sequence[WheelFile]) -> list[str]:
    """Name wheels by requirement, machine, size and file name, a line each."""
    return [
        f"{f'{file.package}=={file.version}':<28}  {file.machine:<7}  {_megabytes(file):>8}  {file.filename}"
        for file in files
    ]


def _megabytes(file: WheelFile) -> str:
    return "" if file.size is None else f"{file.size / 1e6:.1f} MB"


def _known(packages: Sequence[str], capabilities: CapabilitiesFile) -> list[str]:
    """Return the packages asked for, all where none is. Raises ConfigurationError for an unknown one."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415

    from matrix.document import nearest  # noqa: PLC0415
    from matrix.errors import ConfigurationError  # noqa: PLC0415

    known = [rule.package for rule in capabilities.packages]
    names: list[str] = [canonicalize_name(package) for package in packages]
    for name in names:
        if name not in known:
            raise ConfigurationError(f"the data knows no package {name!r}{nearest(name, known)}")
    return names or known
