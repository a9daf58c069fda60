"""The pins of a stack that are commits become wheels: looked up, built once, and from then on a version with a hash."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from images import builder, locks, sources, wheelhouse
from images.engine import Wanted
from images.git import Repository
from images.recipe import requirements
from images.sources import Commit, told
from images.wheelhouse import Built, Job, Workshop
from matrix.archlist import Chosen, chosen
from matrix.cmakefile import rules
from matrix.configuration import Configuration
from matrix.errors import ConfigurationError
from matrix.evidence import lock
from matrix.evidence.lockfile import Lock
from matrix.namedstack import NamedStack
from matrix.target import Target
from matrix.vocabulary import Machine
from matrix.wholefile import write

_RELEASE: Final = re.compile(r"release ([0-9]{1,2}\.[0-9]{1,2})")
_ANSWER: Final = 120.0
"""Seconds for `nvcc --version` in a new container."""


class Asked(NamedTuple):
    """What wheels are to be: for which machine, Python and targets; `arch_list` is the user's own, "" for ours."""

    machine: Machine
    python: str
    targets: Sequence[Target]
    arch_list: str
    when: str
    relock: bool


class Settled(NamedTuple):
    """A stack with a version for each pin, and the wheels of those that were built.

    `served`: the targets that each is promised for, by package.
    """

    named: NamedStack
    wheels: Mapping[str, Path]
    built: Mapping[str, Built]
    served: Mapping[str, tuple[str, ...]]
    overrides: tuple[str, ...]

    @property
    def told(self) -> dict[str, str]:
        """The repository and the commits of each wheel, by package, in one line."""
        return {package: told(built.job.source) for package, built in self.built.items()}

    @property
    def hashes(self) -> dict[str, str]:
        """The hash of each wheel, by package."""
        return {package: built.sha256 for package, built in self.built.items()}


def settled(
    named: NamedStack, asked: Asked, folder: Path, shop: Workshop, configuration: Configuration
) -> Settled:
    """Build what of a stack is pinned to commits. `folder` is where locks, wheels and repositories are kept.

    Raises what `sources.kept`, `lock.resolve` and `wheelhouse.make` raise.
    """
    if not named.sources:
        if asked.arch_list:
            raise ConfigurationError(f"--arch-list: nothing of {named.name} is built from source")
        return Settled(named, {}, {}, {}, ())
    repositories = {p: configuration.upstream(p).repository for p in named.sources}
    found = sources.kept(
        named.name,
        named.sources,
        {**repositories, **named.repositories},
        folder,
        when=asked.when,
        tell=shop.tell,
        again=asked.relock,
    )
    cuda = _cuda(folder / "builders", shop, asked.python)
    bench = _Bench(named, asked, folder, shop, configuration, cuda)
    pins, wheels, built, served, overrides = dict(named.pins), {}, {}, {}, []
    for commit in found.sources:
        job, repository = _job(bench, commit)
        wheelhouse_folder = folder / "wheelhouse"
        made = wheelhouse.there(job, wheelhouse_folder) or wheelhouse.make(
            job, repository, wheelhouse_folder, shop, asked.when
        )
        pins[commit.package] = made.version
        wheels[commit.package] = wheelhouse_folder / job.key / made.filename
        built[commit.package] = made
        served[commit.package] = job.served
        if job.torch and "torch" not in pins:
            overrides.append(f"torch=={job.torch}")
    resolved = dataclasses.replace(named, pins=pins)
    return Settled(resolved, wheels, built, served, tuple(dict.fromkeys(overrides)))


@dataclasses.dataclass(frozen=True)
class _Bench:
    """What every source of one stack is built from and for."""

    named: NamedStack
    asked: Asked
    folder: Path
    shop: Workshop
    configuration: Configuration
    cuda: str


def _job(bench: _Bench, commit: Commit) -> tuple[Job, Repository]:
    """Say what decides a wheel, with what its build needs locked."""
    named, asked, shop = bench.named, bench.asked, bench.shop
    repository = sources.present(commit, bench.folder)
    stated = sources.requirements(repository.text(commit.merged, "pyproject.toml"), commit.package)
    needs = tuple(lock.requirement(line) for line in stated)
    torch = named.pins.get("torch", "")
    pinned = (f"torch=={torch}",) if torch and not torch.startswith("@") else ()
    question = locks.Ask(
        stack=f"{named.name} builds {commit.package}",
        wanted=lock.Wanted(requirements=needs, overrides=pinned),
        machine=asked.machine,
        python=asked.python,
        environment="slim",
    )

    def resolve() -> Lock:
        shop.tell(f"locking what the build of {commit.package} needs")
        return lock.resolve(
            question.wanted, machine=asked.machine, python=asked.python, config=shop.config
        )

    held = locks.found(question, bench.folder / "locks", resolve, again=asked.relock)
    upstream = bench.configuration.upstream(commit.package)
    arches = _arches(bench, commit, repository)
    variables = {**upstream.variables}
    if arches.archs:
        variables[upstream.arch_list] = upstream.separator.join(arches.archs)
    job = Job(
        source=commit,
        machine=asked.machine,
        python=asked.python,
        builder=builder.fingerprint(shop.base, asked.python),
        cuda=bench.cuda,
        torch=held.versions.get("torch", ""),
        arch_list=";".join(arches.archs),
        served=tuple(target.name for target in arches.served),
        variables=variables,
        lock=requirements(held.text),
    )
    return job, repository


def _arches(bench: _Bench, commit: Commit, repository: Repository) -> Chosen:
    """Choose what machine code it is built for; nothing where the builder has no CUDA compiler.

    A package whose wheel holds source alone is for every target: its kernels are compiled when they are needed.
    """
    package, targets = commit.package, tuple(bench.asked.targets)
    known = bench.configuration.capabilities.packages
    source = any(rule.package == package and rule.reader == "source" for rule in known)
    if not bench.cuda:
        if bench.configuration.upstream(package).nvcc or bench.asked.arch_list:
            raise ConfigurationError(
                f"{package}: the builder has no nvcc; name an image that has it by --builder"
            )
        return Chosen((), (), targets if source else ())
    read = rules(
        repository.text(commit.merged, "CMakeLists.txt"),
        repository.text(commit.merged, "cmake/utils.cmake"),
    )
    made = chosen(read, bench.cuda, targets, bench.asked.arch_list)
    if source:
        return made._replace(served=targets)
    if missing := [target.name for target in targets if target not in made.served]:
        told = f"{package}: with CUDA {bench.cuda} no FP4 kernels for {', '.join(missing)}"
        bench.shop.tell(told)
    return made


def _cuda(folder: Path, shop: Workshop, python: str) -> str:
    """Return the CUDA whose compiler the builder has ("13.0"), "" without one. Asked once for a builder."""
    kept = folder / f"{builder.fingerprint(shop.base, python)[:20]}.cuda"
    if kept.is_file():
        return kept.read_text(encoding="utf-8").strip()
    image = wheelhouse.have_builder(shop, python)
    with shop.engine.container(Wanted(image=image, command=("nvcc", "--version"))) as container:
        code, said = container.run(_ANSWER)
    found = _RELEASE.search(said) if not code else None
    folder.mkdir(parents=True, exist_ok=True)
    write(kept, (found[1] if found else "").encode() + b"\n")
    return found[1] if found else ""
