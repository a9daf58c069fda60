"""What speaks against the kernels that a library chooses, beside what was read in its wheels. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from matrix.assess import path_state
from matrix.cell import Contradiction
from matrix.chapter import Chapter
from matrix.hearing import Hearing, chosen_path
from matrix.path import Path
from matrix.selection import LayerChoice
from matrix.situation import PieceAnswer
from matrix.vocabulary import ENVIRONMENTS, Environment, Machine

_LACKS: Final = ", and it is not complete there: "


class _Chosen(NamedTuple):
    """One choice with its path, where the data knows it."""

    environment: Environment
    choice: LayerChoice
    path: Path | None


class _Lacking(NamedTuple):
    """One choice and the pieces of its path that cannot be had."""

    chosen: _Chosen
    pieces: tuple[PieceAnswer, ...]


def objections(
    hearing: Hearing, told: Sequence[Chapter], known: Sequence[Contradiction]
) -> list[Contradiction]:
    """Join what speaks against the choices to the contradictions `known` from the wheels.

    Kinds: `selected-incomplete`, a piece of the path that is chosen cannot be had; `silent-fallback`,
    the choice is weight-only or emulated; `packages-disagree`, a candidate says yes where the operation
    of FlashInfer that it calls says no. On a GPU with FP4 hardware alone: a fallback is what a control is for.
    Where `known` says the same of the same path, it gets the second reading instead of a companion.
    """
    joined, made = list(known), list[Contradiction]()
    if not hearing.here.target.fp4:
        return joined
    for chapter in told:
        chosen = [
            _Chosen(environment, choice, chosen_path(choice, chapter.paths))
            for environment in ENVIRONMENTS
            if (choice := hearing.choice(chapter, environment))
        ]
        for one in (
            *_incomplete(hearing, chapter, chosen),
            *_fallbacks(hearing, chapter, chosen),
            *_disagreements(hearing, chapter, chosen),
        ):
            if not _join(joined, one):
                made.append(one)
    return joined + made


def _join(known: list[Contradiction], one: Contradiction) -> bool:
    """Add the reading to one of `known` that says the same of the same path, and say whether there was one.

    The same is said where both deny the operation, or a piece lacks that was found lacking before.
    """
    for at, other in enumerate(known):
        if not one.path or (other.capability, other.path) != (one.capability, one.path):
            continue
        denied = other.kind == one.kind == "packages-disagree"
        lacking = one.kind == "selected-incomplete" and set(one.pieces) & set(other.pieces)
        if denied or lacking:
            text = f"{other.text} {one.text.partition(_LACKS)[0]}." if lacking else other.text
            read = tuple(dict.fromkeys((*other.read, *one.read)))
            known[at] = msgspec.structs.replace(other, text=text, read=read)
            return True
    return False


def _incomplete(
    hearing: Hearing, chapter: Chapter, chosen: Sequence[_Chosen]
) -> Iterator[Contradiction]:
    """Tell of each path once what lacks wherever it is chosen, and what else does in one environment."""
    found: dict[str, list[_Lacking]] = {}
    for one in chosen:
        if one.path is None:
            continue
        state, pieces = path_state(one.path, hearing.here, one.environment)
        if state.available == "no":
            lacking = tuple(piece for piece in pieces if piece.available == "no")
            found.setdefault(one.path.path, []).append(_Lacking(one, lacking))
    for path, places in found.items():
        if _common(places) or not any(place.pieces for place in places):
            yield _statement(hearing, chapter, path, places)
        else:
            yield from (_statement(hearing, chapter, path, [place]) for place in places)


def _statement(
    hearing: Hearing, chapter: Chapter, path: str, places: Sequence[_Lacking]
) -> Contradiction:
    names = _common(places)
    common = [piece for piece in places[0].pieces if piece.piece in names]
    text = _would(hearing, [place.chosen for place in places]) + _LACKS
    text += "; ".join(map(_told, common)) or "a known defect"
    for place in places:
        if more := [piece for piece in place.pieces if piece.piece not in names]:
            text += f". In {place.chosen.environment} also {'; '.join(map(_told, more))}"
    every = {piece.piece: piece for place in places for piece in place.pieces}.values()
    return _made(
        hearing,
        chapter,
        "selected-incomplete",
        f"{text}.",
        path=path,
        read=[f"{p.where}: {_told(p)}" if p.where else p.text for p in every],
        pieces=[piece.piece for piece in common],
    )


def _common(places: Sequence[_Lacking]) -> set[str]:
    """Name the pieces that lack in each of `places`."""
    return set.intersection(*({piece.piece for piece in place.pieces} for place in places))


def _told(piece: PieceAnswer) -> str:
    return f"{piece.piece}: {piece.text}"


def _fallbacks(
    hearing: Hearing, chapter: Chapter, chosen: Sequence[_Chosen]
) -> Iterator[Contradiction]:
    found: dict[str, list[_Chosen]] = {}
    for one in chosen:
        if one.path is not None and not one.path.native:
            found.setdefault(one.path.path, []).append(one)
    for path, places in found.items():
        how = places[0].choice.fallback.replace("_", " ") or "no native path"
        text = f"{_would(hearing, places)}, which has FP4 instructions: {how}."
        yield _made(hearing, chapter, "silent-fallback", text, path=path)


def _disagreements(
    hearing: Hearing, chapter: Chapter, chosen: Sequence[_Chosen]
) -> Iterator[Contradiction]:
    found: dict[tuple[str, str, str], list[_Chosen]] = {}
    for one in chosen:
        denied = {o.call: o.reason for o in one.choice.flashinfer if o.supported is False}
        for candidate in one.choice.candidates:
            if candidate.supported and candidate.calls in denied:
                key = candidate.name, candidate.calls, denied[candidate.calls]
                found.setdefault(key, []).append(one)
    for (name, call, why), places in found.items():
        taken = [one for one in places if one.choice.selected == name]
        end = (
            f"It is chosen in {_environments(taken)}." if taken else "It is not chosen by default."
        )
        reason = f" ({why})" if why else ""
        path = next((path.path for path in chapter.paths if path.selector == name), "")
        yield _made(
            hearing,
            chapter,
            "packages-disagree",
            f"{_own(hearing)} says yes to {name} on {hearing.here.target.name}, and FlashInfer says "
            f"no to {call}, which it calls{reason}. {end}",
            path=path,
            read=[f"flashinfer {call}: no{reason}"],
        )


def _own(hearing: Hearing) -> str:
    lead = hearing.here.stack.lead
    return f"{lead.package} {lead.version}"


def _would(hearing: Hearing, places: Sequence[_Chosen]) -> str:
    name = places[0].choice.selected
    target = hearing.here.target.name
    return f"{_own(hearing)} chooses {name} on {target} in {_environments(places)}"


def _environments(places: Sequence[_Chosen]) -> str:
    return " and ".join(dict.fromkeys(one.environment for one in places))


def _made(
    hearing: Hearing,
    chapter: Chapter,
    kind: str,
    text: str,
    *,
    path: str,
    read: Sequence[str] = (),
    pieces: Sequence[str] = (),
) -> Contradiction:
    stack = hearing.here.stack
    machine: Machine = "x86_64" if stack.machine == "x86_64" else "aarch64"
    return Contradiction(
        kind=kind,
        stack=stack.name,
        target=hearing.here.target.name,
        machine=machine,
        capability=chapter.capability,
        text=text,
        read=tuple(dict.fromkeys((hearing.where, *read))),
        path=path,
        pieces=tuple(dict.fromkeys(pieces)),
    )
