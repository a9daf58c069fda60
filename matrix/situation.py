"""A stack in one machine with one GPU: whether its pieces can be had there. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final, NamedTuple

from packaging.version import Version

from matrix.capability import Piece
from matrix.compiled import in_range, piece_state
from matrix.defect import Defect
from matrix.held import Held
from matrix.stack import Stack
from matrix.target import Target
from matrix.vocabulary import Answer, Environment, Reason

_DOWNLOADER: Final = {"flashinfer-cubin": "flashinfer-python"}
"""Packages whose cubins another one downloads at run time where they are not installed
(flashinfer/jit/cubin_loader.py of FlashInfer 0.7.2.post1)."""


class PieceAnswer(NamedTuple):
    """Whether one piece can be had: `told` is the word of the compiled lamp, `text` one sentence."""

    piece: str
    available: Answer
    told: str
    reason: Reason = ""
    text: str = ""
    where: str = ""


@dataclass(frozen=True)
class Situation:
    """One stack on one target: `held` are the wheels that were read, by package.

    `cuda` is the toolkit of the stack's torch ("13.0"; "" is a CPU build; None is not known).
    `pieces` are all entries of the data by name; `defects` those of this target and machine.
    `floors`: the CUDA runtime that a gate asks for besides. `superseded`: wheels of the same release that
    pip passes over for the leading one's build tag.
    """

    stack: Stack
    target: Target
    held: Mapping[str, Held]
    cuda: str | None
    pieces: Mapping[str, Sequence[Piece]]
    defects: Sequence[Defect] = ()
    superseded: Sequence[str] = ()
    floors: Mapping[str, str] = field(default_factory=dict)
    _answers: dict[tuple[str, Environment], PieceAnswer] = field(default_factory=dict, repr=False)
    _said: dict[tuple[str, Environment], Answer] = field(default_factory=dict, repr=False)

    def availability(self, name: str, environment: Environment) -> PieceAnswer:
        """Say whether piece `name` can be had in `environment`, defects included."""
        key = (name, environment)
        if key not in self._answers:
            found = self.entry(name)
            answer = _delivered(self, found, environment) if found else _absent(self, name)
            self._answers[key] = _spoiled(self, answer)
        return self._answers[key]

    def defects_of(self, piece: str | None = None, path: str | None = None) -> list[Defect]:
        """Return the known defects of a piece or a path whose package this stack has in that range."""
        return [
            defect
            for defect in self._known
            if (defect.piece == piece if piece else defect.path == path)
        ]

    @cached_property
    def _known(self) -> list[Defect]:
        return [
            defect
            for defect in self.defects
            if (version := self.stack.version(defect.package))
            and in_range(version, defect.versions)
        ]

    def gate(self, name: str, environment: Environment) -> Answer:
        """Return what any wheel of the stack says under a gate's name; unknown where none does."""
        key = (name, environment)
        if key not in self._said:
            self._said[key] = self._gate(name, environment)
        return self._said[key]

    def _gate(self, name: str, environment: Environment) -> Answer:
        answer = held.gates[name] if (held := self.claimant(name)) else None
        if answer is None:
            return "unknown"
        if name in self.denied:
            return "no"
        said = answer.slim if environment == "slim" else answer.devel
        return said.get(str(self.target.capability), "unknown")

    @cached_property
    def denied(self) -> frozenset[str]:
        """Gates that ask for a newer CUDA runtime than the one that the stack's torch brings."""
        if not self.cuda:
            return frozenset()
        return frozenset(
            name for name, floor in self.floors.items() if not _reaches(self.cuda, floor)
        )

    def claimant(self, name: str) -> Held | None:
        """Give the wheel of the stack that answers under a gate's name."""
        return self._claimants.get(name)

    @cached_property
    def _claimants(self) -> dict[str, Held]:
        claimants: dict[str, Held] = {}
        for held in self.held.values():
            claimants = dict.fromkeys(held.gates, held) | claimants
        return claimants

    def entry(self, name: str) -> Piece | None:
        """Pick the entry of the provider's release in this stack; any entry where it has none."""
        entries = self.pieces.get(name, ())
        for entry in entries:
            version = self.stack.version(entry.package)
            if version and in_range(version, entry.versions):
                return entry
        pinned = [entry for entry in entries if self.stack.version(entry.package)]
        return None if pinned else next(iter(entries), None)


