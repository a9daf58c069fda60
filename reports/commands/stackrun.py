"""`nvfp4-matrix probe STACK`: the suite in a container of the stack's image, on a GPU that nobody else has meanwhile."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from images import attempts, gpu, there
from images.begin import begin
from images.engine import Engine, Image
from images.following import finished
from images.here import Preflight
from images.inside import Inside
from images.place import Place, capability, devices, place, target_of, this_cpu
from images.recipe import NAME
from images.worth import worthwhile
from matrix.errors import ConfigurationError, OutsideError
from matrix.image import ImageReport
from matrix.journal import FOLDER, Journal
from matrix.knowledge import Knowledge
from matrix.standing import usual
from matrix.vocabulary import Environment
from probes import conditions, preflight
from probes.request import Request
from reports import image as told_of
from reports import skipped
from reports.clock import now
from reports.proberun import Watcher
from reports.stackimage import image as built
from reports.text import plain

PLANTED: Final = "NVFP4_MATRIX_FAULT"
"""Where this names a fault of `probes.faults`, a self-test has it: to see a run survive what such a stack does."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of `probe` for a run in a container: `name` or `reference` is what it is of, `of_image` are those of `build`."""

    name: str | None
    reference: str | None
    of_image: Mapping[str, Any]
    python: str | None
    subject: str | None
    target: str | None
    gpu: str | None
    stack: str | None
    environment: Environment | None
    only: tuple[str, ...]
    seed: int
    limit: float
    soak: float
    run_limit: float | None
    memory: int | None
    wait: bool
    resume: str | None
    fresh: bool
    self_test: bool
    folder: Path | None
    as_json: bool

    def check(self) -> None:
        """Raise ConfigurationError for options that do not go together."""
        if self.stack is not None:
            raise ConfigurationError("--stack goes with --here: an image says which stack it is")
        if self.self_test and (self.subject or self.target or self.gpu):
            raise ConfigurationError(
                "--self-test is of this CPU: it goes without --subject, --target, --gpu"
            )
        if self.fresh and self.resume:
            raise ConfigurationError(
                "--fresh begins a run, --resume goes on with one: say one of them"
            )

    @property
    def probed(self) -> str:
        """Name the subject; a self-test's is the reference, or a fault that the environment plants in it."""
        if self.self_test:
            return "planted" if os.environ.get(PLANTED) else "reference"
        return self.subject or "vllm"


def run(asked: Asked) -> NoReturn:
    """Run it, and end with the exit code. Raises what the rooms below raise, each in one line."""
    asked.check()
    knowledge = Knowledge.load()
    gpus = [] if asked.self_test else preflight.visible(conditions.gpu())
    if gpus:  # what cannot be run is told before an image is built for an hour
        fitting = _fitting(gpus, asked, knowledge)
        target_of(knowledge, fitting[0], asked.target)
        # Of several of a kind, one that nobody has just now; which is ours is settled by the lock.
        idle = (each["uuid"] for each in fitting if gpu.idle(each["uuid"]))
        asked = replace(asked, gpu=next(idle, fitting[0]["uuid"]))
    with Engine.connect() as engine, ExitStack() as closing:
        image = _image(asked, engine, gpus=bool(gpus))
        said = there.told(image)
        where = _where(asked, image, said, knowledge)
        _clear(engine)
        if where.gpu:
            closing.enter_context(_alone(where.gpu, engine, wait=asked.wait))
        temporary = asked.self_test and asked.folder is None
        kept = Path(closing.enter_context(_temporary())) if temporary else asked.folder or FOLDER
        request = _request(asked, where, image, said=said, folder=kept, knowledge=knowledge)
        inside = closing.enter_context(
            Inside(
                engine,
                image.id,
                image.id.removeprefix("sha256:"),
                gpu=where.gpu,
                memory=asked.memory,
                # Neither an image's build nor the wait for a GPU is the run's.
                until=None if asked.run_limit is None else time.monotonic() + asked.run_limit,
                variables={PLANTED: os.environ[PLANTED]} if asked.probed == "planted" else {},
            )
        )
        opening, before = finished(Path(request.results))
        watcher = closing.enter_context(Watcher(before, opening, as_json=asked.as_json))
        if not temporary:
            log = Path(request.results).with_suffix(".log").name
            _tell(f"{request.results}: results; {log} beside it: the log")
        attempts.carry_out(inside, request, tell=watcher.tell, beat=watcher.beat, say=_tell)
        _tell_skipped(watcher, kept)
    sys.exit(watcher.exit_code)


