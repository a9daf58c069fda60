"""`/probe sm121 [stack]`: what a comment asks for. The text is anybody's. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NamedTuple

from matrix.document import nearest
from matrix.result import unfit_name

WORD: Final = "/probe"
USAGE: Final = "Write `/probe sm121`, or `/probe sm121 vllm==0.33.0`."

_LONGEST: Final = 300
_TARGET: Final = re.compile(r"sm\d{2,3}", re.ASCII)


class Asked(NamedTuple):
    """What is to be probed; `stack` "" is the newest one."""

    target: str
    stack: str


class Unclear(NamedTuple):
    """It is meant for us, and what it asks for cannot be told. `why` in words of our own."""

    why: str


def asked(body: str, targets: Collection[str]) -> Asked | Unclear | None:
    """Read a comment; None where it is not meant for us.

    Only its first line counts, and only where it begins with the word: what somebody quotes is no order.
    """
    line, _, _ = body.replace("\r", "\n").partition("\n")
    word, _, rest = line.partition(" ")
    if word != WORD:
        return None
    try:
        if len(line) > _LONGEST:
            raise ValueError(f"the line is longer than {_LONGEST} characters")
        return _order(rest, targets)
    except ValueError as error:
        return Unclear(str(error))


def _order(rest: str, targets: Collection[str]) -> Asked:
    """Read what stands behind the word. Raises ValueError, in words of our own."""
    target, _, stack = rest.strip(" ").partition(" ")
    stack = stack.strip(" ")
    if not target:
        raise ValueError("it names no target")
    if not _TARGET.fullmatch(target):
        raise ValueError(f"its first word is no target; known: {', '.join(sorted(targets))}")
    if target not in targets:
        raise ValueError(f"{target} is no target{nearest(target, sorted(targets))}")
    if stack and (fault := unfit_name(stack)):
        raise ValueError(f"the stack's name {fault}")
    if ";" in stack:
        raise ValueError("it names one stack, or a range such as vllm>=0.30")
    return Asked(target, stack)
