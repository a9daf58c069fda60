"""Machine code in a shared object: the one adapter that runs NVIDIA's cuobjdump and nvdisasm.

Candidates are found by the symbols of kernel entries, then proven by disassembly: a name alone proves
nothing, because an image can hold a kernel's name over nothing but a trap.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Final

from matrix.architecture import holds_fp4, parse
from matrix.capability import Instruction, Piece
from matrix.errors import OutsideError
from matrix.evidence.elf import cuda_runtime, symbol_indices
from matrix.evidence.nvidiatools import RefusedError, running, tool
from matrix.evidence.record import KernelEvidence, ObjectEvidence

_EXAMPLE = 160
_ROOM: Final = 1 << 20
"""Bytes that must still fit on the disk before a tool's complaint is believed."""

_LONGEST_ARGUMENT: Final = 100_000
"""Characters; Linux takes 131,072 in one argument."""

_NOTHING: Final = "does not contain device code"
"""What cuobjdump says, as an error, of an object with a fat binary that is empty."""

_SECTION = re.compile(r"\.section\s+\.text\.(\S+?),")
_CONTROL = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True)
class Entry:
    """A kernel entry: `ordinal` counts the object's ELF images from 1, as `cuobjdump -xelf` does."""

    ordinal: int
    image: str
    symbol: str


@dataclass
class _Tally:
    """Kernels of one piece in the images of one architecture."""

    kernels: int = 0
    proven: int = 0
    opcodes: Counter[str] = field(default_factory=Counter)
    example: str = ""


def _only(indices: Sequence[int]) -> list[str]:
    """Restrict nvdisasm to some functions; where they are too many for a command line, it reads all.

    16 of the 816 in one of Transformer Engine's images take 2.5 s, all of them minutes.
    """
    text = ",".join(map(str, indices))
    return ["-fun", text] if 0 < len(text) <= _LONGEST_ARGUMENT else []


def parse_symbols(lines: Iterable[str], images: Counter[str], ptx: Counter[str]) -> Iterator[Entry]:
    """Read the output of `cuobjdump -symbols`: yield kernel entries, count images and PTX as they come."""
    ordinal, image, is_elf = 0, "", False
    for line in lines:
        if line.startswith("FUNC"):
            if is_elf and " ENTRY " in line:
                yield Entry(ordinal, image, line.split()[-1])
        elif line.startswith("Fatbin "):
            is_elf = line.startswith("Fatbin elf")
        elif line.startswith("arch = "):
            image = line.split()[-1]
            (images if is_elf else ptx)[image] += 1
            ordinal += is_elf


def parse_disassembly(lines: Iterable[str], opcode: re.Pattern[str]) -> dict[str, Counter[str]]:
    """Read the output of `nvdisasm -c`: opcodes that match, counted by the kernel they stand in."""
    found: dict[str, Counter[str]] = {}
    current: Counter[str] = Counter()
    for line in lines:
        if ".section" in line and (section := _SECTION.search(line)):
            current = found.setdefault(section[1], Counter())
        elif match := opcode.search(line):
            current[match[0]] += 1
    return found


def matching(entry: Entry, piece: Piece, member: str) -> bool:
    """Say whether a kernel entry in `member` carries the name of `piece`."""
    if not piece.symbol or not re.search(piece.symbol, entry.symbol):
        return False
    if piece.objects and not re.search(piece.objects, member):
        return False
    return not (piece.exclude and re.search(piece.exclude, entry.symbol))


def _of_family(entry: Entry, piece: Piece) -> bool:
    """Say whether the name is of the family that the image was built for (an Sm100 kernel is not on 12x)."""
    if piece.families is None:
        return True
    wanted = piece.families.get(parse(entry.image).family)
    return wanted is not None and re.search(wanted, entry.symbol) is not None


