"""Which architectures a source is built for."""

from __future__ import annotations

from collections.abc import Sequence

from matrix.target import Target


def chosen(
    cmake: str, functions: str, *, cuda: str, targets: Sequence[Target], by_hand: str = ""
) -> str:
    """Return the list."""
    del cmake, functions
    if not cuda:
        return ""
    return by_hand or ";".join(target.compute_capability for target in targets)
