"""`nvfp4-matrix import`: make results of what somebody measured and posted."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment, Machine
from reports.clock import now
from reports.text import plain

if TYPE_CHECKING:
    from matrix.intake import Given
    from matrix.runs.reading import Log

EXAMPLES = """\b
Examples:
  nvfp4-matrix import serve-nvfp4.txt serve-awq.txt --stack vllm==0.33.0 --target sm121
  nvfp4-matrix import native=a.txt baseline=b.txt --stack 'vLLM main of November 2025' --target sm121
  nvfp4-matrix import native=server.log native=bench.json baseline=awq.json --stack S --target sm120
  vllm bench serve … | nvfp4-matrix import - --stack vllm==0.33.0 --target sm121
"""


@click.command(name="import", epilog=EXAMPLES)
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--stack", required=True, metavar="STACK", help="A stack's name, or any text.")
@click.option("--target", required=True, metavar="TARGET", help="sm120, sm121, …")
@click.option(
    "--machine", type=click.Choice(MACHINES), help="CPU, where the target exists with both."
)
@click.option(
    "--environment", type=click.Choice(ENVIRONMENTS), help="Where it ran, if that is known."
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, a line a result.")
def importing(
    *,
    files: tuple[str, ...],
    stack: str,
    target: str,
    machine: Machine | None,
    environment: Environment | None,
    folder: Path | None,
    as_json: bool,
) -> None:
    """Keep what somebody measured as results, and print them.

    FILE is what `vllm bench serve` prints or saves, vLLM's log, or FlashInfer's benchmark CSV; `-` is standard
    input. A pair of an NVFP4 run and another format's of the same load gives a ratio. Who is who shows in
    the file's name (nvfp4; awq, gptq, bf16, fp8, …) or is told: native=FILE, baseline=FILE.
    """
    import msgspec  # noqa: PLC0415

    from matrix.configuration import Configuration  # noqa: PLC0415
    from matrix.intake import Place, intake, roles, unpaired  # noqa: PLC0415
    from matrix.journal import Journal  # noqa: PLC0415
    from matrix.result import unfit_name  # noqa: PLC0415

    if fault := unfit_name(stack):
        raise ConfigurationError(f"--stack: the name {fault}")
    gpu = Configuration().target(target)
    place = Place(stack, gpu.name, _machine(machine, gpu.name, gpu.machines), environment or "")
    given = roles(files)
    logs = [_read(one) for one in given]
    results = intake(logs, place, when=now())
    Journal(folder).append(results)
    for name in unpaired(logs, results):
        click.echo(f"{plain(name)}: no NVFP4 run is of the same load; not used", err=True)
    if as_json:
        for result in results:
            click.echo(msgspec.json.encode(result).decode())
    else:
        from reports.resultlist import render  # noqa: PLC0415

        width = shutil.get_terminal_size((100, 24)).columns
        click.echo(render(results, width=width), nl=False)


def _machine(
    asked: Machine | None, target: str, machines: Sequence[Machine]
) -> Literal["x86_64", "aarch64"]:
    """Choose the machine. Raises ConfigurationError where it is not told, or the target has no such."""
    if asked is None and len(machines) == 1:
        return machines[0]
    if asked is None:
        raise ConfigurationError(
            f"{target} exists with {' and '.join(machines)}: say which with --machine"
        )
    if asked not in machines:
        raise ConfigurationError(f"{target} exists with {' and '.join(machines)} only")
    return asked


def _read(given: Given) -> Log:
    """Read one file. Raises ConfigurationError where it cannot be read."""
    from matrix.runs.reading import read  # noqa: PLC0415

    if given.path == "-":
        return read(sys.stdin.buffer, "standard input", given.role)
    path = Path(given.path)
    try:
        with path.open("rb") as file:
            return read(file, path.name, given.role)
    except (OSError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) else str(error)
        raise ConfigurationError(f"{given.path}: {told}") from error