def read_object(
    path: Path,
    member: str,
    pieces: Sequence[Piece],
    instructions: Sequence[Instruction],
    *,
    workdir: Path,
    jobs: int = 2,
) -> tuple[ObjectEvidence, tuple[KernelEvidence, ...]]:
    """Read one shared object on disk; `member` is its name in the wheel.

    An object that cuobjdump refuses is an outcome, not an error. Raises ToolError without the tools, and
    OutsideError where the disk is full or a process cannot be started.
    """
    size = path.stat().st_size
    images: Counter[str] = Counter()
    ptx: Counter[str] = Counter()
    wanted = [piece for piece in pieces if piece.delivery == "image" and piece.symbol]
    candidates: list[tuple[Piece, Entry]] = []
    try:
        with running([tool("cuobjdump"), "-symbols", str(path)]) as output:
            for entry in parse_symbols(output, images, ptx):
                candidates += [(piece, entry) for piece in wanted if matching(entry, piece, member)]
        opcodes = _disassemble(path, candidates, instructions, workdir, jobs)
    except OSError as error:
        raise OutsideError(f"{member}: {workdir}: {error.strerror}") from error
    except RefusedError as error:
        _demand_room(workdir)
        said = str(error).replace(str(path), Path(member).name)[:200]
        if _NOTHING in said:
            return ObjectEvidence(path=member, size=size, outcome="no-device-code"), ()
        return ObjectEvidence(path=member, size=size, outcome="refused", detail=said), ()
    tallies: dict[tuple[str, str], _Tally] = {}
    for piece, entry in candidates:
        tally = tallies.setdefault((piece.piece, entry.image), _Tally(example=entry.symbol))
        tally.kernels += 1
        proof = _proof(piece, entry, instructions, opcodes)
        if _of_family(entry, piece) and (piece.instruction is None or proof):
            tally.proven += 1
            tally.opcodes += proof
    kernels = tuple(
        KernelEvidence(
            piece=piece,
            object=member,
            image=image,
            kernels=tally.kernels,
            proven=tally.proven,
            trapped=tally.kernels - tally.proven,
            opcodes=dict(sorted(tally.opcodes.items())),
            example=_CONTROL.sub(" ", tally.example[:_EXAMPLE]),
        )
        for (piece, image), tally in sorted(tallies.items())
    )
    outcome = "read" if images or ptx else "no-device-code"
    evidence = ObjectEvidence(
        path=member,
        size=size,
        outcome=outcome,
        images=dict(sorted(images.items())),
        ptx=dict(sorted(ptx.items())),
        needs=cuda_runtime(path),
    )
    return evidence, kernels


def _demand_room(folder: Path) -> None:
    """Raise OutsideError where the disk is full.

    cuobjdump 13.3 ends with code 0 when it could not write all of an image, and nvdisasm refuses what is
    there: that says nothing of the wheel.
    """
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OutsideError(f"{folder}: cannot write: {error.strerror}") from error


def _opcode(instructions: Sequence[Instruction], name: str | None, family: str) -> str | None:
    for instruction in instructions:
        if instruction.name == name:
            return instruction.families.get(family)
    return None


def _proof(
    piece: Piece,
    entry: Entry,
    instructions: Sequence[Instruction],
    opcodes: dict[int, dict[str, Counter[str]]],
) -> Counter[str]:
    pattern = _opcode(instructions, piece.instruction, parse(entry.image).family)
    held = opcodes.get(entry.ordinal, {}).get(entry.symbol, Counter())
    return Counter({op: n for op, n in held.items() if pattern and re.search(pattern, op)})


def _disassemble(
    path: Path,
    candidates: Sequence[tuple[Piece, Entry]],
    instructions: Sequence[Instruction],
    workdir: Path,
    jobs: int,
) -> dict[int, dict[str, Counter[str]]]:
    """Opcodes by image ordinal and kernel, for images that can hold FP4 instructions at all."""
    needed: dict[int, set[str]] = {}
    kernels: dict[int, set[str]] = {}
    for piece, entry in candidates:
        pattern = _opcode(instructions, piece.instruction, parse(entry.image).family)
        if pattern and holds_fp4(entry.image):
            needed.setdefault(entry.ordinal, set()).add(pattern)
            kernels.setdefault(entry.ordinal, set()).add(entry.symbol)
    if not needed:
        return {}
    with TemporaryDirectory(dir=workdir) as folder:
        names = ",".join(f".{ordinal}.sm_" for ordinal in sorted(needed))
        extract = [tool("cuobjdump"), "-xelf", names, str(path.resolve())]
        with running(extract, folder=Path(folder)):
            pass
        cubins = {int(file.name.split(".")[-3]): file for file in Path(folder).glob("*.cubin")}

        def read(ordinal: int) -> tuple[int, dict[str, Counter[str]]]:
            opcode = re.compile(f"(?:{'|'.join(sorted(needed[ordinal]))})[A-Z0-9_.]*")
            cubin = cubins[ordinal]
            only = _only(symbol_indices(cubin, kernels[ordinal]))
            # -ndf: where branches lead is a fifth of its time, and nothing of ours.
            with running([tool("nvdisasm"), "-c", "-ndf", *only, str(cubin)]) as output:
                return ordinal, parse_disassembly(output, opcode)

        if missing := set(needed) - set(cubins):
            raise RefusedError(f"cuobjdump did not extract image {min(missing)}")
        with ThreadPoolExecutor(jobs) as pool:
            return dict(pool.map(read, sorted(needed)))
