"""Words that surely stand in a kernel's name, for a look into a shared object before its machine code."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from matrix.capability import Piece

_ESCAPE: Final = re.compile(r"\\.|\[[^]]*\]|[.^$]")
_GROUP: Final = re.compile(r"\([^()]*\)")
_QUANTIFIED: Final = re.compile(r".(?:[?*+]|\{[^}]*\})+\??")
_WORD: Final = re.compile(r"[A-Za-z0-9_]{5,}")
_NUMBER: Final = re.compile(r"^\d+")

_FP4: Final = ("fp4", "float_e2m1")
"""What the FP4 kernels of every package seen so far have in their names; CUTLASS's type is the second."""


def names_pattern(pieces: Sequence[Piece]) -> re.Pattern[bytes]:
    """Make one pattern that every object with a kernel of `pieces` matches before its machine code.

    Of each alternative of each symbol the longest literal word, without the length that mangling puts
    before it: what holds the kernel holds the word. A symbol without a sure word makes the pattern match
    everything, so a miss is never a false no. Words for FP4 are always among them: an object that holds
    one is worth reading though no piece is known in it.
    """
    words = set(_FP4)
    for piece in pieces:
        for alternative in _literal(piece.symbol).split("|"):
            found = [_bare(word) for word in _WORD.findall(alternative)]
            if not any(found):
                return re.compile(b"")
            words.add(max(found, key=len))
    return re.compile("|".join(map(re.escape, _shortest(words))).encode())


def _bare(word: str) -> str:
    return _NUMBER.sub("", word).removesuffix("I")


def _literal(symbol: str) -> str:
    """Blank out all of a regular expression that does not have to stand in its match as written."""
    text = _ESCAPE.sub(" ", symbol)
    while (without := _GROUP.sub(" ", text)) != text:
        text = without
    return _QUANTIFIED.sub(" ", text)


def _shortest(words: Iterable[str]) -> list[str]:
    """Drop the words that contain another."""
    words = sorted(words)
    return [word for word in words if not any(other != word and other in word for other in words)]