def _absent(situation: Situation, name: str) -> PieceAnswer:
    """Answer for a piece that the provider's release in this stack does not have."""
    entries = situation.pieces.get(name, ())
    if not entries:
        return PieceAnswer(name, "unknown", "unknown", "not_measured", "no data says what it is")
    provider = entries[0].package
    text = f"{provider} {situation.stack.version(provider)} does not have it"
    return PieceAnswer(name, "no", "no", "no_release", text)


def _delivered(s: Situation, piece: Piece, environment: Environment) -> PieceAnswer:
    match piece.delivery:
        case "python":
            return PieceAnswer(piece.piece, "yes", "yes", text="plain torch")
        case "library":
            return _library(s, piece, environment)
        case "cubin":
            return _cubin(s, piece, environment)
        case "image":
            return _image(s, piece)
        case _:
            return _generated(s, piece, environment)


def _provider(s: Situation, piece: Piece) -> PieceAnswer | Held:
    """Give the record of the piece's provider, or the answer where the stack has none."""
    version = s.stack.version(piece.package)
    if version is None:
        text = f"{piece.package} is not in this stack"
        return PieceAnswer(piece.piece, "no", "no", "missing_package", text)
    held = s.held.get(piece.package)
    if held is None:
        text = f"{piece.package} {version} was not read"
        return PieceAnswer(piece.piece, "unknown", "unknown", "not_measured", text)
    return held


def _image(s: Situation, piece: Piece) -> PieceAnswer:
    held = _provider(s, piece)
    if isinstance(held, PieceAnswer):
        return held
    state = piece_state(held, piece, s.target.capability)
    images = ", ".join(state.images)
    where = held.record.filename
    name = s.target.name
    match state.compiled:
        case "yes":
            text = f"{state.proven} kernel{'s' * (state.proven != 1)} in {images}"
            return PieceAnswer(piece.piece, "yes", "yes", text=text, where=where)
        case "trap":
            text = f"{name} can load {images}, and no kernel is in there: {state.trapped} only trap"
            return PieceAnswer(piece.piece, "no", "trap", "trap_kernel", text, where)
        case "unknown":
            text = f"no image for {name}, and PTX whose entries are not named"
            return PieceAnswer(piece.piece, "unknown", "unknown", "not_measured", text, where)
        case _:
            others = sorted({k.image for k in held.kernels.get(piece.piece, ()) if k.proven})
            has = f"; it has {', '.join(others)}" if others else ""
            text = f"no image that {name} can load{has}"
            return PieceAnswer(piece.piece, "no", "no", "no_kernel_image", text, where)


def _generated(s: Situation, piece: Piece, environment: Environment) -> PieceAnswer:
    held = _provider(s, piece)
    if isinstance(held, PieceAnswer):
        return held
    where = held.record.filename
    if claimed := _claimed(s, piece, environment, where):
        return claimed
    if missing := [name for name in piece.needs if not s.stack.version(name)]:
        text = f"needs {missing[0]}, which is not in this stack"
        return PieceAnswer(piece.piece, "no", "no", "missing_package", text, where)
    if piece.delivery == "dsl":
        return PieceAnswer(piece.piece, "yes", "dsl", text="compiled at run time", where=where)
    return _by_nvcc(s, piece, environment, where)


