"""How a cell is written in four lamps and a verdict: marks that need no colour to be told apart."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from matrix.cell import Cell
from matrix.vocabulary import Verdict

Tone = Literal["good", "part", "bad", "none"]


class Lamp(NamedTuple):
    """One kind of evidence in one cell: its letter or sign, whether that is good, and its word."""

    name: str
    mark: str
    tone: Tone
    word: str


class Face(NamedTuple):
    """What a reader sees of a cell before its evidence: cells with equal faces fold."""

    declared: str
    compiled: str
    selected: str
    executed: str
    verdict: Verdict
    reason: str


GLYPHS: Final[dict[Verdict, str]] = {
    "works": "✓",
    "likely": "●",
    "slow": "◔",
    "fallback": "◑",
    "broken": "✗",
    "unavailable": "○",
    "unknown": "?",
}

MEANINGS: Final[dict[Verdict, str]] = {
    "works": "ran on this GPU: native, right numbers, fast enough",
    "likely": "every piece is there; nobody ran it yet",
    "slow": "native and right, under the speed bar",
    "fallback": "runs, but not by a native FP4 kernel",
    "broken": "the package says yes, and a piece is missing or wrong",
    "unavailable": "the package does not offer it here",
    "unknown": "not enough evidence",
}

LAMPS: Final = (
    ("declared", "D", "what the package says it supports"),
    ("compiled", "C", "machine code in the published wheel that this GPU can load"),
    ("selected", "S", "the kernel that the library would choose"),
    ("executed", "E", "what happened on a real GPU"),
)

SIGNS: Final = (
    ("-", "no, or refused"),
    ("~", "in part, or a fallback"),
    ("!", "trap: an image without a kernel"),
    ("j", "compiled at run time by nvcc"),
    ("d", "compiled at run time by a Python DSL"),
    ("·", "not known"),
)

ASCII: Final = str.maketrans(
    {
        "✓": "+", "●": "*", "◔": "%", "◑": "~", "✗": "x", "○": "o", "·": ".",
        "\u2013": "-", "…": "~", "→": ">", "─": "-", "└": "+",
    }
)  # fmt: skip
"""Stand-ins for output that is not UTF-8."""

_COMPILED: Final[dict[str, tuple[str, Tone]]] = {
    "yes": ("C", "good"),
    "partial": ("~", "part"),
    "trap": ("!", "bad"),
    "no": ("-", "bad"),
    "jit": ("j", "part"),
    "dsl": ("d", "part"),
}
_SELECTED: Final[dict[str, tuple[str, Tone]]] = {
    "native": ("S", "good"),
    "weight_only": ("~", "part"),
    "emulation": ("~", "part"),
    "refused": ("-", "bad"),
}
_EXECUTED: Final[dict[str, tuple[str, Tone]]] = {
    "pass": ("E", "good"),
    "fallback": ("~", "part"),
    "slow": ("~", "part"),
    "fail": ("-", "bad"),
}


def face(cell: Cell) -> Face:
    """Take the visible part of `cell`."""
    return Face(
        cell.declared, cell.compiled, cell.selected, cell.executed, cell.verdict, cell.reason
    )


def lamps(seen: Face) -> tuple[Lamp, Lamp, Lamp, Lamp]:
    """Light the four lamps in the order declared, compiled, selected, executed."""
    declared: tuple[str, Tone] = ("·", "none")
    if seen.declared in {"yes", "no"}:
        declared = ("D", "good") if seen.declared == "yes" else ("-", "bad")
    compiled = _COMPILED.get(seen.compiled, ("·", "none"))
    selected = _SELECTED.get(seen.selected, ("·", "none"))
    executed = _EXECUTED.get(seen.executed, ("·", "none"))
    return (
        Lamp("declared", *declared, seen.declared),
        Lamp("compiled", *compiled, seen.compiled),
        Lamp("selected", *selected, seen.selected or "unknown"),
        Lamp("executed", *executed, seen.executed or "unknown"),
    )


def code(seen: Face) -> str:
    """Write the four marks as one word: `DC··`."""
    return "".join(lamp.mark for lamp in lamps(seen))
