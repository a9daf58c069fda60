"""`nvfp4-matrix select`: ask an installed stack which kernels it would choose."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from matrix.vocabulary import ENVIRONMENTS, Environment

if TYPE_CHECKING:
    from matrix.cell import Report
    from matrix.knowledge import Knowledge
    from matrix.selection import Selection
    from matrix.target import Target

EXAMPLES = """\b
Examples:
  nvfp4-matrix select --python .venv
  nvfp4-matrix select --python .venv/bin/python --target sm121 --candidates
  nvfp4-matrix select --python .venv --json > selection.json
  nvfp4-matrix select --install 0.33.0
  nvfp4-matrix select --install 0.33.0 --keep
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--python",
    "place",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A Python or its environment, with vLLM in it; else the active one.",
)
@click.option(
    "--install",
    "release",
    metavar="VERSION",
    help="Ask this vLLM release, installed by uv for as long as it takes: 14 GB, some minutes.",
)
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="sm120, sm121, …")
@click.option(
    "--environment",
    "environments",
    multiple=True,
    type=click.Choice(ENVIRONMENTS),
    help="slim: what pip installs; devel: plus nvcc and ninja.",
)
@click.option(
    "--cubins",
    type=click.Choice(["ask", "reachable", "unreachable"]),
    help="Whether NVIDIA's repository of cubins can be reached; ask it [default], with --keep reachable.",
)
@click.option("--candidates", is_flag=True, help="Tell what every candidate said.")
@click.option(
    "--keep", is_flag=True, help="Keep it in the ledger: only of a release with its own pins."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def select(
    *,
    place: Path | None,
    release: str | None,
    targets: tuple[str, ...],
    environments: tuple[Environment, ...],
    cubins: str | None,
    candidates: bool,
    keep: bool,
    as_json: bool,
) -> None:
    """Tell which kernels an installed vLLM would choose on each target, without a GPU.

    Nothing is installed there and nothing in it is changed.
    """
    from datetime import UTC, datetime  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    from matrix import kept  # noqa: PLC0415
    from matrix.errors import ToolError  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.selection import question, selection  # noqa: PLC0415
    from reports.selection import render  # noqa: PLC0415

    if keep and (targets or environments or cubins in ("ask", "unreachable")):
        raise click.UsageError("--keep is for every target in both environments, cubins reachable")
    if place and release:
        raise click.UsageError("--python and --install exclude each other")
    knowledge = Knowledge.load()
    asked = [knowledge.configuration.target(name) for name in dict.fromkeys(targets)]
    gpus = [t for t in knowledge.configuration.targets if t in asked or not asked]
    stated = cubins or ("reachable" if keep else "ask")
    jobs = min(os.cpu_count() or 1, 8)
    request = question(gpus, environments or ENVIRONMENTS, stated, knowledge.packages, jobs)
    told, who = _asked_fresh(release, request) if release else _asked(place, request)
    day = datetime.now(UTC).date().isoformat()
    try:
        made = selection(told, gpus, knowledge.configuration.paths.paths, day)
    except msgspec.ValidationError as error:
        raise ToolError(f"{who} gave an answer of another shape: {error}") from error
    pins = _pins(made, knowledge)
    made = kept.compared(_contradicted(made, gpus, knowledge), pins)
    if keep:
        click.echo(f"kept: {kept.keep(made, pins)}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(made).decode())
    else:
        width = min(shutil.get_terminal_size((100, 24)).columns, 120)
        click.echo(render(made, candidates=candidates, width=width), nl=False)


def _asked(place: Path | None, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Return what an installed stack told, and who that was."""
    from matrix.evidence.interpreter import ask, interpreter  # noqa: PLC0415

    python = interpreter(place)
    return ask(python, request), str(python)


def _asked_fresh(release: str, request: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """Install a release, return what it told, and who that was; nothing of it stays."""
    from matrix.evidence.fresh import ROOM, fresh  # noqa: PLC0415

    requirement = f"vllm=={_version(release)}"
    click.echo(f"installing {requirement}: needs {ROOM / 1e9:.0f} GB for now", err=True)
    with fresh(requirement) as made:
        size = f"{made.size / 1e9:.1f} GB in {made.seconds:.0f} s"
        click.echo(f"installed {requirement}: {size}; asking", err=True)
        told, _ = _asked(made.python, request)
    return told, requirement


def _version(release: str) -> str:
    from packaging.version import InvalidVersion, Version  # noqa: PLC0415

    try:
        return str(Version(release.removeprefix("vllm==")))
    except InvalidVersion as error:
        raise click.UsageError(f"--install takes a version of vLLM, not {release!r}") from error


def _pins(made: Selection, knowledge: Knowledge) -> dict[str, str]:
    """Return what the same release brings on that machine; nothing where the ledger has no such release."""
    name, version = f"vllm=={made.packages['vllm']}", made.packages["vllm"]
    if knowledge.published.record("vllm", version, made.machine) is None:
        return {}
    for named in knowledge.stacks:
        if named.name == name:
            return {p.package: p.version for p in knowledge.resolve(named, made.machine).pins}
    return {}


def _contradicted(made: Selection, gpus: Sequence[Target], knowledge: Knowledge) -> Selection:
    from matrix.conflict import contradicted  # noqa: PLC0415

    return contradicted(made, gpus, _published(made, gpus, knowledge))


def _published(made: Selection, gpus: Sequence[Target], knowledge: Knowledge) -> Report | None:
    """Return what is known of the same release as published; None where it is unknown, or pinned otherwise."""
    name = f"vllm=={made.packages['vllm']}"
    if name not in {stack.name for stack in knowledge.stacks}:
        return None
    report = knowledge.report(generated="", stacks=[name], targets=[gpu.name for gpu in gpus])
    for pins in report.stacks[0].pins.values():
        for package, version in made.packages.items():
            if pins.get(package, version) != version.partition("+")[0]:
                return None
    return report
