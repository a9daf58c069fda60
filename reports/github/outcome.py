"""What became of a posting."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Outcome(NamedTuple):
    """`newer`: what stands there was made later, and stays."""

    place: str
    what: Literal["created", "changed", "unchanged", "newer"]
    url: str = ""
