"""An image right after it was built: what is installed, what is compiled, what it would choose, and what was promised."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from packaging.utils import canonicalize_name

from images.contained import Contained, file_in
from images.context import tarred
from images.engine import Container, Engine, Wanted
from images.recipe import PREFIX, UID, Recipe
from matrix.errors import NotFoundError, ToolError
from matrix.evidence.audit import audit
from matrix.evidence.interpreter import PATIENCE, ask
from matrix.evidence.wheel import Wheel
from matrix.image import Asked, AuditedPackage, Difference, asked, audited, pins_differ
from matrix.knowledge import Knowledge
from matrix.origin import installed as origin
from matrix.promise import lost, nearest
from matrix.rules import rules_digest
from matrix.selection import question, selection
from matrix.target import Target

_LISTED: Final = 120.0
"""Seconds for `pip freeze` in a new container; 1 s where nothing else goes on."""

_JOBS: Final = 2
"""Questions that are asked at a time: the engine need not be on this machine, so its processors are not counted."""

_BEGIN: Final = "-- dist-info"
_SYSTEM: Final = "-- system"
_PACKAGES: Final = (
    ". /etc/os-release && echo $ID $VERSION_ID && "
    r"dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\n'"
)


class Examined(NamedTuple):
    """What was found in an image. `freeze`: what `pip freeze --all` printed there; `system`: as `images.sbom` has it."""

    freeze: str
    system: str
    installed: dict[str, str]
    audited: tuple[AuditedPackage, ...]
    asked: Asked | None
    differences: tuple[Difference, ...]


def examine(
    engine: Engine,
    image: str,
    made: Recipe,
    lead: str,
    knowledge: Knowledge,
    *,
    served: Mapping[str, Collection[str]] | None = None,
) -> Examined:
    """List, audit and ask an image. `lead` is the package that the stack is about.

    `served`: of what was built from source, the targets that it was built for, by package.

    Raises EngineError where the engine fails, BrokenWheelError where an installed file is not what its RECORD
    says, ToolError where vLLM is there and cannot be asked.
    """
    site = f"{PREFIX}/lib/python{made.python}/site-packages"
    freeze, folders, system = _listed(engine, image, site)
    there = dict(line.split("==", 1) for line in freeze.splitlines() if "==" in line)
    differences = list(pins_differ(made.pins, there))
    targets = [t for t in knowledge.configuration.targets if made.machine in t.machines]
    packages: list[AuditedPackage] = []
    with engine.container(Wanted(image=image)) as container:
        told = served or {}
        for package in dict.fromkeys(
            (*worth_reading(made.pins, made.machine, lead, knowledge), *told)
        ):
            read, differs = _audited(
                container=container,
                site=site,
                folders=folders,
                package=package,
                made=made,
                targets=targets,
                knowledge=knowledge,
                served=told.get(package),
            )
            packages.append(read)
            differences += differs
    choices: Asked | None = None
    if "vllm" in made.pins:
        choices, differs = _asked(engine, image, made, targets, knowledge)
        differences += differs
    return Examined(freeze, system, there, tuple(packages), choices, tuple(differences))


def worth_reading(
    pins: Mapping[str, str], machine: str, lead: str, knowledge: Knowledge
) -> tuple[str, ...]:
    """Name the packages whose files tell something: the leading one, and those that the ledger has been read of.

    A package whose version says all (cuDNN) is not read: its pin was compared.
    """
    rules = {rule.package: rule.reader for rule in knowledge.configuration.capabilities.packages}
    known = [
        package
        for package, version in pins.items()
        if rules.get(package, "library") != "library"
        and knowledge.published.record(package, version, machine)
    ]
    return tuple(dict.fromkeys((lead, *known)))


def _listed(engine: Engine, image: str, site: str) -> tuple[str, tuple[str, ...], str]:
    """Return what pip says is installed, the names of the dist-info folders, and the system's own packages."""
    script = f"pip freeze --all && echo '{_BEGIN}' && ls {site} && echo '{_SYSTEM}' && {_PACKAGES}"
    with engine.container(Wanted(image=image, command=("sh", "-c", script))) as container:
        code, said = container.run(_LISTED)
    freeze, _, rest = said.partition(f"{_BEGIN}\n")
    names, begin, system = rest.partition(f"{_SYSTEM}\n")
    if code or not begin:
        raise ToolError(f"{image}: what is installed there is not said: {said.strip()[-200:]}")
    folders = tuple(name for name in names.split() if name.endswith(".dist-info"))
    return freeze, folders, system


def _audited(
    *,
    container: Container,
    site: str,
    folders: Sequence[str],
    package: str,
    made: Recipe,
    targets: Sequence[Target],
    knowledge: Knowledge,
    served: Collection[str] | None,
) -> tuple[AuditedPackage, tuple[Difference, ...]]:
    """Read one installed package, by the rules of an audit, and hold it against the ledger's record.

    One that was built from source (`served`: for these targets) against that of the nearest release.
    """
    known, gates = knowledge.configuration.capabilities, knowledge.configuration.gates
    folder = next((f for f in folders if canonicalize_name(f.split("-", 1)[0]) == package), None)
    if folder is None:
        raise NotFoundError(f"{package} is not installed in the image")
    with Wheel(Contained(container, site, folder)) as wheel:
        found = audit(wheel, origin(wheel, Path(site)), known, gates)
    record = knowledge.published.record(package, made.pins[package], made.machine)
    if record and record.rules != rules_digest(package, record.version, known, gates):
        record = None
    names = [capability.name for capability in known.readable]
    if served is None:
        return audited(found, record, names, targets, known.pieces)
    read, _ = audited(found, None, names, targets, known.pieces)
    versions = knowledge.published.records(package)
    releases = (
        each for v in versions if (each := knowledge.published.record(package, v, made.machine))
    )
    release = nearest(releases, found.version)
    if release is None:
        return read, ()
    told = lost(found, release, served, capabilities=names, targets=targets, pieces=known.pieces)
    return msgspec.structs.replace(read, release=release.version), tuple(told)


def _asked(
    engine: Engine, image: str, made: Recipe, targets: Sequence[Target], knowledge: Knowledge
) -> tuple[Asked, tuple[Difference, ...]]:
    """Ask the image's vLLM what it would choose, cubins stated to be reachable as in what the ledger keeps."""

    def run(command: list[str], folder: Path) -> tuple[int, str]:
        return _run(engine, image, command, folder)

    asking = question(targets, (made.environment,), "reachable", knowledge.packages, _JOBS)
    told = ask(Path(PREFIX) / "bin" / "python", asking, run)
    paths = knowledge.configuration.paths.paths
    try:
        answer = selection(told, targets, paths, datetime.now(UTC).date().isoformat())
    except msgspec.ValidationError as error:
        raise ToolError(f"{image} gave an answer of another shape: {error}") from error
    kept = knowledge.situations.selections.find("vllm", made.pins["vllm"], made.machine)
    return asked(answer, kept, made.environment)


def _run(engine: Engine, image: str, command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command in a container that has the files of `folder`, and bring its answer back into it."""
    inside = str(folder).strip("/")
    files = {f"{inside}/{file.name}": file.read_bytes() for file in folder.iterdir()}
    wanted = Wanted(image=image, command=tuple(command), folder=str(folder))
    with engine.container(wanted) as container:
        container.put(tarred(files, uid=UID))
        code, said = container.run(PATIENCE)
        path = f"{folder}/answer.json"
        try:
            (folder / "answer.json").write_bytes(b"".join(file_in(container.archive(path), path)))
        except NotFoundError:
            return code, said.strip().splitlines()[-1] if said.strip() else ""
    return code, ""
