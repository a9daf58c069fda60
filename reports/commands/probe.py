"""`nvfp4-matrix probe --here`: run the suite in an installed stack of this machine, and keep what it finds."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import ENVIRONMENTS, Environment

SUBJECTS: Final = ("vllm", "flashinfer", "reference")
AREAS: Final = ("availability", "correctness", "speed", "serve", "stability")

_WEEK: Final = 604_800
"""Seconds that a check or the soak may take at most."""

EXAMPLES = """\b
Examples:
  nvfp4-matrix probe --here --python .venv
  nvfp4-matrix probe --here --python .venv --only availability --only correctness.gemm
  nvfp4-matrix probe --here --python .venv --subject flashinfer --target sm121
  nvfp4-matrix probe --here --python .venv --resume probe-20261121T101500-1a2b3c4d
  nvfp4-matrix probe --here --python .venv --self-test
"""


@click.command(epilog=EXAMPLES)
@click.option("--here", is_flag=True, help="In an interpreter of this machine.")
@click.option(
    "--python",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="A Python or its environment, with the stack, torch and pytest in it.",
)
@click.option("--subject", type=click.Choice(SUBJECTS), help="Whose operations; else vLLM's.")
@click.option("--target", metavar="TARGET", help="What the GPU has to be: sm120, sm121, …")
@click.option("--gpu", metavar="UUID", help="Which GPU, where there are several (nvidia-smi -L).")
@click.option("--stack", metavar="STACK", help="The stack's name, else what is installed.")
@click.option("--environment", type=click.Choice(ENVIRONMENTS), help="Else by nvcc and ninja.")
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
@click.option("--resume", metavar="RUN", help="Go on with a run that was stopped.")
@click.option("--self-test", is_flag=True, help="Probe the reference on this CPU; nothing is kept.")
@click.option(
    "--results",
    "folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where results are kept.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON Lines, a line a result.")
def probe(
    *,
    here: bool,
    python: Path | None,
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
) -> None:
    """Run the executed suite: availability, correctness, speed, serve, stability.

    Nothing is installed there. Every check runs in a process of its own, and its result is on the disk before the
    next one starts; a run that was stopped goes on with --resume.
    """
    from images.begin import begin, go_on  # noqa: PLC0415
    from images.here import Here, finished  # noqa: PLC0415
    from images.place import place, this_cpu  # noqa: PLC0415
    from matrix.evidence.interpreter import interpreter  # noqa: PLC0415
    from matrix.journal import FOLDER  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415
    from reports.proberun import Watcher  # noqa: PLC0415

    if not here:
        raise ConfigurationError("say --here: a run in a container is not there yet")
    _check_only(only)
    for option, seconds in (("--limit", limit), ("--soak", soak)):
        if not 1 <= seconds <= _WEEK:  # nor what is no number
            raise ConfigurationError(f"{option} {seconds:g}: seconds, from 1 to {_WEEK}")
    if self_test:
        _check_alone(subject, target, gpu, stack, environment, resume, folder)
    chosen = "reference" if self_test else subject or "vllm"
    with Here(interpreter(python)) as owner:
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
            where, chosen, kept, when=_now(), only=only, seed=seed, limit=limit, soak=soak
        )
        if resume is not None:
            request = go_on(request, resume, kept)
        opening, before = finished(Path(request.results))
        log = Path(request.results).with_suffix(".log")
        with Watcher(before, opening, as_json=as_json) as watcher:
            if not self_test:
                click.echo(f"{request.results}: results; {log.name} beside it: the log", err=True)
            variables = {"CUDA_VISIBLE_DEVICES": where.gpu} if where.gpu else {}
            owner.run(request, log, tell=watcher.tell, variables=variables)
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


def _now() -> str:
    from datetime import UTC, datetime  # noqa: PLC0415

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
