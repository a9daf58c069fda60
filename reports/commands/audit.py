"""`nvfp4-matrix audit`: read one published wheel."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import MACHINES

if TYPE_CHECKING:
    from matrix.configuration import Configuration
    from matrix.evidence.record import WheelEvidence

EXAMPLES = """\b
Examples:
  nvfp4-matrix audit vllm==0.33.0
  nvfp4-matrix audit vllm==0.33.0 --machine aarch64 --json
"""


@click.command(epilog=EXAMPLES)
@click.argument("requirement", metavar="PACKAGE==VERSION")
@click.option(
    "--machine", type=click.Choice(MACHINES), default="x86_64", show_default=True, help="CPU."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def audit(requirement: str, machine: str, *, as_json: bool) -> None:
    """Read one published wheel: which kernels it holds and what it claims, on every target."""
    import msgspec  # noqa: PLC0415

    from matrix.configuration import Configuration  # noqa: PLC0415

    package, separator, version = requirement.partition("==")
    if not (separator and package.strip() and version.strip()):
        raise ConfigurationError(f"{requirement!r} is no PACKAGE==VERSION, such as vllm==0.33.0")
    configuration = Configuration()
    evidence = _measure(package.strip(), version.strip(), machine, configuration)
    told = summary(evidence, configuration)
    if as_json:
        click.echo(msgspec.json.encode(told).decode())
        return
    share = f"{evidence.bytes_fetched / 1e6:.0f} of {evidence.bytes_total / 1e6:.0f} MB read"
    click.echo(f"{evidence.filename}  ({share})")
    width = max(len(name) for name in told["capabilities"])
    for capability, targets in told["capabilities"].items():
        click.echo(f"\n{capability:<{width}}  compiled  declared  kernels  images")
        for target, state in targets.items():
            images = " ".join(state["images"])
            click.echo(
                f"  {target:<{width - 2}}  {state['compiled']:<8}  {state['declared']:<8}  "
                f"{state['kernels']:>7}  {images}".rstrip()
            )


def summary(evidence: WheelEvidence, configuration: Configuration) -> dict[str, Any]:
    """Tell one wheel's lamps for every capability and target, as `audit --json` prints them."""
    from matrix.compiled import compiled  # noqa: PLC0415
    from matrix.declared import declared  # noqa: PLC0415

    known = configuration.capabilities
    capabilities = {
        capability.name: {
            target.name: {
                "compiled": state.compiled,
                "declared": declared(evidence.gates, capability.name, target.capability),
                "images": list(state.images),
                "kernels": state.kernels,
                "pieces": state.pieces,
            }
            for target in configuration.targets
            for state in [compiled(evidence, capability.name, target.capability, known.pieces)]
        }
        for capability in known.capabilities
    }
    return {
        "package": evidence.package,
        "version": evidence.version,
        "machine": evidence.machine,
        "filename": evidence.filename,
        "sha256": evidence.sha256,
        "bytes_total": evidence.bytes_total,
        "bytes_fetched": evidence.bytes_fetched,
        "capabilities": capabilities,
    }


def _measure(
    package: str, version: str, machine: str, configuration: Configuration
) -> WheelEvidence:
    """Read the wheel that pip would choose, with a line of progress on a terminal."""
    from packaging.utils import canonicalize_name  # noqa: PLC0415
    from packaging.version import InvalidVersion  # noqa: PLC0415

    from matrix.evidence.audit import audit as read_wheel  # noqa: PLC0415
    from matrix.evidence.index import Index  # noqa: PLC0415
    from matrix.evidence.wheel import Wheel  # noqa: PLC0415

    def progress(name: str) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r\033[K  reading {click.format_filename(name)}", nl=False, err=True)

    index = Index.from_environment()
    try:
        file = index.find(canonicalize_name(package), version, machine)
    except InvalidVersion as error:
        raise ConfigurationError(f"{version!r} is no version") from error
    with Wheel.open_url(index.session, file.url, sha256=file.sha256) as wheel:
        evidence = read_wheel(
            wheel, file, configuration.capabilities, configuration.gates, progress=progress
        )
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
    return evidence
