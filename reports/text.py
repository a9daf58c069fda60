"""Text from wheels and the world outside, made safe to show; each report escapes further by itself."""

from __future__ import annotations

import re
import unicodedata

_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|.?)"
    r"|\x9b[0-?]*[ -/]*[@-~]?",
    re.DOTALL,
)
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def plain(text: str, *, limit: int | None = None) -> str:
    """`text` on one line without terminal sequences, control, bidi or invisible characters.

    Longer than `limit` characters: cut, and the cut is marked by "…".
    """
    if not (text.isascii() and text.isprintable()):
        text = _ANSI.sub("", text)
        text = "".join(
            " "
            if character in "\n\r\t\v\f" or unicodedata.category(character) == "Zs"
            else character
            for character in text
            if character in "\n\r\t\v\f" or unicodedata.category(character) not in _HIDDEN
        )
    text = " ".join(text.split())
    if limit is not None and len(text) > limit:
        return text[: max(limit - 1, 0)].rstrip() + "…"
    return text
