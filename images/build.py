"""A stack becomes an image: locked, found by its fingerprint or built, then examined; what was found is kept beside it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from images.alone import alone, alone_here
from images.context import context, proxies
from images.engine import BuildFailure, Engine, Image, Wanted
from images.failure import Transcript, failed
from images.recipe import MARK, Recipe, dockerfile, fingerprint, labels, tag
from images.reference import Reference
from matrix.errors import ConfigurationError, EngineError, MatrixError, NotFoundError, OutsideError
from matrix.evidence.pipconfig import PipConfig
from matrix.image import ImageReport
from matrix.knowledge import Knowledge
from matrix.vocabulary import Machine
from matrix.wholefile import write

FOLDER: Final = Path(__file__).parent / "kept"
"""Where locks lie, to be committed, and beside them a folder for each image, ignored by git."""

_REPORT: Final = "report.json"
_TRIED: Final = 60.0
"""Seconds for `uname` in a base of another machine."""

_LARGEST_BUNDLE: Final = 8 << 20


class Order(NamedTuple):
    """One image to have: its recipe, the package that it is about, and where its lock and its files lie.

    `wheels` were built from source, `served` says for which targets. `source`: where it may be had, as its fingerprint's tag, instead of being built.
    """

    recipe: Recipe
    lead: str
    target: str
    lock: Path
    folder: Path
    when: str
    wheels: tuple[Path, ...] = ()
    served: Mapping[str, tuple[str, ...]] | None = None
    source: Reference | None = None


def ready(order: Order, engine: Engine) -> ImageReport | None:
    """Return what is kept of an image that the engine has; None where it is to be built or examined."""
    there = _there(order, engine)
    kept = _kept(order)
    if there is None or kept is None or kept.id != there.id:
        return None
    return msgspec.structs.replace(kept, built=False, seconds={}, target=order.target)


def make(
    order: Order,
    engine: Engine,
    knowledge: Knowledge,
    *,
    config: PipConfig,
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> ImageReport:
    """Build an image that is not there, examine it, and keep what was found.

    Raises ConfigurationError for a base of another machine, EngineError where the build fails, and what
    `examine` raises. Of two that want the same image, the second waits, and finds it.
    """
    # Half of the time of a build that does nothing.
    from images.examine import examine  # noqa: PLC0415
    from images.sbom import sbom  # noqa: PLC0415

    folder = order.folder
    with alone(folder, tell), alone_here(fingerprint(order.recipe), tell):
        if found := ready(order, engine):
            return found
        for name in engine.clear():
            tell(f"removed what a dead command left: {name}")
        there = _there(order, engine) or _fetched(order, engine, tell)
        built = there is None
        seconds: dict[str, float] = {}
        if there is None:
            began = time.monotonic()
            there = _built(order, engine, config=config, environment=environment, tell=tell)
            seconds["build"] = round(time.monotonic() - began, 1)
        tell("examining it: what is installed, compiled and selected")
        began = time.monotonic()
        told = examine(engine, there.id, order.recipe, order.lead, knowledge, served=order.served)
        seconds["examine"] = round(time.monotonic() - began, 1)
        made = order.recipe
        report = ImageReport(
            stack=made.stack,
            target=order.target,
            machine=made.machine,
            environment=made.environment,
            python=made.python,
            base=made.base,
            image=tag(made),
            id=there.id,
            fingerprint=fingerprint(made),
            size=there.size,
            built=built,
            made=order.when,
            seconds=seconds,
            lock=str(order.lock),
            files=str(folder),
            pins=made.pins,
            installed=told.installed,
            audited=told.audited,
            asked=told.asked,
            differences=told.differences,
        )
        write(folder / "freeze.txt", told.freeze.encode())
        write(folder / "sbom.json", sbom(made, there, told.installed, told.system))
        write(folder / _REPORT, msgspec.json.format(msgspec.json.encode(report), indent=1))
    return report


def _built(
    order: Order,
    engine: Engine,
    *,
    config: PipConfig,
    environment: Mapping[str, str],
    tell: Callable[[str], None],
) -> Image:
    made, folder = order.recipe, order.folder
    base = engine.base(made.base, tell)
    if base.machine != made.machine:
        raise ConfigurationError(
            f"--base {made.base}: is for {base.machine}, and the image is to be for {made.machine}"
        )
    _check_runs(engine, base, made.machine)
    bundle = read_bundle(config.connection.ca_bundle)
    write(folder / "Dockerfile", dockerfile(made).encode())
    write(folder / "lock.txt", ("\n".join(made.lock) + "\n").encode())
    heard, log = Transcript(), folder / "build.log"
    try:
        with log.open("w", encoding="utf-8") as output:

            def hear(text: str) -> None:
                output.write(text)
                before = heard.step
                heard.hear(text)
                if heard.step != before:
                    tell(heard.step)

            ended = False
            try:
                with context(made, config, bundle, order.wheels) as sent:
                    engine.build(
                        sent,
                        tag=tag(made),
                        labels=labels(made),
                        arguments=proxies(environment),
                        tell=hear,
                    )
                ended = True
            except BuildFailure as error:
                ended = True
                output.write(f"{error}\n")
                raise failed(made.stack, heard, str(error), log) from error
            finally:
                for each in engine.sweep(fingerprint(made), ended=ended):
                    tell(f"{each} is left and may hold the index's login: docker rmi -f {each}")
    except OSError as error:
        raise OutsideError(f"{log}: {error.strerror}") from error
    there = _there(order, engine)
    if there is None:
        raise OutsideError(f"{tag(made)} was built and is not there: was it removed meanwhile?")
    return there


def _check_runs(engine: Engine, base: Image, machine: Machine) -> None:
    """Raise ConfigurationError where the engine is of another machine than the image, and emulates none of those."""
    if machine == engine.machine:
        return
    try:
        with engine.container(Wanted(image=base.id, command=("uname", "-m"))) as tried:
            _, said = tried.run(_TRIED)
    except EngineError:
        said = ""
    if said.strip() != machine:
        raise ConfigurationError(
            f"--machine {machine}: the Docker engine here is {engine.machine} and runs nothing else: build it on a "
            "machine of that kind, or install qemu-user-static where the engine runs"
        )


def _there(order: Order, engine: Engine) -> Image | None:
    """Return the engine's image of the tag, if it is the one: a tag is cut short, and anyone can set one."""
    there = engine.image(tag(order.recipe))
    return there if there and there.labels.get(MARK) == fingerprint(order.recipe) else None


