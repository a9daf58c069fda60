"""Contradictions: two lamps, or two packages, that disagree on one target. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from matrix.cell import Contradiction
from matrix.chapter import Chapter
from matrix.gate import GateAnswer
from matrix.path import Path
from matrix.situation import PieceAnswer, Situation
from matrix.vocabulary import ENVIRONMENTS, Machine


def contradictions(situation: Situation, told: Sequence[Chapter]) -> list[Contradiction]:
    """List where the leading package's claims and what was read do not agree, on a GPU with FP4 hardware.

    Kinds: `declared-not-compiled`, a path is claimed and its own image is missing; `trap`, the image is
    there and holds no kernel; `unreachable`, the kernel is there and a known defect keeps it from being
    called; `packages-disagree`, the provider of a piece says no where the leading package says yes;
    `compiled-not-declared`, a path is made of its own images alone, every one is there and the claim is no. A claim counts where it is made in
    either environment; the pieces are those of `devel`, so that a missing compiler is no contradiction.
    """
    if not situation.target.fp4:
        return []
    found: list[Contradiction] = []
    for chapter in told:
        for path in chapter.paths:
            claim = _claim(situation, path)
            if not (path.native and claim) or claim.gate in situation.denied:
                continue  # a check that the stack's torch fails is no claim about the wheel
            if _about_another(situation, path, chapter):
                continue
            one = _of_path(situation, chapter.capability, path, claim)
            if one and all(other.text != one.text for other in found):
                found.append(one)
    return found


def _claim(situation: Situation, path: Path) -> GateAnswer | None:
    held = situation.held[situation.stack.lead.package]
    return held.gates.get(path.gate or "")


def _about_another(s: Situation, path: Path, chapter: Chapter) -> bool:
    """Say whether a claim that several paths share is, on this GPU, about another one of them."""
    family = s.target.family
    return (
        bool(path.families)
        and family not in path.families
        and any(other.gate == path.gate and family in other.families for other in chapter.paths)
    )


def _of_path(s: Situation, capability: str, path: Path, claim: GateAnswer) -> Contradiction | None:
    lead, target = s.stack.lead, s.target.name
    said = {s.gate(claim.gate, environment) for environment in ENVIRONMENTS}
    pieces = [s.availability(name, "devel") for name in path.pieces]
    own = f"{lead.package} {lead.version}"
    claimed = f"{own} says yes to {path.selector} on {target}"
    if "yes" in said:
        if not (denials := _denials(s, pieces)):
            return None
        kind, sentence, guilty = denials[0]
        text = f"{claimed}, and {sentence}"
        return _made(s, capability, kind, text, path=path.path, claim=claim, pieces=guilty)
    allowed = not path.families or s.target.family in path.families
    own_images = all(_is_own_image(s, piece) for piece in pieces)
    if said == {"no"} and allowed and own_images and all(p.available == "yes" for p in pieces):
        reason = claim.reason(s.target.capability, "devel")
        why = f' ("{reason}")' if reason else ""
        sentence = (
            f"{own} says no to {path.selector} on {target}{why}, and its {s.stack.machine} wheel "
            f"has the kernels: {'; '.join(f'{p.piece}, {p.text}' for p in pieces)}."
        )
        return _made(
            s,
            capability,
            "compiled-not-declared",
            sentence,
            path=path.path,
            claim=claim,
            pieces=pieces,
        )
    return None


def _denials(
    s: Situation, pieces: Sequence[PieceAnswer]
) -> list[tuple[str, str, list[PieceAnswer]]]:
    """List what speaks against a claim, the heaviest first."""
    wheel = f"its {s.stack.machine} wheel"
    traps = [p for p in pieces if p.reason == "trap_kernel"]
    missing = [p for p in pieces if p.reason == "no_kernel_image" and _is_own_image(s, p)]
    unreachable = [p for p in pieces if p.reason == "unreachable_dispatch"]
    denied = [p for p in pieces if p.reason == "arch_guard"]
    found: list[tuple[str, str, list[PieceAnswer]]] = []
    if missing:
        told = "; ".join(f"{p.piece}: {p.text}" for p in [*missing, *traps])
        found.append(("declared-not-compiled", f"{wheel} lacks it: {told}.", [*missing, *traps]))
    if traps:
        told = "; ".join(f"{p.piece}: {p.text}" for p in traps)
        found.append(("trap", f"{wheel} holds images without kernels: {told}.", traps))
    if unreachable:
        told = "; ".join(f"{p.piece}: {p.text}" for p in unreachable)
        found.append(("unreachable", f"the kernel is never called: {told}.", unreachable))
    if denied:
        told = "; ".join(dict.fromkeys(p.text for p in denied))
        found.append(("packages-disagree", f"{told}.", denied))
    return found


def _is_own_image(s: Situation, piece: PieceAnswer) -> bool:
    entries = s.pieces.get(piece.piece, ())
    lead = s.stack.lead.package
    return any(e.package == lead and e.delivery == "image" for e in entries)


def _made(
    s: Situation,
    capability: str,
    kind: str,
    text: str,
    *,
    path: str,
    claim: GateAnswer,
    pieces: Sequence[PieceAnswer],
) -> Contradiction:
    wheel = s.held[s.stack.lead.package].record.filename
    machine: Machine = "x86_64" if s.stack.machine == "x86_64" else "aarch64"
    read = [f"{wheel}: {claim.where}"] if claim.where else []
    for piece in pieces:
        read.append(f"{piece.where}: {piece.piece}: {piece.text}" if piece.where else piece.text)
        read += [f"{d.defect}: {d.source}" for d in s.defects_of(piece=piece.piece)]
    return Contradiction(
        kind=kind,
        stack=s.stack.name,
        target=s.target.name,
        machine=machine,
        capability=capability,
        text=text,
        read=tuple(dict.fromkeys(read)),
        path=path,
        pieces=tuple(dict.fromkeys(piece.piece for piece in pieces)),
    )
