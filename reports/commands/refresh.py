"""`nvfp4-matrix refresh`: read the releases that the index has and the ledger has not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from reports.text import plain

if TYPE_CHECKING:
    from matrix.capability import CapabilitiesFile
    from matrix.configuration import Configuration
    from matrix.evidence.wheelfile import WheelFile
    from matrix.fill import Listed
    from matrix.ledger import Ledger
    from matrix.published import Listing

EXAMPLES = """\b
Examples:
  nvfp4-matrix refresh --list
  nvfp4-matrix refresh --package vllm --jobs 4
  nvfp4-matrix refresh --outdated
"""

_ROUNDS: Final = 5
"""What a wheel requires shows once it was read; vLLM, FlashInfer, its DSL and the DSL's parts take four."""


@click.command(epilog=EXAMPLES)
@click.option(
    "--package", "packages", multiple=True, metavar="P", help="Only this one; may be repeated."
)
@click.option("--list", "only_list", is_flag=True, help="Name what is missing and read nothing.")
@click.option("--outdated", is_flag=True, help="Read again what was read by rules of before, too.")
@click.option(
    "--jobs", type=click.IntRange(1, 16), default=2, show_default=True, help="Wheels at a time."
)
@click.option("--github-output", is_flag=True, help="--list: add `stacks` to $GITHUB_OUTPUT.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="--github-output: stacks that have results here are no news.",
)
@click.option(
    "--ledger",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Another ledger than the one that comes with the project.",
)
def refresh(
    packages: tuple[str, ...],
    jobs: int,
    folder: Path | None,
    results: Path | None,
    *,
    only_list: bool,
    outdated: bool,
    github_output: bool,
) -> None:
    """Read the releases that the index has and the ledger has not, and keep them in the ledger.

    Of some packages that is every release in a range, of others what the stacks pin; what a wheel pins
    shows once it was read, so there may be several rounds. Each wheel is kept as soon as it is read: a run
    that was stopped goes on where it was.
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    from matrix import fill  # noqa: PLC0415
    from matrix.configuration import Configuration  # noqa: PLC0415
    from matrix.errors import ConfigurationError, OutsideError  # noqa: PLC0415
    from matrix.evidence.index import Index  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.ledger import FOLDER, Ledger  # noqa: PLC0415
    from matrix.published import Listing, Published  # noqa: PLC0415
    from reports.progress import progress  # noqa: PLC0415

    if github_output and not only_list:
        raise ConfigurationError("--github-output goes with --list, and hands on what is new")
    configuration = Configuration()
    index, ledger = Index.from_environment(), Ledger(folder or FOLDER)
    chosen = _known(packages, configuration.capabilities)
    nothing = Published((), Listing(listed="", packages={}))
    listed = fill.ask(index, Knowledge(configuration, nothing).packages)
    listing = listed.listing(datetime.now(UTC).date().isoformat())
    if not only_list:
        fill.keep_listing(ledger.folder, listing)
    read = 0
    failures: dict[str, Exception] = {}
    for _ in range(_ROUNDS):
        todo = [
            file
            for file in _lacking(configuration, listed, listing, ledger, outdated=outdated)
            if file.package in chosen and file.filename not in failures
        ]
        if only_list or not todo:
            break
        click.echo(f"to read: {amount(todo)}", err=True)
        with progress(len(todo)) as told:
            failed = fill.fill(
                todo,
                index.session,
                configuration.capabilities,
                configuration.gates,
                ledger=ledger,
                jobs=jobs,
                progress=told,
            )
        failures |= {file.filename: error for file, error in failed}
        read += len(todo) - len(failed)
    if github_output:
        _hand_on(todo, configuration, results)
    if only_list and todo:
        click.echo("\n".join(lines(todo)))
        click.echo(f"to read: {amount(todo)}", err=True)
    elif not (read or failures):
        click.echo("the ledger has every release that the index has")
    else:
        click.echo(f"{read} of {read + len(failures)} wheels are in the ledger")
    for filename, error in failures.items():
        click.echo(f"{plain(filename)}: {plain(str(error)) or type(error).__name__}", err=True)
    if failures:
        raise OutsideError(
            f"{len(failures)} of {read + len(failures)} wheels could not be read; "
            "the next refresh tries again"
        )


def _hand_on(todo: Sequence[WheelFile], configuration: Configuration, results: Path | None) -> None:
    """Hand on to a workflow which stacks are new: several by semicolons, as `plan --stack` takes them."""
    from matrix.journal import Journal  # noqa: PLC0415
    from matrix.news import news  # noqa: PLC0415
    from reports.workflow import output  # noqa: PLC0415

    read = Journal(results).read().results if results else ()
    probed = {result.stack for result in read}
    output({"stacks": ";".join(news(todo, configuration.stacks, probed=probed))})


def _lacking(
    configuration: Configuration,
    listed: Listed,
    listing: Listing,
    ledger: Ledger,
    *,
    outdated: bool,
) -> list[WheelFile]:
    """Name what is to be read, as far as the records of today tell what the stacks pin."""
    from matrix import fill  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.published import Published  # noqa: PLC0415

    records = ledger.read()
    wanted = Knowledge(configuration, Published(records, listing)).wanted()
    capabilities = configuration.capabilities
    todo = fill.missing(listed.files, records, capabilities, wanted)
    if outdated:
        todo += fill.outdated(listed.files, records, capabilities, configuration.gates, wanted)
    # One whose content changed may have been read by other rules as well.
    return list({file.filename: file for file in todo}.values())


def lines(files: Sequence[WheelFile]) -> list[str]:
    """Name wheels by requirement, machine, size and file name, a line each."""
    return [
        f"{f'{file.package}=={file.version}':<28}  {file.machine:<7}  {_megabytes(file):>9}  "
        f"{plain(file.filename)}"
        for file in files
    ]


def amount(files: Sequence[WheelFile]) -> str:
    """Say how many wheels these are and how large, as far as the index tells; less of them is fetched."""
    sizes = [file.size for file in files if file.size is not None]
    wheels = f"{len(files)} wheel{'' if len(files) == 1 else 's'}"
    if not sizes:
        return f"{wheels}; the index states no sizes"
    unknown = len(files) - len(sizes)
    rest = f", and {unknown} of which the index states no size" if unknown else ""
    return f"{wheels} of {sum(sizes) / 1e6:,.1f} MB together{rest}; of most only parts are fetched"


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