def _fetched(order: Order, engine: Engine, tell: Callable[[str], None]) -> Image | None:
    """Return the image as a registry has it; what keeps it from being had is told, and it is built."""
    if order.source is None:
        return None
    tell(f"looking for it at {order.source}")
    try:
        pulled = engine.fetch(order.source, tell)
        if pulled.labels.get(MARK) == fingerprint(order.recipe):
            engine.name(pulled, tag(order.recipe))
        else:
            tell("that is another image; building it")
    except NotFoundError:
        tell("it is not there; building it")
    except MatrixError as error:
        tell(f"{error}; building it")
    return _there(order, engine)


def push(
    order: Order, engine: Engine, report: ImageReport, to: Reference, tell: Callable[[str], None]
) -> ImageReport:
    """Push an image that is as promised, and keep where it is. Raises EngineError for what is refused or cut off."""
    report = msgspec.structs.replace(report, pushed=engine.push(report.id, to, tell))
    write(order.folder / _REPORT, msgspec.json.format(msgspec.json.encode(report), indent=1))
    return report


def _kept(order: Order) -> ImageReport | None:
    try:
        return msgspec.json.decode((order.folder / _REPORT).read_bytes(), type=ImageReport)
    except (OSError, msgspec.DecodeError):
        return None  # it is examined again


def read_bundle(path: str) -> bytes:
    """Read the CA bundle. Raises ConfigurationError for what is none."""
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            text = file.read(_LARGEST_BUNDLE + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}; name a file by --ca-bundle") from error
    if b"-----BEGIN" not in text or len(text) > _LARGEST_BUNDLE:
        raise ConfigurationError(f"{path}: is no bundle of certificates in PEM form")
    return text
