"""A stack's image as the options of a command ask for it: found or built, examined, and pushed where that is wanted."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from matrix.errors import ConfigurationError
from matrix.vocabulary import Environment, Machine
from reports.clock import now

if TYPE_CHECKING:
    from images.locks import Ask
    from matrix.evidence.lockfile import Lock
    from matrix.evidence.pipconfig import PipConfig
    from matrix.image import ImageReport, LockReport
    from matrix.knowledge import Knowledge
    from matrix.namedstack import NamedStack


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
    builder: str | None = None,
    arch_list: str = "",
    jobs: int | None = None,
    relock: bool,
    stacks: Path | None,
    kept: Path | None,
    push: str | None = None,
    pull_from: str | None = None,
) -> ImageReport:
    """Return what is known of a stack's image, which is built where it is not there: what the options of `build` say."""
    from images import build as work  # noqa: PLC0415
    from images import fromsource, locks, recipe  # noqa: PLC0415
    from images.context import pip_conf, reachable, settled, with_indexes  # noqa: PLC0415
    from images.engine import Engine  # noqa: PLC0415
    from images.reference import reference  # noqa: PLC0415
    from images.wheelhouse import Workshop  # noqa: PLC0415
    from matrix.derive import PYTHON  # noqa: PLC0415
    from matrix.evidence.lock import wanted  # noqa: PLC0415
    from matrix.evidence.pipconfig import read_pip_config  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415

    if base is None:
        raise ConfigurationError(
            "say on which image it stands, by digest: --base IMAGE@sha256:… (or NVFP4_MATRIX_BASE)"
        )
    recipe.check_base(base)
    recipe.check_base(builder or base)
    recipe.check_python(python := python or PYTHON)
    for option, text in (("--push", push), ("--pull-from", pull_from)):
        if text is not None:
            reference(option, text, "")  # told before anything is done
    knowledge = Knowledge.load()
    named = _named(stack, stacks, knowledge)
    config = settled(reachable(read_pip_config()), indexes, str(ca_bundle or ""))
    config = with_indexes(config, named.indexes.values())
    # A version stands for what is built before it has one: a bad override is told before anything is done.
    wanted({**named.pins, **dict.fromkeys(named.sources, "0")}, named.extras, overrides)
    pip_conf(config)  # what a container could not be told is told before anything is done
    with Engine.connect() as engine:
        cpu = _machine(knowledge, target, machine, engine.machine)
        if named.sources and cpu != engine.machine:
            raise ConfigurationError(
                f"--machine {cpu}: {', '.join(named.sources)} is built from a commit, on a machine of that kind alone"
            )
        folder = kept or work.FOLDER
        when = now()
        targets = [
            each
            for each in knowledge.configuration.targets
            if cpu in each.machines and each.fp4 and target in (None, each.name)
        ]
        sourced = fromsource.settled(
            named,
            fromsource.Asked(cpu, python, targets, arch_list, when, relock),
            folder,
            Workshop(
                engine=engine,
                base=builder or base,
                config=config,
                bundle=work.read_bundle(config.connection.ca_bundle),
                environment=os.environ,
                tell=_tell,
                jobs=jobs or 0,
            ),
            knowledge.configuration,
        )
        named = sourced.named
        asked = locks.ask(
            named.name,
            wanted(named.pins, named.extras, (*sourced.overrides, *overrides)),
            machine=cpu,
            python=python,
            environment=environment,
            built=sourced.hashes,
        )

        def resolve() -> Lock:
            _tell(f"locking {named.name} for {cpu}, Python {python}")
            return _resolved(asked, config, sourced.wheels)

        lock = locks.found(asked, folder / "locks", resolve, again=relock)
        made = recipe.recipe(
            lock,
            stack=named.name,
            machine=cpu,
            environment=environment,
            python=python,
            base=base,
            sources=sourced.told,
        )
        short = recipe.fingerprint(made)[:20]
        order = work.Order(
            recipe=made,
            lead=named.lead[0],
            target=target or "",
            lock=folder / "locks" / asked.filename,
            folder=folder / short,
            when=when,
            wheels=tuple(sourced.wheels.values()),
            served=sourced.served,
            source=reference("--pull-from", pull_from, short) if pull_from else None,
        )
        report = work.ready(order, engine) or work.make(
            order, engine, knowledge, config=config, environment=os.environ, tell=_tell
        )
        if push and report.differences:
            _tell("not pushed: it is not what was promised")
        elif push:
            to = reference("--push", push, short)
            report = work.push(order, engine, report, to, _tell)
    return report


