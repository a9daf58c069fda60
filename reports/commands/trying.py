"""`nvfp4-matrix try`: a stack with a pull request that no release has, and the plan to probe it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.vocabulary import MACHINES
from reports.clock import now

if TYPE_CHECKING:
    pass

EXAMPLES = """\b
Examples:
  nvfp4-matrix try 'vllm#35947' --on vllm==0.33.0
  nvfp4-matrix try 'flashinfer#2598' --on vllm==0.33.0 --target sm121 --output patched.yaml
  nvfp4-matrix build vllm-0.33.0-with-vllm-35947 --stacks patched.yaml --base …
"""


@click.command("try", epilog=EXAMPLES)
@click.argument("request", metavar="PACKAGE#NUMBER")
@click.option(
    "--on", "stack", required=True, metavar="STACK", help="The stack that it is tried on."
)
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="sm120, sm121, …")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the stack there, for `build --stacks`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print stack and plan as one JSON object.")
def trying(
    *, request: str, stack: str, targets: tuple[str, ...], output: Path | None, as_json: bool
) -> None:
    """Write a stack with an upstream pull request merged onto what it pins, and the jobs that would probe it.

    Nothing is fetched: `build` merges the request, and says where it conflicts.
    """
    import msgspec  # noqa: PLC0415

    from matrix.evidence.lockfile import check_place  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.namedstack import found  # noqa: PLC0415
    from matrix.plan import plan  # noqa: PLC0415
    from matrix.planned import handed_on  # noqa: PLC0415
    from matrix.stackedit import written  # noqa: PLC0415
    from matrix.trial import asked, patched  # noqa: PLC0415
    from matrix.wholefile import write  # noqa: PLC0415
    from reports.planlist import text  # noqa: PLC0415

    if output:
        check_place(output)
    knowledge = Knowledge.load()
    package, number = asked(request, knowledge.configuration)
    named = found(stack, knowledge.stacks, or_pin=True)
    machine = next(
        (m for m in MACHINES if knowledge.resolve(named, m).version(package)), MACHINES[0]
    )
    resolved = knowledge.resolve(named, machine)
    plain = knowledge.resolve(replace(named, extras=()), machine)
    made = patched(named, resolved, package, number, without_extras=plain)
    gpus = [target.name for target in knowledge.configuration.targets if target.fp4]
    holding = knowledge.holding([made])
    report = holding.report(generated="", stacks=[made.name], targets=targets or gpus)
    planned = plan(report)
    yaml = written(
        made, f"{named.name} with pull request {number} of {package}, to be built from source."
    )
    if output:
        write(output, yaml.encode())
        click.echo(f"{output}: stack {made.name}", err=True)
    if as_json:
        told = {"stack": made, "plan": handed_on(planned, when=now())}
        click.echo(msgspec.json.encode(told).decode())
    elif output:
        click.echo(text(planned, report), nl=False)
    else:  # one file that is a stack, and says in comments what it costs to probe
        click.echo(yaml, nl=False)
        click.echo(
            "".join(f"# {line}".rstrip() + "\n" for line in text(planned, report).splitlines()),
            nl=False,
        )
