"""`nvfp4-matrix probe STACK`: the suite in a container of the stack's image, on a GPU that nobody else has meanwhile."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import click

from images import attempts, gpu, there
from images.begin import begin
from images.engine import Engine, Image
from images.following import finished
from images.here import Preflight
from images.inside import Inside
from images.place import Place, device, place, target_of, this_cpu
from images.recipe import MARK, NAME
from images.worth import worthwhile
from matrix.errors import ConfigurationError, OutsideError
from matrix.image import ImageReport
from matrix.journal import FOLDER, Journal
from matrix.knowledge import Knowledge
from matrix.standing import usual
from matrix.vocabulary import Environment
from probes import conditions, preflight
from probes.lines import now
from probes.request import Request
from reports import image as told_of
from reports import skipped
from reports.proberun import Watcher
from reports.stackimage import image as built
from reports.text import plain

PLANTED = "NVFP4_MATRIX_FAULT"
"""Where this names a fault of `probes.faults`, a self-test has it: to see a run survive what such a stack does."""


def run(
    *,
    name: str | None,
    reference: str | None,
    of_image: Mapping[str, Any],
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
    run_limit: float | None,
    memory: int | None,
    wait: bool,
    resume: str | None,
    fresh: bool,
    self_test: bool,
    folder: Path | None,
    as_json: bool,
) -> NoReturn:
    """Run it, and end with the exit code. Raises what the rooms below raise, each in one line."""
    if stack is not None:
        raise ConfigurationError("--stack goes with --here: an image says which stack it is")
    if self_test and (subject or target or gpu):
        raise ConfigurationError(
            "--self-test is of this CPU: it goes without --subject, --target, --gpu"
        )
    if fresh and resume:
        raise ConfigurationError("--fresh begins a run, --resume goes on with one: say one of them")
    began = time.monotonic()
    knowledge = Knowledge.load()
    gpus = [] if self_test else preflight.visible(conditions.gpu())
    if gpus:  # what cannot be run is told before an image is built for an hour
        target_of(knowledge, device(_only_gpus(gpus), gpu), target)
    with Engine.connect() as engine, ExitStack() as closing:
        if not engine.local:
            raise ConfigurationError(
                "DOCKER_HOST is another machine's engine: a run needs the one of the machine that has the GPU"
            )
        if reference is None:
            asked = {"python": python, "environment": environment or "slim", "machine": None}
            report = built(stack=name, target=target, **asked, **of_image)
            _tell_of(report, gpus=bool(gpus) or self_test)
            reference = report.image
        if not gpus and not self_test:
            raise OutsideError(
                f"{reference}: no NVIDIA GPU here (nvidia-smi names none): what needs none was done; run the rest where one is"
            )
        image = there.found(engine, reference)
        said = there.told(image)
        chosen = _subject(subject, self_test=self_test)
        where = _where(image, said, chosen, knowledge, target, gpu, self_test=self_test)
        if removed := engine.clear():
            _tell(f"removed what a dead run left: {', '.join(removed)}")
        if where.gpu:
            closing.enter_context(_alone(where.gpu, wait=wait))
        kept = folder or (Path(closing.enter_context(_temporary())) if self_test else FOLDER)
        request = begin(
            where, chosen, kept, when=now(), only=only, seed=seed, limit=limit, soak=soak
        )
        request = replace(request, image=image.labels[MARK])
        rest = None if fresh else _rest(request, where.gpu, resume, kept)
        if rest is not None:
            request = rest
        elif not self_test:
            request = _worth(request, where, knowledge, said, kept, fresh=fresh)
        inside = closing.enter_context(
            Inside(
                engine,
                image.id,
                image.labels[MARK],
                gpu=where.gpu,
                memory=memory,
                until=None if run_limit is None else began + run_limit,
                variables={PLANTED: os.environ[PLANTED]} if chosen == "planted" else {},
            )
        )
        opening, before = finished(Path(request.results))
        watcher = closing.enter_context(Watcher(before, opening, as_json=as_json))
        if folder or not self_test:
            log = Path(request.results).with_suffix(".log").name
            _tell(f"{request.results}: results; {log} beside it: the log")
        attempts.carry_out(inside, request, tell=watcher.tell, beat=watcher.beat, say=_tell)
        if watcher.opening and watcher.opening.skipped:
            every = Journal(kept).read().results
            for line in skipped.lines(watcher.opening, every, usual(every)):
                _tell(line)
    sys.exit(watcher.exit_code)


def _subject(subject: str | None, *, self_test: bool) -> str:
    if self_test:
        return "planted" if os.environ.get(PLANTED) else "reference"
    return subject or "vllm"


def _where(
    image: Image,
    said: Preflight,
    subject: str,
    knowledge: Knowledge,
    target: str | None,
    gpu: str | None,
    *,
    self_test: bool,
) -> Place:
    """Return the cell: the image's stack and environment, and the target of the GPU."""
    stack, environment = image.labels[f"{NAME}.stack"], there.environment(image)
    if self_test:
        return replace(this_cpu(said), stack=stack, environment=environment)
    return place(
        said,
        Path(image.labels[f"{NAME}.stack"]),
        knowledge,
        subject=subject,
        target=target,
        gpu=gpu,
        stack=stack,
        environment=environment,
    )


def _rest(request: Request, gpu: str, resume: str | None, folder: Path) -> Request | None:
    """Return what is left of the run that is named, or of one that was cut off; None to begin one."""
    if resume is not None:
        return attempts.resumed(request, resume, folder)
    run = attempts.unfinished(folder, attempts.key(request, gpu))
    if run is None:
        return None
    try:
        rest = attempts.resumed(request, run, folder)
    except ConfigurationError as error:  # a probe has changed since
        attempts.drop(folder / f"{run}.jsonl")
        _tell(f"not gone on with: {error}")
        return None
    if rest is not None:
        _tell(f"{run}: going on, {len(rest.rest or ())} checks are left (--fresh begins anew)")
    return rest


def _worth(
    request: Request,
    where: Place,
    knowledge: Knowledge,
    said: Preflight,
    folder: Path,
    *,
    fresh: bool,
) -> Request:
    """Leave out of a run what cannot work and what was found before; with `fresh` the latter is found again."""
    here = next((each for each in said.gpu if each["uuid"] == where.gpu), {})
    made = worthwhile(request, where, knowledge, Journal(folder).read(), here)
    return replace(made, standing=()) if fresh else made


@contextmanager
def _alone(uuid: str, *, wait: bool) -> Iterator[None]:
    """Have a GPU to ourselves: no other run of ours, and nobody else's work when it begins."""
    with gpu.held(uuid, wait=wait, tell=_tell):
        gpu.free(uuid, wait=wait, tell=_tell)
        yield


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")


def _only_gpus(gpus: list[dict[str, str]]) -> Preflight:
    return Preflight(python="", machine="", packages={}, missing=(), compilers=(), gpu=tuple(gpus))


def _tell_of(report: ImageReport, *, gpus: bool) -> None:
    """Tell what is known of the image: all of it where nothing else comes, else what differs from its promise."""
    if not gpus:
        click.echo(told_of.render(report), nl=False)
    elif report.differences:
        _tell(
            f"{report.image}: {len(report.differences)} differences from what was promised (`build` lists them)"
        )


def _tell(line: str) -> None:
    click.echo(plain(line, limit=300), err=True)
