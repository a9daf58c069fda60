"""The compiled lamp: what one package's own kernels for a capability are on a target. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from matrix.architecture import loadable, translatable
from matrix.capability import Piece
from matrix.evidence.record import KernelEvidence, WheelEvidence
from matrix.held import Held
from matrix.model import Model
from matrix.vocabulary import Answer, Compiled, Delivery


class PieceState(Model, frozen=True, kw_only=True):
    """One piece on one target: `images` are those that the target can load, `proven` and `trapped` theirs."""

    compiled: Compiled
    delivery: Delivery
    required: bool
    images: tuple[str, ...] = ()
    proven: int = 0
    trapped: int = 0


class CompiledState(Model, frozen=True, kw_only=True):
    """One capability on one target: the lamp, the images that hold its kernels, how many there are."""

    compiled: Compiled
    images: tuple[str, ...]
    kernels: int
    pieces: dict[str, PieceState]


@cache
def in_range(version: str, versions: str) -> bool:
    """Say whether a release is in a range of PEP 440 specifiers; an empty range holds every release."""
    return SpecifierSet(versions, prereleases=True).contains(Version(version))


def _gate_answer(held: Held, gate: str | None, capability: int) -> Answer:
    answer = held.gates.get(gate or "")
    return answer.devel.get(str(capability), "unknown") if answer else "unknown"


def piece_state(held: Held, piece: Piece, capability: int) -> PieceState:
    """Tell what the wheel holds of one piece for a GPU of `capability` (12.1 is 121).

    `image` and `cubin`: yes where a loadable image holds a proven kernel, trap where loadable ones hold
    none, else no. `jit` and `dsl`: the provider's own claim. `library`, `python`: unknown to a wheel.
    """
    if piece.delivery in ("jit", "dsl"):
        answer = _gate_answer(held, piece.gate, capability)
        generated: Compiled = "jit" if piece.delivery == "jit" else "dsl"
        return PieceState(
            compiled=generated if answer == "yes" else answer,
            delivery=piece.delivery,
            required=piece.required,
        )
    if piece.delivery == "cubin":
        cubins = [
            c
            for c in held.cubins.get(piece.piece, ())
            if loadable(c.image.replace("sm", "sm_", 1), capability)
        ]
        return PieceState(
            compiled="yes" if cubins else "no",
            delivery="cubin",
            required=piece.required,
            images=tuple(sorted({c.image for c in cubins})),
            proven=sum(c.files for c in cubins),
        )
    if piece.delivery != "image":
        return PieceState(compiled="unknown", delivery=piece.delivery, required=piece.required)
    kernels = held.kernels.get(piece.piece, [])
    fitting = [k for k in kernels if k.kind == "elf" and loadable(k.image, capability)]
    proven, trapped = sum(k.proven for k in fitting), sum(k.trapped for k in fitting)
    found: Compiled = "yes" if proven else "trap" if trapped else "no"
    if found == "no" and piece.ptx and _has_ptx(held, kernels, capability):
        found = "unknown"
    return PieceState(
        compiled=found,
        delivery="image",
        required=piece.required,
        images=tuple(sorted({k.image for k in fitting if k.proven or not proven})),
        proven=proven,
        trapped=trapped,
    )


def _has_ptx(held: Held, kernels: Sequence[KernelEvidence], capability: int) -> bool:
    """Say whether an object that holds the piece for other GPUs has PTX that this one can translate."""
    return any(
        translatable(image, capability)
        for path in {kernel.object for kernel in kernels}
        for image in held.ptx.get(path, ())
    )


def fold(states: Sequence[Compiled]) -> Compiled:
    """Fold the required pieces of one capability into its lamp.

    All alike: that. Some there and others not: partial. None there: trap if any is one, else unknown
    if any is, else no. No piece at all: no.
    """
    distinct = set(states)
    if not distinct:
        return "no"
    if len(distinct) == 1:
        return states[0]
    if distinct & {"yes", "jit", "dsl"}:
        missing = distinct & {"no", "trap"}
        if missing:
            return "partial"
        return "unknown" if "unknown" in distinct else "dsl" if "dsl" in distinct else "jit"
    if "trap" in distinct:
        return "trap"
    return "unknown" if "unknown" in distinct else "no"


def own_pieces(
    package: str, version: str, capability: str, pieces: Sequence[Piece]
) -> tuple[Piece, ...]:
    """Pick the pieces that make up `capability` in one release of `package`."""
    return tuple(
        piece
        for piece in pieces
        if piece.package == package
        and capability in piece.capabilities
        and in_range(version, piece.versions)
    )


def compiled(
    evidence: WheelEvidence | Held, capability: str, gpu: int, pieces: Sequence[Piece]
) -> CompiledState:
    """Fold one wheel's evidence for `capability` on a GPU of compute capability `gpu`.

    `pieces` are all that the data knows; those of other packages and releases are passed over.
    """
    held = evidence if isinstance(evidence, Held) else Held(evidence)
    own = own_pieces(held.record.package, held.record.version, capability, pieces)
    states = {piece.piece: piece_state(held, piece, gpu) for piece in own}
    required = [state for state in states.values() if state.required]
    return CompiledState(
        compiled=fold([state.compiled for state in required]),
        images=tuple(sorted({i for s in required if s.compiled == "yes" for i in s.images})),
        kernels=sum(state.proven for state in required),
        pieces=states,
    )
