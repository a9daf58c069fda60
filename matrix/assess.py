"""Every cell of one stack on one target: paths folded from pieces, verdicts from paths. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from matrix.cell import Cell, Item
from matrix.chapter import Chapter
from matrix.compiled import fold, piece_state
from matrix.declared import declared
from matrix.hearing import Hearing, lamp, taken
from matrix.imports import imports
from matrix.path import Path
from matrix.situation import PieceAnswer, Situation
from matrix.stack import Stack
from matrix.target import Target
from matrix.verdict import Judgement, PathState, verdict
from matrix.vocabulary import Answer, Compiled, Environment, Machine, Reason, Selected

_HARD: tuple[Reason, ...] = ("no_compiler", "ptxas_too_old")
"""Reasons that a user can lift by installing something: told only where no other reason stands."""

_ANSWERS: dict[Answer, str] = {"yes": "complete", "no": "incomplete", "unknown": "undecided"}


def path_state(
    path: Path, situation: Situation, environment: Environment
) -> tuple[PathState, tuple[PieceAnswer, ...]]:
    """Fold one path's pieces on one target; also gives the pieces' answers."""
    said: Answer = situation.gate(path.gate, environment) if path.gate else "yes"
    pieces = tuple(situation.availability(name, environment) for name in path.pieces)
    considered: Answer = said
    if path.families and situation.target.family not in path.families:
        considered = "no"
    elif any(p.reason == "missing_package" for p in pieces):
        considered = "no"  # the library looks for the package first
    missing = [p for p in pieces if p.available == "no"]
    missing.sort(key=lambda p: p.reason in _HARD)
    unknown = [p for p in pieces if p.available == "unknown"]
    reason: Reason = (missing or unknown)[0].reason if missing or unknown else ""
    available: Answer = "no" if missing else "unknown" if unknown else "yes"
    for defect in situation.defects_of(path=path.path):
        if defect.effect == "broken" and available != "no":
            available, reason = "no", defect.reason
    state = PathState(
        path.path,
        path.native,
        considered,
        available,
        reason,
        path.fallback,
        on_request=bool(path.on_request),
    )
    return state, pieces


@dataclass
class _Evidence:
    """The items of one situation, each made once: cells share them."""

    situation: Situation
    items: dict[tuple[str, ...], Item] = field(default_factory=dict)

    def item(self, kind: str, name: str, answer: str, text: str = "", where: str = "") -> Item:
        key = (kind, name, answer, text)
        if key not in self.items:
            made = Item(kind=kind, name=name, answer=answer, text=text, where=where)
            self.items[key] = made
        return self.items[key]

    def piece(self, answer: PieceAnswer) -> Item:
        told = answer.told if answer.available == "yes" or answer.told == "trap" else ""
        return self.item("piece", answer.piece, told or answer.available, answer.text, answer.where)

    def gate(self, name: str, environment: Environment) -> Item | None:
        held = self.situation.claimant(name)
        if held is None:
            return None
        found, said = held.gates[name], self.situation.gate(name, environment)
        where = f"{held.record.filename}: {found.where}" if found.where else ""
        capability = self.situation.target.capability
        why = found.reason(capability, environment) if said != "yes" else ""
        if name in self.situation.denied:
            floor = self.situation.floors[name]
            why = (
                f"asks for CUDA runtime {floor}, and the stack's torch brings {self.situation.cuda}"
            )
        return self.item("gate", name, said, why, where)

    def defects(self, paths: Sequence[Path], pieces: Sequence[str]) -> list[Item]:
        found = [d for name in pieces for d in self.situation.defects_of(piece=name)]
        found += [d for path in paths for d in self.situation.defects_of(path=path.path)]
        return [self.item("defect", d.defect, d.effect, d.summary, d.source) for d in found]


def assess(
    situation: Situation,
    told: Sequence[Chapter],
    environments: Sequence[Environment],
    hearing: Hearing | None = None,
) -> list[Cell]:
    """Judge one stack on one target: a cell for every capability and environment.

    The leading package's wheel must have been read; see `unread` for where it was not. `hearing`: what
    the release said that it would choose, where it was asked.
    """
    stack, target, lead = situation.stack, situation.target, situation.stack.lead
    held = situation.held[lead.package]
    resolved, blocked, sentence = imports(stack, situation.held, situation.cuda, target)
    evidence = _Evidence(situation)
    basis = evidence.item(
        "stack",
        "imports",
        resolved,
        f"{sentence}; read {held.record.measured}",
        held.record.filename,
    )
    replaced = [
        evidence.item(
            "stack", "build", "superseded", "pip takes a later build of this release", name
        )
        for name in situation.superseded
    ]
    cells: list[Cell] = []
    for chapter in told:
        own = [piece_state(held, piece, target.capability).compiled for piece in chapter.own]
        natives = sorted({name for path in chapter.paths if path.native for name in path.pieces})
        found = fold(own)
        for environment in environments:
            said = declared(
                held.record.gates,
                chapter.capability,
                target.capability,
                (environment,),
                denied=situation.denied,
            )
            states: list[PathState] = []
            choice = hearing.choice(chapter, environment) if hearing else None
            first, others = [basis, *replaced], []
            if hearing:
                first += hearing.items(chapter, environment, choice)
            for path in chapter.paths:
                state, pieces = path_state(path, situation, environment)
                states.append(state)
                if path.path == taken(choice):
                    first += _path_items(evidence, path, state, pieces, environment, chosen=True)
                elif path.native:
                    others += _path_items(evidence, path, state, pieces, environment)
            judged = verdict(
                states,
                declared=said,
                imports=resolved,
                blocked=blocked,
                selected=taken(choice),
                refused=lamp(choice) == "refused",
            )
            items = [*first, *others, *evidence.defects(chapter.paths, natives)]
            cells.append(
                _cell(
                    stack,
                    target,
                    environment,
                    chapter.capability,
                    said=said,
                    compiled=found,
                    selected=lamp(choice),
                    judged=judged,
                    items=items,
                )
            )
    return cells


def _path_items(
    evidence: _Evidence,
    path: Path,
    state: PathState,
    pieces: Sequence[PieceAnswer],
    environment: Environment,
    *,
    chosen: bool = False,
) -> list[Item]:
    refused = (
        state.considered == "no" and not chosen
    )  # a choice is stronger than what a gate was read to say
    answer = "refused" if refused else _ANSWERS[state.available]
    text = f"{path.selector}: {', '.join(path.pieces)}"
    if answer == "refused" and (why := _refusal(evidence.situation, path, pieces)):
        text += f"; {why}"
    if path.on_request:
        text += f"; on request: {path.on_request}"
    if chosen:
        text += "; this is the one that is chosen"
    items = [evidence.item("path", path.path, answer, text, path.source)]
    if path.gate and (gate := evidence.gate(path.gate, environment)):
        items.append(gate)
    if not refused:
        items += [evidence.piece(piece) for piece in pieces]
    return items


def _refusal(situation: Situation, path: Path, pieces: Sequence[PieceAnswer]) -> str:
    """Say why a path is not considered, where no gate says it."""
    if path.families and situation.target.family not in path.families:
        return f"upstream has it for {', '.join(path.families)} alone"
    return next((piece.text for piece in pieces if piece.reason == "missing_package"), "")


def unread(
    stack: Stack,
    target: Target,
    capabilities: Sequence[str],
    environments: Sequence[Environment],
    *,
    published: bool | None,
) -> list[Cell]:
    """Judge a stack of which a part is built from source, or whose leading wheel was not read.

    `published` false: there is no such wheel. What holds for releases says nothing of a commit between them.
    """
    lead = stack.lead
    if published is not False:
        lead = next((pin for pin in stack.pins if pin.version.startswith("@")), lead)
    if published is False:
        judged = Judgement("unavailable", "no_wheel")
        text = f"{lead.package} {lead.version} has no wheel for {stack.machine}"
    else:
        judged = Judgement("unknown", "not_measured")
        text = (
            f"{lead.package}{lead.version} is built from source: `build` audits what comes of it"
            if lead.version.startswith("@")
            else f"{lead.package} {lead.version} for {stack.machine} was not read yet"
        )
    items = [Item(kind="stack", name=lead.package, answer=judged.reason, text=text)]
    compiled: Compiled = "no" if published is False else "unknown"
    return [
        _cell(
            stack,
            target,
            environment,
            name,
            said="unknown",
            compiled=compiled,
            selected="not_asked",
            judged=judged,
            items=items,
        )
        for name in capabilities
        for environment in environments
    ]


def _cell(
    stack: Stack,
    target: Target,
    environment: Environment,
    capability: str,
    *,
    said: Answer,
    compiled: Compiled,
    selected: Selected,
    judged: Judgement,
    items: Sequence[Item],
) -> Cell:
    machine: Machine = "x86_64" if stack.machine == "x86_64" else "aarch64"
    return Cell(
        stack=stack.name,
        target=target.name,
        machine=machine,
        environment=environment,
        capability=capability,
        declared=said,
        compiled=compiled,
        selected=selected,
        executed="missing",
        verdict=judged.verdict,
        reason=judged.reason,
        evidence=tuple({id(item): item for item in items}.values()),
    )
