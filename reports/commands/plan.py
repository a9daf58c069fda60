"""`nvfp4-matrix plan`: jobs for GPU runners, and what is not worth one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from matrix.errors import ConfigurationError, NotFoundError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment
from reports.executed import kept

if TYPE_CHECKING:
    from matrix.knowledge import Knowledge
    from matrix.plan import Plan
    from matrix.target import Target

GITHUB_JOBS: Final = 256
"""Most jobs that GitHub Actions makes of one matrix (GitHub's documentation, "Usage limits")."""

EXAMPLES = """\b
Examples:
  nvfp4-matrix plan                                  the newest stack, every GPU with FP4
  nvfp4-matrix plan --target sm121 --capability gemm --capability moe
  nvfp4-matrix plan --stack 'vllm>=0.20' --machine aarch64 --environment devel
  nvfp4-matrix plan --target sm90                    the control, only when asked for
  nvfp4-matrix plan --json > plan.json

\b
In a workflow, with the JSON as output `plan` of an earlier job:
  strategy:
    matrix:
      include: ${{ fromJSON(needs.plan.outputs.plan).include }}
  runs-on: ${{ matrix.runs_on }}
"""


@click.command(epilog=EXAMPLES)
@click.option("--stack", "stacks", multiple=True, metavar="STACK", help="Name, or a range of them.")
@click.option("--target", "targets", multiple=True, metavar="TARGET", help="sm120, sm121, …")
@click.option("--machine", "machines", multiple=True, type=click.Choice(MACHINES), help="CPU.")
@click.option(
    "--capability", "capabilities", multiple=True, metavar="CAPABILITY", help="gemm, moe, …"
)
@click.option(
    "--environment",
    "environments",
    multiple=True,
    type=click.Choice(ENVIRONMENTS),
    help="slim: what pip installs; devel: plus nvcc and ninja.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="What was executed, if not from the default folder.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(
    *,
    stacks: tuple[str, ...],
    targets: tuple[str, ...],
    machines: tuple[str, ...],
    capabilities: tuple[str, ...],
    environments: tuple[Environment, ...],
    folder: Path | None,
    as_json: bool,
) -> None:
    """Plan jobs for GPU runners: stack x target x machine, and what to probe in each.

    What is known to be incomplete is not sent to a runner; the plan says why. Without --stack it is for the
    newest one; without --target for every GPU that has FP4 hardware.
    """
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.plan import plan as planned  # noqa: PLC0415
    from reports.planlist import text  # noqa: PLC0415

    knowledge = Knowledge.load()
    gpus = _gpus(knowledge, targets, machines)
    chosen = stacks or (_newest(knowledge),)
    report = knowledge.report(
        generated="",
        stacks=chosen,
        targets=[gpu.name for gpu in gpus],
        machines=machines,
        environments=environments,
        capabilities=capabilities,
        executed=(ran := kept(folder)),
    )
    if not stacks:
        click.echo(f"planning {chosen[0]}, the newest stack; --stack chooses others", err=True)
    made = planned(report, controls={gpu.name for gpu in gpus if not gpu.fp4}, usual=ran.usual)
    click.echo(_json(made) if as_json else text(made, report), nl=False)
    count = len(made.jobs)
    if not count:
        click.echo("nvfp4-matrix: no job: every cell is pruned", err=True)
    if count > GITHUB_JOBS:
        click.echo(
            f"nvfp4-matrix: {count} jobs, and GitHub runs {GITHUB_JOBS} of one matrix at most: "
            "narrow the plan with --stack, --target or --machine",
            err=True,
        )


def _newest(knowledge: Knowledge) -> str:
    """Name the newest stack. Raises NotFoundError where there is none."""
    if not knowledge.stacks:
        raise NotFoundError("there is no stack to plan for: the ledger holds no wheel of one")
    return knowledge.stacks[0].name


def _gpus(knowledge: Knowledge, asked: Sequence[str], machines: Sequence[str]) -> list[Target]:
    """Pick the targets that are planned for. Raises ConfigurationError where no machine fits one."""
    configuration = knowledge.configuration
    if asked:
        gpus = [configuration.target(name) for name in dict.fromkeys(asked)]
    else:
        gpus = [gpu for gpu in configuration.targets if gpu.fp4]
    if machines and not any(machine in gpu.machines for gpu in gpus for machine in machines):
        exist = "; ".join(f"{gpu.name} exists with {' and '.join(gpu.machines)}" for gpu in gpus)
        raise ConfigurationError(f"no such machine: {exist} only")
    return gpus


def _json(made: Plan) -> str:
    import msgspec  # noqa: PLC0415

    return msgspec.json.encode(output(made)).decode() + "\n"


def output(made: Plan) -> dict[str, Any]:
    """Tell the plan as one object: `include` is what GitHub takes, one entry a job."""
    from matrix.plan import labels  # noqa: PLC0415

    include = [
        {
            "stack": job.stack,
            "target": job.target,
            "machine": job.machine,
            "environments": list(job.cells),
            "capabilities": list(dict.fromkeys(n for names in job.cells.values() for n in names)),
            "cells": job.cells,
            "runs_on": labels(job),
            "seconds": job.seconds,
        }
        for job in made.jobs
    ]
    return {"include": include, "pruned": made.pruned}
