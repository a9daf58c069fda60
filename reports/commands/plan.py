"""`nvfp4-matrix plan`: jobs for GPU runners, and what is not worth one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.errors import ConfigurationError, NotFoundError
from matrix.vocabulary import ENVIRONMENTS, MACHINES, Environment
from reports.clock import now
from reports.executed import kept
from reports.workflow import several

if TYPE_CHECKING:
    from matrix.executed import Executed
    from matrix.knowledge import Knowledge
    from matrix.namedstack import NamedStack
    from matrix.plan import Plan
    from matrix.planned import PlanOutput
    from matrix.target import Target

_FILE = click.Path(dir_okay=False, path_type=Path)

EXAMPLES = """\b
Examples:
  nvfp4-matrix plan                                  the newest stack, every GPU with FP4
  nvfp4-matrix plan --target sm121 --capability gemm --capability moe
  nvfp4-matrix plan --stack 'vllm>=0.20' --machine aarch64 --environment devel
  nvfp4-matrix plan --stack 'vllm@main + #35947' --target sm121
  nvfp4-matrix plan --target sm90                    the control, only when asked for
  nvfp4-matrix plan --json > plan.json

\b
In a workflow (.github/workflows/run.yml), matrices of 256 jobs at most as output `chunks`:
  nvfp4-matrix plan --runners runners.json --output plan.json --github-output
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--stack", "stacks", multiple=True, metavar="STACK", help="Name, or a range; several by ;"
)
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
@click.option(
    "--proposed",
    type=_FILE,
    metavar="FILE",
    help="The stacks by hand of this file that are not ours, and no others: what a pull request proposes.",
)
@click.option(
    "--changed-since",
    "before",
    type=_FILE,
    metavar="FILE",
    help="stacks.yaml as it was: the newest stack, and those by hand that are not so there.",
)
@click.option(
    "--runners",
    type=_FILE,
    metavar="FILE",
    help="GitHub's list of self-hosted runners; jobs that none could take are told as missing.",
)
@click.option(
    "--elastic",
    multiple=True,
    metavar="TARGET",
    help="Its runners are started when a job comes, so that none need be there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--output", type=_FILE, metavar="FILE", help="Write that object to a file as well.")
@click.option("--github-output", is_flag=True, help="Add `chunks` and counts to $GITHUB_OUTPUT.")
def plan(
    *,
    stacks: tuple[str, ...],
    targets: tuple[str, ...],
    machines: tuple[str, ...],
    capabilities: tuple[str, ...],
    environments: tuple[Environment, ...],
    folder: Path | None,
    proposed: Path | None,
    before: Path | None,
    runners: Path | None,
    elastic: tuple[str, ...],
    as_json: bool,
    output: Path | None,
    github_output: bool,
) -> None:
    """Plan jobs for GPU runners: stack x target x machine, and what to probe in each.

    What is known to be incomplete is not sent to a runner; the plan says why. Without --stack it is for the
    newest one; without --target for every GPU that has FP4 hardware.
    """
    import msgspec  # noqa: PLC0415

    from matrix.chunk import MOST  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from matrix.namedstack import by_pin  # noqa: PLC0415
    from matrix.plan import plan as planned  # noqa: PLC0415
    from matrix.wholefile import write  # noqa: PLC0415
    from reports.planlist import text  # noqa: PLC0415

    stacks, targets = several(stacks), several(targets)
    pinned = {text: named for text in stacks if (named := by_pin(text))}
    stacks = tuple(pinned[text].name if text in pinned else text for text in stacks)
    theirs = (*(_proposed(proposed) if proposed else ()), *pinned.values())
    knowledge = Knowledge.load(theirs) if theirs else Knowledge.load()
    gpus = _gpus(knowledge, targets, machines)
    chosen = stacks or tuple(stack.name for stack in theirs) or (_newest(knowledge),)
    if before is not None and not stacks:
        chosen = (*chosen, *_changed(before, knowledge))
    report = knowledge.report(
        generated="",
        stacks=chosen,
        targets=[gpu.name for gpu in gpus],
        machines=machines,
        environments=environments,
        capabilities=capabilities,
        executed=(ran := kept(folder)),
    )
    if not stacks and not theirs:
        more = "".join(f" and {name}" for name in chosen[1:])
        click.echo(
            f"planning {chosen[0]}, the newest stack{more}; --stack chooses others", err=True
        )
    made = planned(report, controls={gpu.name for gpu in gpus if not gpu.fp4}, usual=ran.usual)
    handed, online = _attended(made, ran, runners, elastic)
    encoded = msgspec.json.encode(handed) + b"\n"
    click.echo(encoded.decode() if as_json else text(made, report), nl=False)
    if output is not None:
        write(output, encoded)
    if github_output:
        _github_output(made, handed, online, encoded)
    for line in _absences(handed):
        click.echo(f"nvfp4-matrix: {line}", err=True)
    if not made.jobs:
        click.echo("nvfp4-matrix: no job: every cell is pruned", err=True)
    elif not handed.include:
        click.echo("nvfp4-matrix: no job: no runner is there", err=True)
    if len(handed.include) > MOST and not github_output:
        click.echo(
            f"nvfp4-matrix: {len(handed.include)} jobs, and GitHub runs {MOST} of one matrix at most: "
            "--github-output splits them, --stack, --target and --machine narrow the plan",
            err=True,
        )