def _image(asked: Asked, engine: Engine, *, gpus: bool) -> Image:
    """Have the image, and tell what is known of it. Raises OutsideError where nothing is to be run in it here."""
    if not engine.local:
        raise ConfigurationError(
            "DOCKER_HOST is another machine's engine: a run needs the one of the machine that has the GPU"
        )
    runs = gpus or asked.self_test
    reference = asked.reference
    if reference is None:
        report = built(
            stack=asked.name or "",
            target=asked.target,
            environment=asked.environment or "slim",
            machine=None,
            python=asked.python,
            **asked.of_image,
        )
        _tell_of(report, runs=runs)
        reference = report.image
    if not runs:
        raise OutsideError(
            f"{reference}: no NVIDIA GPU here (nvidia-smi names none), so nothing was executed; what needs none was done"
        )
    return there.found(engine, reference)


def _where(asked: Asked, image: Image, said: Preflight, knowledge: Knowledge) -> Place:
    """Return the cell: the image's stack and environment, and the target of the GPU."""
    stack, environment = image.labels[f"{NAME}.stack"], there.environment(image)
    if asked.self_test:
        return replace(this_cpu(said), stack=stack, environment=environment)
    return place(
        said,
        Path(stack),
        knowledge,
        subject=asked.probed,
        target=asked.target,
        gpu=asked.gpu,
        stack=stack,
        environment=environment,
    )


def _request(
    asked: Asked,
    where: Place,
    image: Image,
    *,
    said: Preflight,
    folder: Path,
    knowledge: Knowledge,
) -> Request:
    """Say what is to be run: the rest of a run that was cut off, or of all what is worth it."""
    request = begin(
        where,
        asked.probed,
        folder,
        when=now(),
        only=asked.only,
        seed=asked.seed,
        limit=asked.limit,
        soak=asked.soak,
    )
    request = replace(request, image=image.id)  # a label may lie
    rest = None if asked.fresh else _rest(request, where.gpu, asked.resume, folder)
    if rest is not None or asked.self_test:
        return rest or request
    here = next((each for each in said.gpu if each["uuid"] == where.gpu), {})
    made = worthwhile(request, where, knowledge, Journal(folder).read(), here)
    return replace(made, standing=()) if asked.fresh else made


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


@contextmanager
def _alone(uuid: str, engine: Engine, *, wait: bool) -> Iterator[None]:
    """Have a GPU to ourselves: no other run of ours, and nobody else's work when it begins."""
    with gpu.held(uuid, wait=wait, tell=_tell):
        # A run that was waited for and killed has let the lock go, and left its container at work.
        _clear(engine)
        gpu.free(uuid, wait=wait, tell=_tell)
        yield


def _clear(engine: Engine) -> None:
    if removed := engine.clear():
        _tell(f"removed what a dead run left: {', '.join(removed)}")


def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")


def _fitting(
    gpus: list[dict[str, str]], asked: Asked, knowledge: Knowledge
) -> tuple[Mapping[str, str], ...]:
    """Pick the GPUs that the run may take."""
    here = Preflight(python="", machine="", packages={}, missing=(), compilers=(), gpu=tuple(gpus))
    return devices(here, asked.gpu, capability(knowledge, asked.target))


def _tell_of(report: ImageReport, *, runs: bool) -> None:
    """Tell what is known of the image: all of it where nothing is run, else that it differs from its promise."""
    if not runs:
        click.echo(told_of.render(report), nl=False)
    elif count := len(report.differences):
        _tell(f"{report.image}: {count} differences from what was promised (`build` lists them)")


def _tell_skipped(watcher: Watcher, folder: Path) -> None:
    if watcher.opening and watcher.opening.skipped:
        every = Journal(folder).read().results
        for one in watcher.opening.skipped:
            watcher.earlier += skipped.held(one, every)
        for line in skipped.lines(watcher.opening, every, usual(every)):
            _tell(line)


def _tell(line: str) -> None:
    click.echo(plain(line, limit=300), err=True)
