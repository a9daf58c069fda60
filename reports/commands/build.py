"""`nvfp4-matrix build`: a stack becomes a container image, which is audited and asked right away."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment, Machine

if TYPE_CHECKING:
    from images.locks import Ask
    from matrix.evidence.lockfile import Lock
    from matrix.evidence.pipconfig import PipConfig
    from matrix.image import ImageReport
    from matrix.knowledge import Knowledge
    from matrix.namedstack import NamedStack

EXAMPLES = """\b
Examples:
  nvfp4-matrix build vllm==0.33.0 --base ubuntu@sha256:…
  nvfp4-matrix build vllm==0.33.0 --base nvidia/cuda@sha256:… --environment devel
  nvfp4-matrix build mine --stacks my-stacks.yaml --base sha256:… --python 3.11
  nvfp4-matrix build vllm==0.33.0 --base ubuntu@sha256:… --target sm121 --json
"""
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=EXAMPLES)
@click.argument("stack", metavar="STACK")
@click.option("--base", metavar="IMAGE@DIGEST", help="The image that it stands on, by digest.")
@click.option("--target", metavar="TARGET", help="For this GPU: sm120, sm121, …")
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    default="slim",
    show_default=True,
    help="slim: what pip installs; devel: plus ninja, on a base with nvcc.",
)
@click.option("--machine", type=click.Choice(MACHINES), help="CPU; the engine's own otherwise.")
@click.option("--python", metavar="X.Y", help="Python of the image [default: 3.12].")
@click.option("--ca-bundle", type=_FILE, metavar="FILE", help="Certificates, for the build alone.")
@click.option(
    "--index",
    "indexes",
    multiple=True,
    metavar="URL",
    help="Index; further ones are extra. Else pip's.",
)
@click.option(
    "--override", "overrides", multiple=True, metavar="REQUIREMENT", help="For the lock: wins."
)
@click.option("--relock", is_flag=True, help="Resolve again, whatever lock is kept.")
@click.option(
    "--stacks", type=_FILE, metavar="FILE", help="More stacks by hand, as stacks.yaml has them."
)
@click.option(
    "--kept", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where locks and what was found are kept.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def build(*, as_json: bool, **options: Any) -> None:
    """Build an image of a stack from published wheels, and see what is in it.

    The whole tree is locked with hashes first, and the lock is kept. An image that is there is not built again.
    """
    import msgspec  # noqa: PLC0415

    from reports.image import render  # noqa: PLC0415

    report = image(**options)
    if as_json:
        click.echo(msgspec.json.encode(report).decode())
    else:
        click.echo(render(report), nl=False)
    sys.exit(1 if report.differences else 0)


def image(
    *,
    stack: str,
    base: str | None,
    target: str | None,
    environment: Environment,
    machine: Machine | None,
    python: str | None,
    ca_bundle: Path | None,
    indexes: tuple[str, ...],
    overrides: tuple[str, ...],
    relock: bool,
    stacks: Path | None,
    kept: Path | None,
) -> ImageReport:
    """Return what is known of a stack's image, which is built where it is not there: what the options of `build` say."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from images import build as work  # noqa: PLC0415
    from images import locks, recipe  # noqa: PLC0415
    from images.context import pip_conf, reachable, settled  # noqa: PLC0415
    from images.engine import Engine  # noqa: PLC0415
    from matrix.derive import PYTHON  # noqa: PLC0415
    from matrix.evidence.lock import wanted  # noqa: PLC0415
    from matrix.evidence.pipconfig import read_pip_config  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415

    if base is None:
        raise ConfigurationError("say on which image it stands, by digest: --base IMAGE@sha256:…")
    recipe.check_base(base)
    recipe.check_python(python := python or PYTHON)
    knowledge = Knowledge.load()
    named = _named(stack, stacks, knowledge)
    asking = wanted(named.pins, named.extras, overrides)
    config = settled(reachable(read_pip_config()), indexes, str(ca_bundle or ""))
    pip_conf(config)  # what a container could not be told is told before anything is done
    with Engine.connect() as engine:
        cpu = _machine(knowledge, target, machine, engine.machine)
        asked = locks.ask(named.name, asking, machine=cpu, python=python, environment=environment)
        folder = kept or work.FOLDER

        def resolve() -> Lock:
            _tell(f"locking {named.name} for {cpu}, Python {python}")
            return _resolved(asked, config)

        lock = locks.found(asked, folder / "locks", resolve, again=relock)
        made = recipe.recipe(
            lock, stack=named.name, machine=cpu, environment=environment, python=python, base=base
        )
        order = work.Order(
            recipe=made,
            lead=named.lead[0],
            target=target or "",
            lock=folder / "locks" / asked.filename,
            folder=folder / recipe.fingerprint(made)[:20],
            when=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        )
        return work.ready(order, engine) or work.make(
            order, engine, knowledge, config=config, environment=os.environ, tell=_tell
        )


def _tell(line: str) -> None:
    from reports.text import plain  # noqa: PLC0415

    click.echo(plain(line, limit=160), err=True)


def _named(name: str, file: Path | None, knowledge: Knowledge) -> NamedStack:
    """Find the stack, those of a file first."""
    from matrix.document import load, nearest  # noqa: PLC0415
    from matrix.namedstack import NamedStack  # noqa: PLC0415
    from matrix.stack import StacksFile  # noqa: PLC0415

    written = load(file, StacksFile).written if file else ()
    theirs = [NamedStack(w.name, dict(w.pins), (), w.note) for w in written if w.pins]
    every = (*theirs, *knowledge.stacks)
    for each in every:
        if each.name == name:
            return each
    raise ConfigurationError(
        f"unknown stack {name!r}{nearest(name, [each.name for each in every])}"
    )


def _machine(
    knowledge: Knowledge, target: str | None, asked: Machine | None, engine: Machine
) -> Machine:
    """Settle for which CPU it is: the engine's. Raises ConfigurationError where another one is wanted."""
    if asked and asked != engine:
        raise ConfigurationError(
            f"--machine {asked}: the Docker engine here is {engine}; build it on a machine of that kind"
        )
    if target is not None:
        gpu = knowledge.configuration.target(target)
        if engine not in gpu.machines:
            raise ConfigurationError(
                f"{gpu.name} exists with {' and '.join(gpu.machines)} only, and the Docker engine here is "
                f"{engine}: build it on such a machine"
            )
    return engine


def _resolved(asked: Ask, config: PipConfig) -> Lock:
    from matrix.evidence.lock import resolve  # noqa: PLC0415

    return resolve(asked.wanted, machine=asked.machine, python=asked.python, config=config)
