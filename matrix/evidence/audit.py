"""One audit: everything that one published wheel says and holds, from its URL to a record."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from matrix.architecture import loadable
from matrix.capability import CapabilitiesFile, PackageRule, Piece
from matrix.compiled import in_range
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

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")
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
    objects: list[ObjectEvidence] = []
    kernels: list[KernelEvidence] = []
    if rule.reader == "kernels":
        objects, kernels = _machine_code(wheel, rule, pieces, capabilities, progress)
    facts = _FACTS[rule.reader](wheel) if rule.reader in _FACTS else {}

    def compiled(piece: str, capability: int) -> bool | None:
        return any(k.piece == piece and k.proven and loadable(k.image, capability) for k in kernels)

    def read(name: str) -> bytes | None:
        return wheel.read(name) if name in wheel else None

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


def _machine_code(
    wheel: Wheel,
    rule: PackageRule,
    pieces: Sequence[Piece],
    capabilities: CapabilitiesFile,
    progress: Callable[[str], None],
) -> tuple[list[ObjectEvidence], list[KernelEvidence]]:
    images = [piece for piece in pieces if piece.delivery == "image"]
    objects: list[ObjectEvidence] = []
    kernels: list[KernelEvidence] = []
    words = names_pattern(images)
    read = partial(read_object, pieces=images, instructions=capabilities.instructions)
    with _workdir() as folder:
        for name in filter(_SHARED_OBJECT.search, wheel.names()):
            size = wheel.info(name).size
            if rule.skip_objects and re.search(rule.skip_objects, name):
                objects.append(ObjectEvidence(path=name, size=size, outcome="skipped"))
                continue
            progress(name)
            held = Path(folder) / Path(name).name
            if not wheel.probe_and_extract(name, held, FatbinPeek(words)):
                objects.append(ObjectEvidence(path=name, size=size, outcome="no-kernels"))
                continue
            evidence, found = read(held, name, workdir=Path(folder))
            held.unlink()
            objects.append(msgspec.structs.replace(evidence, sha256=wheel.sha256(name)))
            kernels += found
    return objects, kernels


def _workdir() -> TemporaryDirectory[str]:
    try:
        return TemporaryDirectory(prefix="nvfp4-matrix-")
    except OSError as error:
        raise OutsideError(f"no temporary folder: {error.strerror}") from error