def _by_nvcc(s: Situation, piece: Piece, environment: Environment, where: str) -> PieceAnswer:
    told = "jit"
    if environment == "slim":
        text = "source; needs nvcc and ninja, which pip does not bring"
        return PieceAnswer(piece.piece, "no", told, "no_compiler", text, where)
    if s.cuda is None:
        text = "source; which CUDA toolkit belongs to the stack's torch is not known"
        return PieceAnswer(piece.piece, "unknown", told, "not_measured", text, where)
    if not s.cuda or not _reaches(s.cuda, s.target.first_cuda):
        has = f"the stack's is {s.cuda}" if s.cuda else "the stack's torch has no CUDA"
        text = f"source; {s.target.name} needs nvcc {s.target.first_cuda}, {has}"
        return PieceAnswer(piece.piece, "no", told, "ptxas_too_old", text, where)
    text = f"source; compiled by nvcc {s.cuda} at run time"
    return PieceAnswer(piece.piece, "yes", told, text=text, where=where)


def _claimed(
    s: Situation, piece: Piece, environment: Environment, where: str
) -> PieceAnswer | None:
    """Answer where the provider's own check says no or cannot be read; None where it lets it pass."""
    if not piece.gate:
        return None
    said, held = s.gate(piece.gate, environment), s.claimant(piece.gate)
    package = held.record.package if held else piece.package
    if said == "no":
        text = f"{package} itself says no to {s.target.name} ({piece.gate})"
        return PieceAnswer(piece.piece, "no", "no", "arch_guard", text, where)
    if said == "unknown":
        text = f"what {package} says of {s.target.name} could not be read ({piece.gate})"
        return PieceAnswer(piece.piece, "unknown", "unknown", "not_measured", text, where)
    return None


def _cubin(s: Situation, piece: Piece, environment: Environment) -> PieceAnswer:
    if claimed := _claimed(s, piece, environment, ""):
        return claimed
    downloader = _DOWNLOADER.get(piece.package)
    if s.stack.version(piece.package) is None and downloader and s.stack.version(downloader):
        if piece.families is not None and s.target.family not in piece.families:
            text = f"{downloader} has no such cubins for {s.target.name}"
            return PieceAnswer(piece.piece, "no", "no", "no_kernel_image", text)
        text = f"{downloader} downloads it at run time, since {piece.package} is not in this stack"
        return PieceAnswer(piece.piece, "unknown", "unknown", "not_measured", text)
    held = _provider(s, piece)
    if isinstance(held, PieceAnswer):
        return held
    state = piece_state(held, piece, s.target.capability)
    where = held.record.filename
    if state.compiled == "yes":
        text = f"{state.proven} cubins for {', '.join(state.images)}"
        return PieceAnswer(piece.piece, "yes", "yes", text=text, where=where)
    text = f"no cubin that {s.target.name} can load"
    return PieceAnswer(piece.piece, "no", "no", "no_kernel_image", text, where)


def _library(s: Situation, piece: Piece, environment: Environment) -> PieceAnswer:
    if claimed := _claimed(s, piece, environment, ""):
        return claimed
    for library in piece.libraries:
        version = s.stack.version(library)
        if version is None:
            continue
        if piece.minimum and Version(version) < Version(piece.minimum):
            text = f"{library} {version} is older than {piece.minimum}"
            return PieceAnswer(piece.piece, "no", "no", "library_too_old", text)
        return PieceAnswer(piece.piece, "yes", "yes", text=f"{library} {version}")
    text = f"none of {', '.join(piece.libraries)} is in this stack"
    return PieceAnswer(piece.piece, "no", "no", "missing_package", text)


def _spoiled(s: Situation, answer: PieceAnswer) -> PieceAnswer:
    """Take away what a known defect takes away; one that only warns changes nothing."""
    if answer.available == "no":
        return answer
    for defect in s.defects_of(piece=answer.piece):
        if defect.effect == "broken":
            return PieceAnswer(
                answer.piece,
                "no",
                answer.told,
                defect.reason,
                f"{answer.text}; but {defect.defect}",
                answer.where,
            )
    return answer


@cache
def _reaches(cuda: str, first: str) -> bool:
    return Version(cuda) >= Version(first)