def _attended(
    made: Plan, ran: Executed, runners: Path | None, elastic: Sequence[str]
) -> tuple[PlanOutput, dict[tuple[str, str], int]]:
    """Take out of the plan what no runner could take; how many are online by target and machine, as far as known."""
    import msgspec  # noqa: PLC0415

    from matrix.planned import handed_on  # noqa: PLC0415
    from matrix.runner import attendance, read, since  # noqa: PLC0415

    when = now()
    if runners is None:
        return handed_on(made, when=when), {}
    try:
        listed = read(runners.read_bytes(), str(runners))
    except OSError as error:
        raise ConfigurationError(f"--runners {runners}: {error.strerror}") from error
    if listed is None:
        return handed_on(made, when=when), {}
    there = attendance(made.jobs, listed, elastic=several(elastic))
    why = {kind: (words, since(*kind, ran.results, when)) for kind, words in there.absent.items()}
    kept_jobs = msgspec.structs.replace(made, jobs=there.present)
    return handed_on(kept_jobs, when=when, away=there.away, why=why), there.online


def _absences(handed: PlanOutput) -> Iterator[str]:
    """Tell which runners are not there, a line a kind."""
    counts = Counter((job.target, job.machine, job.why, job.since) for job in handed.missing)
    for (target, machine, why, since), count in counts.items():
        yield f"missing: {target} {machine}: {why} since {since} ({count} job{'s' * (count != 1)})"


def _github_output(
    made: Plan, handed: PlanOutput, online: dict[tuple[str, str], int], encoded: bytes
) -> None:
    """Append what a workflow needs to the file that GitHub names.

    Raises ConfigurationError outside of a workflow, or where the plan is larger than an output may be.
    """
    import msgspec  # noqa: PLC0415

    from matrix.chunk import chunks, word  # noqa: PLC0415
    from reports.driving.planfile import digest  # noqa: PLC0415
    from reports.workflow import output  # noqa: PLC0415

    there = {job.id for job in handed.include}
    jobs = [job for job in made.jobs if word(job) in there]
    output(
        {
            "chunks": msgspec.json.encode(chunks(jobs, runners=online)).decode(),
            "digest": digest(encoded),
            "jobs": str(len(jobs)),
            "missing": str(len(handed.missing)),
        }
    )


def _proposed(file: Path) -> tuple[NamedStack, ...]:
    """Read what a pull request proposes. Raises ConfigurationError where it proposes nothing."""
    from matrix.configuration import Configuration  # noqa: PLC0415
    from matrix.namedstack import by_hand  # noqa: PLC0415
    from matrix.proposal import proposal  # noqa: PLC0415

    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file}: cannot be read ({type(error).__name__})") from error
    ours = Configuration()
    packages = {rule.package for rule in ours.capabilities.packages}
    found = proposal(text, str(file), ours=ours.stacks.written, packages=packages)
    if not found:
        raise ConfigurationError(f"{file}: has no stack by hand that we have not")
    return tuple(map(by_hand, found))


def _changed(file: Path, knowledge: Knowledge) -> tuple[str, ...]:
    """Name the stacks that changed since a file; none where it is not there: a branch's first push has no before."""
    from matrix.document import load  # noqa: PLC0415
    from matrix.proposal import changed  # noqa: PLC0415
    from matrix.stack import StacksFile  # noqa: PLC0415

    if not file.exists():
        click.echo(f"{file}: is not there, and nothing is held against it", err=True)
        return ()
    return changed(load(file, StacksFile), knowledge.configuration.stacks)


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
