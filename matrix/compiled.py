"""The compiled lamp: what one package's own kernels for a capability are on a target. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from matrix.architecture import loadable, translatable
from matrix.capability import Piece
from matrix.evidence.record import WheelEvidence
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


def _gate_answer(evidence: WheelEvidence, gate: str | None, capability: int) -> Answer:
    for answer in evidence.gates:
        if answer.gate == gate:
            return answer.devel.get(str(capability), "unknown")
    return "unknown"


def piece_state(evidence: WheelEvidence, piece: Piece, capability: int) -> PieceState:
    """Tell what the wheel holds of one piece for a GPU of `capability` (12.1 is 121).

    `image` and `cubin`: yes where a loadable image holds a proven kernel, trap where loadable ones hold
    none, else no. `jit` and `dsl`: the provider's own claim. `library`, `python`: unknown to a wheel.
    """
    if piece.delivery in ("jit", "dsl"):
        answer = _gate_answer(evidence, piece.gate, capability)
        generated: Compiled = "jit" if piece.delivery == "jit" else "dsl"
        return PieceState(
            compiled=generated if answer == "yes" else answer,
            delivery=piece.delivery,
            required=piece.required,
        )
    if piece.delivery == "cubin":
        cubins = [
            c
            for c in evidence.cubins
            if c.piece == piece.piece and loadable(c.image.replace("sm", "sm_", 1), capability)
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
    held = [
        k
        for k in evidence.kernels
        if k.piece == piece.piece and k.kind == "elf" and loadable(k.image, capability)
    ]
    proven, trapped = sum(k.proven for k in held), sum(k.trapped for k in held)
    found: Compiled = "yes" if proven else "trap" if trapped else "no"
    if found == "no" and piece.ptx and _has_ptx(evidence, piece, capability):
        found = "unknown"
    return PieceState(
        compiled=found,
        delivery="image",
        required=piece.required,
        images=tuple(sorted({k.image for k in held if k.proven or not proven})),
        proven=proven,
        trapped=trapped,
    )


def _has_ptx(evidence: WheelEvidence, piece: Piece, capability: int) -> bool:
    """Say whether an object that holds the piece for other GPUs has PTX that this one can translate."""
    objects = {k.object for k in evidence.kernels if k.piece == piece.piece}
    return any(
        translatable(image, capability)
        for held in evidence.objects
        if held.path in objects
        for image in held.ptx
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


def compiled(
    evidence: WheelEvidence, capability: str, gpu: int, pieces: Sequence[Piece]
) -> CompiledState:
    """Fold one wheel's evidence for `capability` on a GPU of compute capability `gpu`.

    `pieces` are all that the data knows; those of other packages and releases are passed over.
    """
    own = [
        piece
        for piece in pieces
        if piece.package == evidence.package
        and capability in piece.capabilities
        and in_range(evidence.version, piece.versions)
    ]
    states = {piece.piece: piece_state(evidence, piece, gpu) for piece in own}
    required = [state for state in states.values() if state.required]
    return CompiledState(
        compiled=fold([state.compiled for state in required]),
        images=tuple(sorted({i for s in required if s.compiled == "yes" for i in s.images})),
        kernels=sum(state.proven for state in required),
        pieces=states,
    )
