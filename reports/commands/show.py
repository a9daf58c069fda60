"""`nvfp4-matrix show`: everything that is known, as a matrix."""

from __future__ import annotations

import shutil
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import click

from matrix.errors import ConfigurationError, OutsideError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment
from reports.clock import now
from reports.executed import kept

if TYPE_CHECKING:
    from matrix.cell import Report
    from matrix.knowledge import Knowledge

Form = Literal["text", "markdown", "html", "json"]
FORMS: Final[tuple[Form, ...]] = ("text", "markdown", "html", "json")

EXAMPLES = """\b
Examples:
  nvfp4-matrix show                                  dense GEMM and MoE, all releases
  nvfp4-matrix show --target sm121 --capability gemm
  nvfp4-matrix show --stack vllm==0.11.0 --target sm120 --capability gemm
  nvfp4-matrix show --stack 'vllm>=0.30' --format markdown
  nvfp4-matrix show --format html --output matrix.html
"""


@click.command(epilog=EXAMPLES)
@click.option("--stack", "stacks", multiple=True, metavar="STACK", help="Name, or a range of them.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="sm120, sm121, …")
@click.option("--machine", "machines", multiple=True, type=click.Choice(MACHINES), help="CPU.")
@click.option(
    "--environment",
    "environments",
    multiple=True,
    type=click.Choice(ENVIRONMENTS),
    help="slim: what pip installs; devel: plus nvcc and ninja.",
)
@click.option(
    "--capability", "capabilities", multiple=True, metavar="CAPABILITY", help="gemm, moe, …"
)
@click.option("--all", "everything", is_flag=True, help="Every capability and target.")
@click.option("--evidence", is_flag=True, help="Print each cell's evidence (text).")
@click.option(
    "--format", "form", type=click.Choice(FORMS), default="text", show_default=True, help="How."
)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write to a file instead."
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was executed, if not from the default folder.",
)
def show(
    *,
    stacks: tuple[str, ...],
    targets: tuple[str, ...],
    machines: tuple[str, ...],
    environments: tuple[Environment, ...],
    capabilities: tuple[str, ...],
    everything: bool,
    evidence: bool,
    form: Form,
    output: Path | None,
    folder: Path | None,
) -> None:
    """Show what is known of every stack on every target. Reads nothing but what lies on this machine.

    Text and Markdown show gemm and moe, and serve where results are, on the GPUs that have FP4 hardware,
    unless others are named or --all; HTML and JSON hold everything.
    """
    from matrix.knowledge import Knowledge  # noqa: PLC0415

    if output is not None and not output.name:
        raise ConfigurationError(f"--output {str(output)!r} names no file")
    executed = kept(folder)
    knowledge = Knowledge.load()
    headline = [c.name for c in knowledge.configuration.capabilities.capabilities if c.headline]
    brief = not everything and form in ("text", "markdown")
    if brief and not capabilities:
        capabilities = tuple(headline)
    if brief and not targets:
        targets = tuple(target.name for target in knowledge.configuration.targets if target.fp4)
    report = knowledge.report(
        generated=now(),
        stacks=stacks,
        targets=targets,
        machines=machines,
        environments=environments,
        capabilities=capabilities,
        executed=executed,
    )
    text = _render(report, knowledge, form, evidence=evidence, to_file=output is not None)
    if output is None:
        click.echo(text, nl=not text.endswith("\n"))
    else:
        _write(output, text)


def _render(
    report: Report, knowledge: Knowledge, form: Form, *, evidence: bool, to_file: bool
) -> str:
    """Render in one form; only that form's libraries are imported."""
    headline = tuple(
        c.name for c in knowledge.configuration.capabilities.capabilities if c.headline
    )
    if form == "json":
        from reports import jsonfile  # noqa: PLC0415

        return jsonfile.render(report).decode()
    if form == "html":
        from reports import html  # noqa: PLC0415

        return html.render(report, headline=headline)
    if form == "markdown":
        from reports import markdown  # noqa: PLC0415

        return markdown.render(report, headline=headline)
    from reports import terminal  # noqa: PLC0415
    from reports.console import coloured  # noqa: PLC0415

    encoding = (sys.stdout.encoding or "ascii").lower().replace("-", "")
    return terminal.render(
        report,
        width=shutil.get_terminal_size((100, 24)).columns,
        colour=not to_file and coloured(),
        ascii_only=not to_file and encoding != "utf8",
        evidence=True if evidence else None,
    )


def _write(path: Path, text: str) -> None:
    """Write a file, behind a link where it is one, with the mode that it has."""
    from matrix.wholefile import write  # noqa: PLC0415

    try:
        path = path.resolve()
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    write(path, text.encode(), mode=mode)
