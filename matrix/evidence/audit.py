"""One audit: everything that one published wheel says and holds, from its URL to a record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import msgspec

from matrix.architecture import loadable
from matrix.capability import CapabilitiesFile, PackageRule, Piece
from matrix.compiled import in_range
from matrix.crew import Crew
from matrix.errors import OutsideError
from matrix.evidence.cubins import count_cubins
from matrix.evidence.dslcompiler import read_dsl
from matrix.evidence.elf import FatbinPeek
from matrix.evidence.index import WheelFile
from matrix.evidence.kernelword import names_pattern
from matrix.evidence.machinecode import read_object
from matrix.evidence.nvidiatools import tool_versions
from matrix.evidence.record import KernelEvidence, ObjectEvidence, WheelEvidence
from matrix.evidence.source import read_gates
from matrix.evidence.torchbuild import read_torch
from matrix.evidence.wheel import Wheel
from matrix.gate import GatesFile
from matrix.rules import ANY_PACKAGE, rules_digest

_READERS: Final = 4
"""Members of a wheel that are read at a time."""

_GRACE: Final = 3.0
"""Seconds that the other readers get to end when one failed."""

_SHARED_OBJECT: Final = re.compile(r"\.so(\.\d+)*$")
_FACTS: Mapping[str, Callable[[Wheel], dict[str, str]]] = {"torch": read_torch, "dsl": read_dsl}


def audit(
    wheel: Wheel,
    file: WheelFile,
    capabilities: CapabilitiesFile,
    gates: GatesFile,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> WheelEvidence:
    """Read one wheel, by the reader that its package's rule names; without a rule, as `kernels`.

    `progress` is told each shared object as its reading begins. Raises what `Wheel` raises, ToolError
    without NVIDIA's tools, OutsideError where the disk is full.
    """
    rule = next((rule for rule in capabilities.packages if rule.package == file.package), None)
    package = rule.package if rule else ANY_PACKAGE
    rule = rule or PackageRule(package=file.package, reader="kernels")
    pieces = [
        piece
        for piece in capabilities.pieces
        if piece.package == package and in_range(file.version, piece.versions)
    ]
    metadata = wheel.metadata()
    sources = _sources(wheel, file, gates)
    shared = [name for name in wheel.names() if _SHARED_OBJECT.search(name)]
    with _workdir() as folder:
        objects_of = _Objects(wheel, rule, pieces, capabilities, Path(folder), progress)
        # The largest object first: its kernels take longest to prove.
        largest = sorted(shared, key=lambda name: wheel.info(name).compressed, reverse=True)
        order = [*largest[:1], *sources, *largest[1:]] if rule.reader == "kernels" else sources
        found = _side_by_side(
            order, lambda name: objects_of(name) if name in shared else wheel.read(name)
        )
    held: dict[str, bytes] = {name: found[name] for name in sources}
    read_objects = [found[name] for name in shared if name in found]
    objects = [evidence for evidence, _ in read_objects]
    kernels = [each for _, proven in read_objects for each in proven]
    facts = _FACTS[rule.reader](wheel) if rule.reader in _FACTS else {}

    def compiled(piece: str, capability: int) -> bool | None:
        return any(k.piece == piece and k.proven and loadable(k.image, capability) for k in kernels)

    def read(name: str) -> bytes | None:
        return held[name] if name in held else wheel.read(name) if name in wheel else None

    answers = read_gates(
        package=file.package,
        version=file.version,
        read=read,
        names=frozenset(wheel.names()),
        gates=gates.gates,
        externs=gates.externs,
        compiled=compiled,
    )
    return WheelEvidence(
        package=file.package,
        version=file.version,
        build="".join(map(str, file.build or ())),
        python=next(iter(sorted(tag.interpreter for tag in file.tags)), ""),
        machine=file.machine,
        filename=file.filename,
        sha256=file.sha256,
        bytes_total=wheel.bytes_total,
        bytes_fetched=wheel.bytes_fetched,
        measured=datetime.now(UTC).date().isoformat(),
        tools=tool_versions(),
        rules=rules_digest(file.package, file.version, capabilities, gates),
        requires_python=metadata.get("Requires-Python", ""),
        requires=tuple(metadata.get_all("Requires-Dist", [])),
        extras=tuple(metadata.get_all("Provides-Extra", [])),
        objects=tuple(objects),
        kernels=tuple(kernels),
        cubins=count_cubins(wheel.names(), pieces),
        gates=answers,
        facts=facts,
    )


def _sources(wheel: Wheel, file: WheelFile, gates: GatesFile) -> list[str]:
    """Name the modules that are surely asked: fetched meanwhile, they cost no round trip each."""
    named = [
        name
        for gate in gates.gates
        if gate.package == file.package and gate.python and in_range(file.version, gate.versions)
        for name in (gate.python.file, *gate.python.moved)
    ]
    return [name for name in dict.fromkeys(named) if name in wheel]


@dataclass(frozen=True)
class _Objects:
    """Reads one shared object at a time, by whoever calls."""

    wheel: Wheel
    rule: PackageRule
    pieces: Sequence[Piece]
    capabilities: CapabilitiesFile
    folder: Path
    progress: Callable[[str], None]

    def __call__(self, name: str) -> tuple[ObjectEvidence, tuple[KernelEvidence, ...]]:
        """Read the object `name`, as far as it is worth."""
        size = self.wheel.info(name).size
        if self.rule.skip_objects and re.search(self.rule.skip_objects, name):
            return ObjectEvidence(path=name, size=size, outcome="skipped"), ()
        self.progress(name)
        images = [piece for piece in self.pieces if piece.delivery == "image"]
        held = self.folder / f"{self.wheel.names().index(name)}.so"
        if not self.wheel.probe_and_extract(name, held, FatbinPeek(names_pattern(images))):
            return ObjectEvidence(path=name, size=size, outcome="no-kernels"), ()
        instructions = self.capabilities.instructions
        evidence, found = read_object(held, name, images, instructions, workdir=self.folder)
        held.unlink()
        return msgspec.structs.replace(evidence, sha256=self.wheel.sha256(name)), found


def _side_by_side(names: Sequence[str], read: Callable[[str], Any]) -> dict[str, Any]:
    """Read members a few at a time: waiting for a server, inflating and NVIDIA's tools go on together.

    Raises what the first one to fail raises.
    """
    found: dict[str, Any] = {}
    crew = Crew(read, names, _READERS)
    try:
        for news in crew.outcomes():
            if news is None:
                continue
            name, outcome = news
            if isinstance(outcome, Exception):
                raise outcome
            found[name] = outcome
    finally:
        crew.stop(within=_GRACE)
    return found


def _workdir() -> TemporaryDirectory[str]:
    try:
        # A reader that was stopped may still hold a file.
        return TemporaryDirectory(prefix="nvfp4-matrix-", ignore_cleanup_errors=True)
    except OSError as error:
        raise OutsideError(f"no temporary folder: {error.strerror}") from error
