"""`nvfp4-matrix audit`: read one published wheel."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import MACHINES

if TYPE_CHECKING:
    from matrix.configuration import Configuration
    from matrix.evidence.index import Index
    from matrix.evidence.record import WheelEvidence
    from matrix.evidence.wheelfile import WheelFile
    from matrix.measurement import Measure, Watch

EXAMPLES = """\b
Examples:
  nvfp4-matrix audit vllm==0.33.0
  nvfp4-matrix audit vllm==0.33.0 --machine aarch64 --json
  nvfp4-matrix audit vllm==0.33.0 --no-ledger
  nvfp4-matrix audit flashinfer-python==0.7.2.post1 --claims
  nvfp4-matrix audit vllm==0.33.0 --find wheelhouse/
  nvfp4-matrix audit dist/vllm-0.33.0-cp38-abi3-linux_x86_64.whl
  nvfp4-matrix audit https://example.org/vllm-0.33.0-py3-none-any.whl
  nvfp4-matrix audit vllm --python .venv/bin/python
"""
_LONGEST = 100
"""Characters of a name or version; with more, no file can be called by them."""

_PATH = click.Path(path_type=Path)
_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)


@click.command(epilog=EXAMPLES)
@click.argument("what", metavar="WHAT")
@click.option(
    "--machine", type=click.Choice(MACHINES), help="CPU; x86_64 where nothing else says which."
)
@click.option(
    "--find", "folder", type=_PATH, metavar="DIR", help="Take it from a folder of wheels."
)
@click.option(
    "--python",
    "environment",
    type=_PATH,
    metavar="PATH",
    help="Read what is installed there: a Python, an environment, or a site-packages folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--claims", "with_claims", is_flag=True, help="Tell what each of its checks says.")
@click.option("--no-ledger", is_flag=True, help="Measure, whatever the ledger has.")
@click.option("--ledger", "ledger", type=_FOLDER, metavar="DIR", help="Another ledger.")
def audit(
    what: str,
    machine: str | None,
    folder: Path | None,
    environment: Path | None,
    ledger: Path | None,
    *,
    as_json: bool,
    with_claims: bool,
    no_ledger: bool,
) -> None:
    """Tell which kernels one published wheel holds and what it claims, on every target.

    WHAT is PACKAGE==VERSION, a wheel's URL or path, or with --python a PACKAGE. A release that the
    ledger holds is told from there; anything else is read.
    """
    import msgspec  # noqa: PLC0415

    from matrix.configuration import Configuration  # noqa: PLC0415
    from reports.wheel import claims, show, summary, text  # noqa: PLC0415

    configuration = Configuration()
    if folder and environment:
        raise ConfigurationError("--find and --python: a wheel lies in one place, name one of them")
    if ledger and (folder or environment):
        raise ConfigurationError("--ledger names where to look first; here nothing is looked up")
    if environment:
        evidence = _installed(what, environment, machine, configuration)
    elif "://" in what or what.endswith(".whl"):
        if folder:
            raise ConfigurationError(f"--find takes PACKAGE==VERSION beside it, not {what}")
        evidence = _single(what, machine, configuration)
    else:
        package, version = _requirement(what)
        held = None
        if not (folder or no_ledger):
            held = _from_ledger(package, version, machine or MACHINES[0], configuration, ledger)
        evidence = held or _release(package, version, machine, folder, configuration)
    told = summary(evidence, configuration, machine or MACHINES[0])
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
    elif sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415

        system: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
        show(evidence, told, Console(highlight=False, color_system=system))
    else:
        click.echo(text(evidence, told))
    if with_claims and not as_json:
        click.echo("\n" + claims(evidence, configuration))


def _requirement(what: str) -> tuple[str, str]:
    """Part PACKAGE==VERSION. Raises ConfigurationError for anything else."""
    from packaging.utils import InvalidName, canonicalize_name  # noqa: PLC0415
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    package, separator, version = (part.strip() for part in what.partition("=="))
    if not (separator and package and version):
        raise ConfigurationError(
            f"{what!r} is no PACKAGE==VERSION, such as vllm==0.33.0, and no wheel's path or URL"
        )
    try:
        Version(version)
    except InvalidVersion as error:
        raise ConfigurationError(f"{version!r} is no version (write for example 0.33.0)") from error
    try:
        name = canonicalize_name(package, validate=True)
        if max(len(name), len(version)) <= _LONGEST:
            return name, version
    except InvalidName as error:
        raise ConfigurationError(f"{package!r} is no name of a package") from error
    raise ConfigurationError(f"{what[:40]!r}… is no name of a package: it is too long")


def _from_ledger(
    package: str,
    version: str,
    machine: str,
    configuration: Configuration,
    folder: Path | None,
) -> WheelEvidence | None:
    """Return the ledger's record of a release, and say so; None without one by today's rules."""
    from matrix.ledger import FOLDER, Ledger  # noqa: PLC0415
    from matrix.rules import rules_digest  # noqa: PLC0415

    record = Ledger(folder or FOLDER).find(package, version, machine)
    if record is None:
        return None
    today = rules_digest(package, record.version, configuration.capabilities, configuration.gates)
    if record.rules != today:
        click.echo(
            "the ledger's record is from before a change of the data; reading again", err=True
        )
        return None
    click.echo(f"from the ledger, measured {record.measured}; --no-ledger reads again", err=True)
    return record


def _release(
    package: str,
    version: str,
    machine: str | None,
    folder: Path | None,
    configuration: Configuration,
) -> WheelEvidence:
    """Read the wheel that pip would choose, from the index or a folder."""
    from matrix.evidence.index import Index  # noqa: PLC0415
    from matrix.evidence.wheelfile import choose, in_folder  # noqa: PLC0415

    rules = configuration.capabilities.packages
    tags = next((rule.python_tags for rule in rules if rule.package == package), ("cp312",))
    asked = machine or MACHINES[0]
    index = Index.from_environment()
    files = in_folder(folder) if folder else index.files(package)
    file = choose(files, package, version, asked, tags)
    return _read(file, index, configuration)


def _single(what: str, machine: str | None, configuration: Configuration) -> WheelEvidence:
    """Read the wheel at a URL or path."""
    from matrix.evidence.index import Index  # noqa: PLC0415
    from matrix.evidence.transport import split_login  # noqa: PLC0415
    from matrix.origin import from_path, from_url  # noqa: PLC0415

    # The settings that the user gave pip (proxy, CA, logins) hold for any URL.
    index = Index.from_environment()
    if "://" in what:
        url, login = split_login(what)
        if login:
            index.session.login(*login)
        file = from_url(url)
    else:
        file = from_path(Path(what))
    _agree(file, machine)
    return _read(file, index, configuration)


def _installed(
    what: str, place: Path, machine: str | None, configuration: Configuration
) -> WheelEvidence:
    """Read an installed distribution; a version, where given, must be the installed one."""
    from packaging.version import Version  # noqa: PLC0415

    from matrix.evidence.audit import audit as read_wheel  # noqa: PLC0415
    from matrix.evidence.wheel import Wheel  # noqa: PLC0415
    from matrix.origin import installed, site_packages  # noqa: PLC0415

    package, version = _requirement(what) if "==" in what else (what, "")
    folder = site_packages(place, package)
    with Wheel.open_installed(folder, package) as wheel:
        file = installed(wheel, folder)
        if version and Version(version) != Version(file.version):
            raise ConfigurationError(f"{package} {file.version} is installed in {folder}")
        _agree(file, machine)

        def read(file: WheelFile, watch: Watch) -> WheelEvidence:
            known = configuration.capabilities
            return read_wheel(wheel, file, known, configuration.gates, progress=watch.read)

        return _watched(file, read)


def _agree(file: WheelFile, machine: str | None) -> None:
    if machine and file.machine not in (machine, "any"):
        raise ConfigurationError(f"{file.filename} is for {file.machine}, not for {machine}")


def _read(file: WheelFile, index: Index, configuration: Configuration) -> WheelEvidence:
    from functools import partial  # noqa: PLC0415

    from matrix.measurement import measure  # noqa: PLC0415

    read = partial(measure, index.session, configuration.capabilities, configuration.gates)
    return _watched(file, read)


def _watched(file: WheelFile, read: Measure) -> WheelEvidence:
    """Read one wheel in a thread of its own; Ctrl-C ends it at once."""
    from matrix.measurement import measured  # noqa: PLC0415
    from reports.progress import progress  # noqa: PLC0415

    with progress(1) as told:
        ((_, outcome),) = measured([file], read, jobs=1, progress=told)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
