"""The report as one HTML file that needs nothing else: no network, no server, no build."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from matrix.cell import Item, Report
from matrix.vocabulary import VERDICTS
from reports.contradictions import fold
from reports.fold import series
from reports.marks import GLYPHS, LAMPS, MEANINGS, SIGNS, Face, face, lamps
from reports.text import plain

T = TypeVar("T", bound=Hashable)

_TEMPLATES: Final = Path(__file__).parent / "templates"


def render(report: Report, *, headline: tuple[str, ...] = ("gemm", "moe")) -> str:
    """`report` as a page; the first capability of `headline` that it has is the one that is open."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    data = payload(report, headline)
    text = msgspec.json.encode(data).decode()
    return environment.get_template("page.html.j2").render(
        generated=plain(report.generated),
        date=_date(report.generated),
        stacks=len(report.stacks),
        cells=len(report.cells),
        contradictions=len(data["contradictions"]),
        targets=report.targets,
        verdicts=[(verdict, GLYPHS[verdict], MEANINGS[verdict]) for verdict in VERDICTS],
        lamps=LAMPS,
        signs=SIGNS,
        css=_part("page.css"),
        js=Markup("").join(_part(name) for name in ("fold.js", "draw.js", "page.js")),
        # Only "<" can end a script element or open a comment inside one.
        data=Markup(text.replace("<", "\\u003c")),  # noqa: S704
    )


def payload(report: Report, headline: tuple[str, ...] = ()) -> dict[str, Any]:
    """Pack what the page's script reads: cells as rows of numbers that point into tables.

    `cells`: stack, target, machine, environment, capability, face, evidence. `faces`: the four
    lamps' words, verdict, reason, marks, tones. `evidence`: rows of `items`; `items`: kind, name,
    answer, text, where, each a place in `strings`.
    """
    faces = _Table[Face]()
    items = _Table[Item]()
    evidence = _Table[tuple[int, ...]]()
    stacks = {stack.name: at for at, stack in enumerate(report.stacks)}
    targets = {target.name: at for at, target in enumerate(report.targets)}
    machines, environments, capabilities = _Table[str](), _Table[str](), _Table[str]()
    cells = [
        (
            stacks[cell.stack],
            targets[cell.target],
            machines.place(cell.machine),
            environments.place(cell.environment),
            capabilities.place(cell.capability),
            faces.place(face(cell)),
            evidence.place(tuple(items.place(item) for item in cell.evidence)),
        )
        for cell in report.cells
    ]
    words = sorted({word for item in items.values for word in _words(item)})
    at = {word: place for place, word in enumerate(words)}
    names = [*headline, *capabilities.values]
    return {
        "generated": report.generated,
        "targets": report.targets,
        "stacks": [
            {
                "name": s.name,
                "series": series(s),
                "version": s.version,
                "pins": s.pins,
                "note": s.note,
            }
            for s in report.stacks
        ],
        "machines": machines.values,
        "environments": environments.values,
        "capabilities": capabilities.values,
        "first": next((name for name in names if name in capabilities.places), ""),
        "verdicts": [(verdict, GLYPHS[verdict], MEANINGS[verdict]) for verdict in VERDICTS],
        "lamps": LAMPS,
        "faces": [_face(seen) for seen in faces.values],
        "items": [[at[word] for word in _words(item)] for item in items.values],
        "evidence": evidence.values,
        "strings": front_coded(words),
        "cells": cells,
        "contradictions": [
            {
                "kind": one.kind,
                "capability": one.capability,
                "label": one.label,
                "where": one.where,
                "stacks": [stacks[name] for name in one.stacks],
                "places": one.places,
                "text": one.newest.text,
                "read": one.newest.read,
            }
            for one in fold(report)
        ],
    }


class _Table(Generic[T]):
    """Distinct values in the order in which they came, and the place of each."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self.places: dict[T, int] = {}

    def place(self, value: T) -> int:
        """Where `value` stands; it is added if it is new."""
        found = self.places.get(value)
        if found is None:
            found = self.places[value] = len(self.values)
            self.values.append(value)
        return found


def front_coded(words: Sequence[str]) -> list[int | str]:
    """Write each word as how much it shares with the one before, and the rest; `words` are sorted.

    Wheel names and sentences of one kind differ at their end: this is a quarter of the size.
    """
    coded: list[int | str] = []
    before = ""
    for word in words:
        shared = 0
        for one, other in zip(before, word, strict=False):
            # Python counts characters and JavaScript UTF-16 units: the same up to U+FFFF.
            if one != other or one > "\uffff":
                break
            shared += 1
        coded += (shared, word[shared:])
        before = word
    return coded


def _words(item: Item) -> tuple[str, ...]:
    return (item.kind, item.name, item.answer, item.text, item.where)


def _face(seen: Face) -> tuple[str, ...]:
    shown = lamps(seen)
    marks = "".join(lamp.mark for lamp in shown)
    return (*seen, marks, "".join(lamp.tone[0] for lamp in shown))


def _date(generated: str) -> str:
    """`2026-11-21T03:00:00Z` → `2026-11-21 03:00 UTC`; what is no such time stays as it is."""
    text = plain(generated)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        return text
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _part(name: str) -> Markup:
    """Read a file of this package that is inlined as it is."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704
