"""`nvfp4-matrix probe`: run the suite in a container of a stack's image, or in what this machine has installed, and keep what it finds."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from click.core import ParameterSource

from matrix.errors import ConfigurationError
from matrix.vocabulary import ENVIRONMENTS, Environment
from reports.commands.build import build

SUBJECTS: Final = ("vllm", "flashinfer", "reference")
AREAS: Final = ("availability", "correctness", "speed", "serve", "stability")

_WEEK: Final = 604_800
"""Seconds that a check, the soak or a run may take at most."""

_NOT_HERE: Final = ("run_limit", "memory", "wait", "fresh")
_SIZE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([kmgt])b?", re.ASCII)
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_LEAST: Final = 64 << 20

EXAMPLES = """\b
Examples:
  nvfp4-matrix probe vllm==0.33.0 --base ubuntu@sha256:… --target sm121
  nvfp4-matrix probe --image nvfp4-matrix:7c7e12a81ce3cce6a6cb
  nvfp4-matrix probe --here --python .venv
  nvfp4-matrix probe --here --python .venv --only availability --only correctness.gemm
  nvfp4-matrix probe --here --python .venv --subject flashinfer --target sm121
  nvfp4-matrix probe --here --python .venv --resume probe-20261121T101500-1a2b3c4d
  nvfp4-matrix probe --here --python .venv --self-test
