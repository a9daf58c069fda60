"""One audit: everything that one published wheel says and holds, from its URL to a record."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from matrix.architecture import loadable
from matrix.capability import CapabilitiesFile, Piece
from matrix.compiled import in_range
from matrix.errors import OutsideError
from matrix.evidence.elf import FatbinPeek
from matrix.evidence.index import WheelFile
from matrix.evidence.machinecode import read_object, tool_versions
from matrix.evidence.record import KernelEvidence, ObjectEvidence, WheelEvidence
from matrix.evidence.source import read_gates
from matrix.evidence.wheel import Wheel
from matrix.gate import GatesFile

_SHARED_OBJECT = re.compile(r"\.so(\.\d+)*$")
_WORD = re.compile(r"[A-Za-z0-9_]{5,}")
_NUMBER = re.compile(r"^\d+")


def names_pattern(pieces: Sequence[Piece]) -> re.Pattern[bytes]:
    """Make one pattern of words that stand in a kernel's name, for a look before the machine code.

    Of each piece the longest literal word of its symbol, without the length that mangling puts before
    it: what holds the kernel holds the word, so a miss is never a false no.
    """
    words = {
        max((_NUMBER.sub("", word).removesuffix("I") for word in found), key=len)
        for piece in pieces
        if (found := _WORD.findall(re.sub(r"\([^)]*\)\??|\[[^]]*\]|\\.", " ", piece.symbol)))
    }
    # Alternatives inside parentheses are no sure words; such a piece is found by what all share.
    words |= {"fp4"}
    return re.compile("|".join(re.escape(word) for word in sorted(words)).encode())


def audit(
    wheel: Wheel,
    file: WheelFile,
    capabilities: CapabilitiesFile,
    gates: GatesFile,
    *,
    progress: Callable[[str], None] = lambda _: None,
) -> WheelEvidence:
    """Read one wheel.

    `progress` is told each shared object as its reading begins. Raises what `Wheel` raises, ToolError
    without NVIDIA's tools, OutsideError where the disk is full.
    """
    pieces = [
        piece
        for piece in capabilities.pieces
        if piece.package == file.package and in_range(file.version, piece.versions)
    ]
    metadata = wheel.metadata()
    objects, kernels = _machine_code(wheel, pieces, capabilities, progress)

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
    own = [gate for gate in gates.gates if gate.package == file.package]
    rules = hashlib.sha256(msgspec.json.encode([pieces, capabilities.instructions, own]))
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
        rules=rules.hexdigest()[:16],
        requires_python=metadata.get("Requires-Python", ""),
        requires=tuple(metadata.get_all("Requires-Dist", [])),
        extras=tuple(metadata.get_all("Provides-Extra", [])),
        objects=tuple(objects),
        kernels=tuple(kernels),
        gates=answers,
    )


def _machine_code(
    wheel: Wheel,
    pieces: Sequence[Piece],
    capabilities: CapabilitiesFile,
    progress: Callable[[str], None],
) -> tuple[list[ObjectEvidence], list[KernelEvidence]]:
    images = [piece for piece in pieces if piece.delivery == "image"]
    objects: list[ObjectEvidence] = []
    kernels: list[KernelEvidence] = []
    if not images:
        return objects, kernels
    words = names_pattern(images)
    read = partial(read_object, pieces=images, instructions=capabilities.instructions)
    with _workdir() as folder:
        for name in filter(_SHARED_OBJECT.search, wheel.names()):
            progress(name)
            held = Path(folder) / Path(name).name
            if not wheel.probe_and_extract(name, held, FatbinPeek(words)):
                size = wheel.info(name).size
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
