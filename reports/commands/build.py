"""`nvfp4-matrix build`: a stack becomes a container image, which is audited and asked right away."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from matrix.vocabulary import ENVIRONMENTS, MACHINES

EXAMPLES = """\b
Examples:
  nvfp4-matrix build vllm==0.33.0 --base ubuntu@sha256:…
  nvfp4-matrix build vllm==0.33.0 --base nvidia/cuda@sha256:… --environment devel
  nvfp4-matrix build mine --stacks my-stacks.yaml --base sha256:… --python 3.11
  nvfp4-matrix build vllm==0.33.0 --base ubuntu@sha256:… --target sm121 --json
  nvfp4-matrix build 'vllm@main + #35947' --base ubuntu@sha256:… --builder nvidia/cuda@sha256:…
  nvfp4-matrix build vllm==0.33.0 --base ubuntu@sha256:… --push registry.example/stacks
  nvfp4-matrix build vllm==0.33.0 --lock-only --machine aarch64
"""
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(epilog=EXAMPLES)
@click.argument("stack", metavar="STACK")
@click.option(
    "--base",
    metavar="IMAGE@DIGEST",
    envvar="NVFP4_MATRIX_BASE",
    show_envvar=True,
    help="The image that it stands on, by digest.",
)
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
@click.option(
    "--builder",
    metavar="IMAGE@DIGEST",
    help="Where source is built: with nvcc, for CUDA; else the base.",
)
@click.option(
    "--arch-list",
    default="",
    metavar="LIST",
    help="Architectures of a source build; else the targets'.",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Compilers at a time; else by memory."
)
@click.option(
    "--lock-only", is_flag=True, help="Make and keep the lock alone: no engine, and any --machine."
)
@click.option("--relock", is_flag=True, help="Resolve again, whatever lock is kept.")
@click.option(
    "--stacks", type=_FILE, metavar="FILE", help="More stacks by hand, as stacks.yaml has them."
)
@click.option(
    "--kept", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where locks and what was found are kept.",
)  # fmt: skip
@click.option("--push", metavar="HOST/NAME[:TAG]", help="Push it there [TAG: its fingerprint].")
@click.option(
    "--pull-from",
    metavar="HOST/NAME",
    help="Take it from there, if it is there, instead of building it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def build(*, as_json: bool, lock_only: bool, **options: Any) -> None:
    """Build an image of a stack, from published wheels or from commits, and see what is in it.

    The whole tree is locked with hashes first, and the lock is kept. An image that is there is not built again.
    """
    import msgspec  # noqa: PLC0415

    from reports.image import render, render_lock  # noqa: PLC0415
    from reports.stackimage import image, locked  # noqa: PLC0415

    lock = locked(**options) if lock_only else None
    report = None if lock else image(**options)
    if as_json:
        click.echo(msgspec.json.encode(lock or report).decode())
    elif lock:
        click.echo(render_lock(lock), nl=False)
    elif report:
        click.echo(render(report), nl=False)
    sys.exit(1 if report and report.differences else 0)