"""


_MINE: Final = frozenset(
    {"stack", "target", "environment", "python", "as_json", "push", "help", "machine", "lock_only"}
)
"""Options of `build` that `probe` has of its own, or has not."""

_OF_IMAGES: Final = tuple(option for option in build.params if option.name not in _MINE)


@click.command(epilog=EXAMPLES)
@click.argument("name", metavar="[STACK]", required=False)
@click.option("--image", "reference", metavar="IMAGE", help="In an image that is here.")
@click.option("--here", is_flag=True, help="In an interpreter of this machine.")
@click.option(
    "--python",
    metavar="PATH|X.Y",
    help="--here: a Python or its environment, with the stack, torch and pytest in it; STACK: as for `build`.",
)
@click.option("--subject", type=click.Choice(SUBJECTS), help="Whose operations; else vLLM's.")
@click.option("--target", metavar="TARGET", help="What the GPU has to be: sm120, sm121, …")
@click.option("--gpu", metavar="UUID", help="Which GPU, where there are several (nvidia-smi -L).")
@click.option("--stack", metavar="STACK", help="The stack's name, else what is installed.")
@click.option(
    "--environment",
    type=click.Choice(ENVIRONMENTS),
    help="STACK: as for `build`, slim; --here: else by nvcc and ninja.",
)
@click.option("--only", multiple=True, metavar="PROBE", help="availability, correctness.gemm, …")
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Added to every check's own.",
)
@click.option("--limit", default=300.0, show_default=True, help="Seconds for one check.")
@click.option("--soak", default=60.0, show_default=True, help="Seconds of the soak.")
@click.option(
    "--run-limit", type=float, metavar="SECONDS", help="For all checks together (not --here)."
)
@click.option("--memory", metavar="SIZE", help="What the container may take: 64g (not --here).")
@click.option("--wait", is_flag=True, help="Wait for a GPU that is in use (not --here).")
@click.option("--resume", metavar="RUN", help="Go on with a run that was stopped.")
@click.option("--fresh", is_flag=True, help="Go on with nothing, take nothing over (not --here).")
@click.option("--self-test", is_flag=True, help="Probe the reference on this CPU.")
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, a line a result.")
@click.pass_context
def probe(context: click.Context, /, **options: Any) -> None:
    """Run the executed suite: availability, correctness, speed, serve, stability.

    STACK: in a container of its image, which is built where it is not there. Every check runs in a process of its own,
    and its result is on the disk before the next one starts; the same command goes on with a run that was cut off.
    """
    of_image = {str(option.name): options.pop(str(option.name)) for option in _OF_IMAGES}
    name, reference, here = (options.pop(each) for each in ("name", "reference", "here"))
    if [name is not None, reference is not None, here].count(True) != 1:
        raise ConfigurationError("say where: a STACK, --image IMAGE, or --here")
    _check_only(options["only"])
    limits = {"limit": options["limit"], "soak": options["soak"], "run-limit": options["run_limit"]}
    for option, seconds in limits.items():
        if seconds is not None and not 1 <= seconds <= _WEEK:  # nor what is no number
            raise ConfigurationError(f"--{option} {seconds:g}: seconds, from 1 to {_WEEK}")
    if here:
        given = [name for name in _NOT_HERE if options.pop(name)]
        given += [each for each in of_image if _given(context, each)]
        if given:
            words = ", ".join(f"--{each.replace('_', '-')}" for each in given)
            raise ConfigurationError(f"--here goes without {words}: there is no container")
        _here(**options)
    from reports.commands import stackrun  # noqa: PLC0415

    options["memory"] = _bytes(options["memory"])
    stackrun.run(stackrun.Asked(name=name, reference=reference, of_image=of_image, **options))


def _given(context: click.Context, name: str) -> bool:
    return context.get_parameter_source(name) is ParameterSource.COMMANDLINE


def _here(
    *,
    python: str | None,
    subject: str | None,
    target: str | None,
    gpu: str | None,
    stack: str | None,
    environment: Environment | None,
    only: tuple[str, ...],
    seed: int,
    limit: float,
    soak: float,
    resume: str | None,
    self_test: bool,
    folder: Path | None,
    as_json: bool,
) -> NoReturn:
    """Run it in an interpreter of this machine: nothing is installed there."""
    from images.begin import begin, go_on  # noqa: PLC0415
    from images.following import finished  # noqa: PLC0415
    from images.here import Here  # noqa: PLC0415
    from images.place import place, this_cpu  # noqa: PLC0415
    from matrix.evidence.interpreter import interpreter  # noqa: PLC0415
    from matrix.journal import FOLDER  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from reports.proberun import Watcher  # noqa: PLC0415

    if self_test:
        _check_alone(subject, target, gpu, stack, environment, resume, folder)
    chosen = "reference" if self_test else subject or "vllm"
    with Here(interpreter(Path(python) if python else None)) as owner:
        told = owner.preflight()
        where = this_cpu(told) if self_test else None
        where = where or place(
            told,
            owner.python,
            Knowledge.load(),
            subject=chosen,
            target=target,
            gpu=gpu,
            stack=stack,
            environment=environment,
        )
        kept = owner.folder if self_test else folder or FOLDER
        request = begin(
            where, chosen, kept, when=now(), only=only, seed=seed, limit=limit, soak=soak
        )
        if resume is not None:
            request = go_on(request, resume, kept)
        opening, before = finished(Path(request.results))
        log = Path(request.results).with_suffix(".log")
        with Watcher(before, opening, as_json=as_json) as watcher:
            if not self_test:
                click.echo(f"{request.results}: results; {log.name} beside it: the log", err=True)
            variables = {"CUDA_VISIBLE_DEVICES": where.gpu} if where.gpu else {}
            owner.run(request, log, tell=watcher.tell, beat=watcher.beat, variables=variables)
    sys.exit(watcher.exit_code)


def _check_only(only: Sequence[str]) -> None:
    for name in only:
        if name.partition(".")[0] not in AREAS:
            raise ConfigurationError(f"--only {name!r}: probes begin with {', '.join(AREAS)}")


def _check_alone(*options: object) -> None:
    if any(option is not None for option in options):
        raise ConfigurationError(
            "--self-test goes with --only, --seed, --limit, --soak and --json: it is of this CPU, and nothing is kept"
        )


def _bytes(size: str | None) -> int | None:
    """Read 64g, 1.5g, 512m. Raises ConfigurationError for what is no size, or one that holds no torch."""
    if size is None:
        return None
    found = _SIZE.fullmatch(size.lower())
    count = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if not _LEAST <= count < 1 << 50:
        raise ConfigurationError(f"--memory {size[:20]}: write it as 64g or 900m, at least 64m")
    return count


def now() -> str:
    """Return the time as results have it."""
    from probes.lines import now  # noqa: PLC0415

    return now()


probe.params += _OF_IMAGES
