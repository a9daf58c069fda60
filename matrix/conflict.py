"""What a selection disagrees with: FlashInfer's own word, the hardware, what the published wheels hold. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from matrix.cell import Report
from matrix.selection import (
    CAPABILITY,
    KINDS,
    Kind,
    LayerChoice,
    LayerKind,
    Selection,
    SelectionConflict,
)
from matrix.target import Target
from matrix.vocabulary import Environment


class Place(NamedTuple):
    """Where one choice was made."""

    environment: Environment
    target: str
    layer: LayerKind


def contradicted(made: Selection, targets: Sequence[Target], report: Report | None) -> Selection:
    """Return `made` with its contradictions.

    `report`: what is known of the same release as published, None where that is another stack.
    """
    gpus = {target.name: target for target in targets}
    found = [*_disagreements(made), *_fallbacks(made, gpus)]
    if report is not None:
        found += _incomplete(made, report)
    return msgspec.structs.replace(made, contradictions=tuple(found))


def choices(made: Selection) -> Iterator[tuple[Place, LayerChoice]]:
    """Go through every choice: by layer kind, then target, then environment."""
    for kind in KINDS:
        for gpu in dict.fromkeys(name for e in made.environments.values() for name in e.targets):
            for name, environment in made.environments.items():
                if kind in environment.targets[gpu]:
                    yield Place(name, gpu, kind), environment.targets[gpu][kind]


def _disagreements(made: Selection) -> Iterator[SelectionConflict]:
    """Find candidates of vLLM that say yes where the FlashInfer operation that they call says no."""
    found: dict[tuple[LayerKind, str, str], list[Place]] = {}
    selected: dict[tuple[LayerKind, str, str], list[str]] = {}
    for place, choice in choices(made):
        denied = {o.call for o in choice.flashinfer if o.supported is False}
        for candidate in choice.candidates:
            if candidate.supported and candidate.calls in denied:
                key = place.layer, candidate.name, candidate.calls
                found.setdefault(key, []).append(place)
                if choice.selected == candidate.name:
                    selected.setdefault(key, []).append(place.target)
    for key, places in found.items():
        _, name, call = key
        gpus = ", ".join(_names(places))
        chosen = dict.fromkeys(selected.get(key, ()))
        end = f"chosen on {', '.join(chosen)}" if chosen else "not chosen by default"
        text = (
            f"vLLM's {name} says that it can run on {gpus}; "
            f"FlashInfer says that {call}, which it calls, cannot. It is {end}."
        )
        yield _conflict(made, "packages-disagree", name, places, text, f"flashinfer {call}")


def _fallbacks(made: Selection, gpus: Mapping[str, Target]) -> Iterator[SelectionConflict]:
    """Find layers with FP4 activations that a GPU with FP4 instructions would not run by them."""
    found: dict[tuple[LayerKind, str, str], list[Place]] = {}
    for place, choice in choices(made):
        if place.layer.endswith("w4a4") and gpus[place.target].fp4 and choice.native is False:
            key = place.layer, choice.selected or "", choice.fallback
            found.setdefault(key, []).append(place)
    for (_, name, fallback), places in found.items():
        text = (
            f"vLLM would choose {name} on {', '.join(_names(places))}, which has FP4 instructions: "
            f"{fallback.replace('_', ' ')}."
        )
        yield _conflict(made, "silent-fallback", name, places, text)


def _incomplete(made: Selection, report: Report) -> Iterator[SelectionConflict]:
    """Find chosen paths of which the published packages lack a piece.

    Read are the wheels of the CPU that was asked on; for a target that has another, the wheels of that.
    """
    told = {
        (cell.environment, cell.target, cell.capability, item.name): (cell, item)
        for cell in report.cells
        if cell.machine == made.machine or cell.target in made.elsewhere
        for item in cell.evidence
        if item.kind == "path" and item.answer == "incomplete"
    }
    found: dict[tuple[LayerKind, str, str, str], list[Place]] = {}
    for place, choice in choices(made):
        key = place.environment, place.target, CAPABILITY[place.layer], choice.path
        if key not in told:
            continue
        cell, item = told[key]
        pieces = item.text.partition(": ")[2].partition(";")[0].split(", ")
        lacking = "; ".join(
            f"{each.name}: {each.text}"
            for each in cell.evidence
            if each.kind == "piece" and each.name in pieces and each.answer in ("no", "trap")
        )
        why = lacking or item.text
        group = place.layer, choice.selected or "", cell.machine, why
        found.setdefault(group, []).append(place)
    for (_, name, machine, why), places in found.items():
        text = (
            f"vLLM would choose {name} on {', '.join(_names(places))} "
            f"({', '.join(_environments(places))}), and with the wheels for {machine} it is not complete: {why}."
        )
        ledger = "the ledger's records of the published wheels"
        yield _conflict(made, "selected-incomplete", name, places, text, ledger)


def _names(places: Sequence[Place]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(place.target for place in places))


def _environments(places: Sequence[Place]) -> tuple[Environment, ...]:
    return tuple(dict.fromkeys(place.environment for place in places))


def _conflict(
    made: Selection,
    kind: Kind,
    name: str,
    places: Sequence[Place],
    text: str,
    *read: str,
) -> SelectionConflict:
    """Make the conflict of one layer kind in `places`; `read` is what was read besides vLLM's own answer."""
    pins = ", ".join(f"{package} {version}" for package, version in made.packages.items())
    return SelectionConflict(
        kind=kind,
        layer=places[0].layer,
        name=name,
        environments=_environments(places),
        targets=_names(places),
        text=text,
        read=(f"vllm {name}", *read, f"asked on {made.machine}: {pins}"),
    )
