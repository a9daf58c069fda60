"""A selection as text: who would be chosen, what each candidate said, and what disagrees."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from matrix.conflict import Place, choices
from matrix.selection import KINDS, LayerChoice, LayerKind, Selection
from reports.text import plain

TITLES: Final[dict[LayerKind, str]] = {
    "dense_w4a4": "Dense W4A4",
    "dense_w4a16": "Dense W4A16",
    "moe_w4a4": "MoE W4A4",
    "moe_w4a16": "MoE W4A16",
    "kv_cache": "KV cache",
}
_FALLBACKS: Final = {
    "weight_only_fallback": "weight-only",
    "emulation_fallback": "emulation",
}
_ANSWERS: Final = {True: "yes", False: "no", None: "?"}
_SUFFIX: Final = "LinearKernel"


def render(made: Selection, *, candidates: bool, width: int) -> str:
    """Return the whole selection as text, `width` columns where it wraps."""
    lines = [*_head(made), ""]
    rows = [("", "", *made.environments)]
    for kind in KINDS:
        told = list(_rows(made, kind))
        rows += [(TITLES[kind] if not n else "", *row) for n, row in enumerate(told)]
    lines += _aligned(rows)
    lines += _reasons(made, width)
    if candidates:
        for place, choice in choices(made):
            lines += ["", *_candidates(place, choice)]
    lines += _conflicts(made, width)
    return "\n".join(lines) + "\n"


def _head(made: Selection) -> Iterator[str]:
    pins = ", ".join(f"{plain(name)} {plain(version)}" for name, version in made.packages.items())
    yield f"{pins}; asked on {made.machine}, no GPU"
    if made.elsewhere:
        yield (
            f"with another CPU alone: {', '.join(made.elsewhere)}; the wheels for that may answer otherwise"
        )
    reachable = {True: "reachable", False: "not reachable", None: "not known to be reachable"}
    yield f"cubins of NVIDIA: {reachable[made.cubins.reachable]} ({plain(made.cubins.how)})"
    if made.seconds:
        yield "took " + ", ".join(f"{value:.1f} s {name}" for name, value in made.seconds.items())


def _rows(made: Selection, kind: LayerKind) -> Iterator[tuple[str, ...]]:
    """Yield a row for each set of neighbouring targets that get the same."""
    seen: dict[str, list[str]] = {}
    for place, choice in choices(made):
        if place.layer == kind:
            seen.setdefault(place.target, []).append(_short(choice))
    for same, targets in groupby(seen.items(), key=lambda each: each[1]):
        yield (" ".join(name for name, _ in targets), *same)


def _short(choice: LayerChoice) -> str:
    if choice.selected is None:
        return "refused" if choice.outcome == "none" else "unknown"
    name = plain(choice.selected).removesuffix(_SUFFIX)
    if choice.fallback:
        return f"{name} ({_FALLBACKS.get(choice.fallback, choice.fallback)})"
    return name if choice.native else f"{name} (?)"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    return [
        "  ".join(text.ljust(size) for text, size in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _reasons(made: Selection, width: int) -> Iterator[str]:
    """Yield why something is refused or unknown, once each."""
    told: dict[tuple[str, str], dict[str, list[str]]] = {}
    for place, choice in choices(made):
        if choice.selected is None:
            key = "refused" if choice.outcome == "none" else "unknown", plain(choice.reason)
            gpus = told.setdefault(key, {}).setdefault(TITLES[place.layer], [])
            gpus += [place.target] if place.target not in gpus else []
    every = len({(place.layer, place.target) for place, _ in choices(made)})
    for (word, reason), layers in told.items():
        where = "; ".join(f"{layer} on {', '.join(gpus)}" for layer, gpus in layers.items())
        if sum(map(len, layers.values())) == every:
            where = "everything"
        yield ""
        yield from textwrap.wrap(f"{word}: {where}: {reason}", width, subsequent_indent="  ")


def _candidates(place: Place, choice: LayerChoice) -> Iterator[str]:
    yield f"{TITLES[place.layer]} on {place.target}, {place.environment}"
    rows = []
    for each in choice.candidates:
        same = not choice.kernel or each.kernel == choice.kernel
        mark = "chosen" if each.name == choice.selected and same else _ANSWERS[each.supported]
        name = plain(each.name)
        if each.kernel and each.kernel != each.name:
            name += f" ({plain(each.kernel)})"
        rows.append((f"  {mark}", name, plain(each.reason, limit=110)))
    rows += [
        (f"  {_ANSWERS[each.supported]}", f"FlashInfer: {plain(each.call)}", plain(each.reason))
        for each in choice.flashinfer
    ]
    yield from _aligned(rows) if rows else ()


def _conflicts(made: Selection, width: int) -> Iterator[str]:
    if not made.contradictions:
        return
    yield ""
    yield "Contradictions"
    for each in made.contradictions:
        text = f"- {TITLES[each.layer]}, {each.kind}: {plain(each.text)}"
        yield from textwrap.wrap(text, width, subsequent_indent="  ")