def locked(
    *,
    stack: str,
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
    **others: object,
) -> LockReport:
    """Make and keep the lock that an image of a stack would be made of, for any machine; no engine is asked."""
    from images import build as work  # noqa: PLC0415
    from images import locks, recipe  # noqa: PLC0415
    from images.context import reachable, settled, with_indexes  # noqa: PLC0415
    from matrix.derive import PYTHON  # noqa: PLC0415
    from matrix.evidence.lock import wanted  # noqa: PLC0415
    from matrix.evidence.pipconfig import read_pip_config  # noqa: PLC0415
    from matrix.image import LockReport  # noqa: PLC0415
    from matrix.knowledge import Knowledge  # noqa: PLC0415

    if others.get("push") or others.get("pull_from"):
        raise ConfigurationError("--lock-only makes no image: it goes without --push, --pull-from")
    recipe.check_python(python := python or PYTHON)
    knowledge = Knowledge.load()
    named = _named(stack, stacks, knowledge)
    if named.sources:
        commits = ", ".join(named.sources)
        raise ConfigurationError(
            f"{stack}: {commits} is built from a commit before a lock can be made of it: leave --lock-only out"
        )
    cpus = knowledge.configuration.target(target).machines if target else ()
    cpu: Machine = machine or (cpus[0] if len(cpus) == 1 else "x86_64")
    if cpus and cpu not in cpus:
        raise ConfigurationError(f"{target} exists with {' and '.join(cpus)} only, not with {cpu}")
    config = settled(reachable(read_pip_config()), indexes, str(ca_bundle or ""))
    config = with_indexes(config, named.indexes.values())
    asked = locks.ask(
        named.name,
        wanted(named.pins, named.extras, overrides),
        machine=cpu,
        python=python,
        environment=environment,
    )

    def resolve() -> Lock:
        _tell(f"locking {named.name} for {cpu}, Python {python}")
        return _resolved(asked, config, {})

    folder = (kept or work.FOLDER) / "locks"
    lock = locks.found(asked, folder, resolve, again=relock)
    return LockReport(
        stack=named.name,
        machine=cpu,
        environment=environment,
        python=python,
        glibc=lock.glibc,
        lock=str(folder / asked.filename),
        pins=lock.versions,
    )


def _tell(line: str) -> None:
    from reports.text import plain  # noqa: PLC0415

    click.echo(plain(line, limit=160), err=True)


def _named(name: str, file: Path | None, knowledge: Knowledge) -> NamedStack:
    """Find the stack, those of a file first."""
    from matrix.document import load  # noqa: PLC0415
    from matrix.namedstack import by_hand, found  # noqa: PLC0415
    from matrix.stack import StacksFile  # noqa: PLC0415

    written = load(file, StacksFile).written if file else ()
    theirs: list[NamedStack] = []
    for one in written:
        try:
            theirs += [by_hand(one)] if one.pins else []
        except ConfigurationError as error:
            raise ConfigurationError(f"{file}:{_line(file, one.name)}: {error}") from error
    return found(name, (*theirs, *knowledge.stacks), or_pin=True)


def _line(file: Path | None, name: str) -> int:
    """Return the line of a stack in a file, 1 where its name is written in another way there."""
    lines = file.read_text(encoding="utf-8").splitlines() if file else []
    return next((n for n, line in enumerate(lines, 1) if "name" in line and name in line), 1)


def _machine(
    knowledge: Knowledge, target: str | None, asked: Machine | None, engine: Machine
) -> Machine:
    """Settle for which CPU it is: what was asked for, else the engine's. Raises ConfigurationError for none of the target's."""
    cpu = asked or engine
    if target is not None:
        gpu = knowledge.configuration.target(target)
        if cpu not in gpu.machines:
            here = f"not with {cpu}" if asked else f"and the Docker engine here is {engine}"
            raise ConfigurationError(
                f"{gpu.name} exists with {' and '.join(gpu.machines)} only, {here}: build it on such a machine, "
                f"or try --machine {gpu.machines[0]} where the engine emulates it"
            )
    return cpu


def _resolved(asked: Ask, config: PipConfig, built: Mapping[str, Path]) -> Lock:
    from matrix.evidence.lock import resolve  # noqa: PLC0415

    return resolve(
        asked.wanted, machine=asked.machine, python=asked.python, config=config, built=built
    )
