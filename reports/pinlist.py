"""A choice of pins on a terminal: newest, oldest, and the others in ranges."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Final

from matrix.cell import StackSummary
from matrix.pins import Choice, Rejected, ordered
from reports.text import plain

_NARROWEST: Final = 40
_NARROW: Final = 52
"""Below it reasons stand under their labels, and a package may stand on another line than its version."""
_GLUE: Final = "\u00a0"
_LABEL: Final = 26
_NOT_ASKED: Final = "not asked which kernels it would choose"


def render(
    choice: Choice,
    stacks: Iterable[StackSummary],
    *,
    asked: str,
    machines: Sequence[str],
    width: int = 80,
) -> str:
    """`choice` as text of at most `width` columns (40 at least), with a final newline.

    `stacks` are those it was made from; `asked` says in words what was needed where.
    """
    width = max(width, _NARROWEST)
    inorder = ordered(stacks)
    by_name = {stack.name: stack for stack in inorder}
    lines: list[str] = []
    if choice.newest is None:
        lines += _wrap(f"No stack does {plain(asked)}.", width, "")
    else:
        lines += _wrap(f"These do {plain(asked)}:", width, "")
        ends = [("newest", choice.newest), ("oldest", choice.oldest or choice.newest)]
        for word, name in ends:
            lines += ["", f"{word}  {plain(name)}"]
            for told in _told(by_name[name], machines):
                lines += _wrap(
                    told if width >= _NARROW else told.replace(_GLUE, " "), width, " " * 8
                )
            if name in choice.not_asked:
                lines += _wrap(_NOT_ASKED, width, " " * 8)
    if choice.rejected:
        count = len(choice.rejected)
        lines += ["", f"These do not ({count}):" if choice.newest else f"Why ({count}):"]
        entries = list(_ranges(choice, inorder))
        fitting = [len(label) for label, _ in entries if len(label) <= max(_LABEL, width // 4)]
        for label, reason in entries:
            lines += _entry(label, plain(reason), width, max(fitting, default=0))
    return "\n".join(lines) + "\n"


def _told(stack: StackSummary, machines: Sequence[str]) -> Iterator[str]:
    """Yield the pins, once where all machines have the same; then CUDA and Python.

    What belongs on one line is held together by `_GLUE`, which `_wrap` makes a space again.
    """
    said: dict[str, list[str]] = {}
    for machine in machines:
        pins = [
            f"{package} {version or '(none)'}"
            for package, version in stack.pins.get(machine, {}).items()
        ]
        cuda = stack.cuda.get(machine)
        if cuda is not None:
            pins.append(f"CUDA {cuda}" if cuda else "no CUDA")
        told = ", ".join(plain(pin).replace(" ", _GLUE) for pin in pins)
        said.setdefault(told, []).append(machine)
    for told, where in said.items():
        yield told if len(said) == 1 else f"{', '.join(where)}: {told}"
    if stack.requires_python:
        yield plain(f"Python {stack.requires_python}")


def _ranges(choice: Choice, stacks: Sequence[StackSummary]) -> Iterator[tuple[str, str]]:
    """Yield (label, reason): neighbouring releases with the same reason in one range.

    Stacks of one series are neighbours (`vllm`, `vllm[flashinfer]`); one that qualifies, between two that
    do not, parts them.
    """
    why = {rejected.stack: rejected for rejected in choice.rejected}
    series: dict[str, list[StackSummary]] = {}
    for stack in stacks:
        series.setdefault(_series(stack), []).append(stack)
    for name, members in series.items():
        for reason, run in groupby(members, key=lambda stack: _reason(why.get(stack.name), stack)):
            same = list(run)
            if reason is None:
                continue
            newest, oldest = same[0], same[-1]
            hand = name == newest.name
            words = [name] if hand else [f"{name} {oldest.version}", newest.version]
            told = why[newest.name].reason if len(same) == 1 else reason
            yield plain(" to ".join(words if newest is not oldest else [words[0]])), told


def _reason(rejected: Rejected | None, stack: StackSummary) -> str | None:
    """Give the reason without the stack's own version, so that neighbours can be compared."""
    if rejected is None:
        return None
    return rejected.reason.replace(f"{stack.package} {stack.version} has", f"{stack.package} has")


def _series(stack: StackSummary) -> str:
    """`vllm[flashinfer]==0.11.0` → `vllm[flashinfer]`; a stack with a name by hand is its own."""
    lead, separator, version = stack.name.partition("==")
    return lead if separator and version == stack.version else stack.name


def _entry(label: str, reason: str, width: int, column: int) -> list[str]:
    """Lay out a label and its reason beside it, below it where the label is wider than `column`."""
    first = f"  {label}"
    if width < _NARROW or len(label) > column:
        return [*_wrap(first.strip(), width, "  "), *_wrap(reason, width, "      ")]
    indent = " " * (column + 4)
    wrapped = _wrap(reason, width, indent)
    return [first.ljust(len(indent)) + wrapped[0].lstrip(), *wrapped[1:]]


def _wrap(text: str, width: int, indent: str) -> list[str]:
    wrapped = textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return [line.replace(_GLUE, " ") for line in wrapped] or [indent]
