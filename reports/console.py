"""What reports are drawn on: text of one width, coloured where the terminal takes it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

NARROWEST: Final = 40
"""Columns below which nothing is laid out any more."""


def coloured() -> bool:
    """Say whether stdout takes colour: a terminal that is not dumb, and NO_COLOR (no-color.org) is not set."""
    return (
        sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def text_console(out: TextIO, *, width: int, colour: bool) -> Console:
    """Make a console that writes to `out` just what it is told, `width` columns wide."""
    from rich.console import Console  # noqa: PLC0415

    return Console(
        file=out,
        width=max(width, NARROWEST),
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        markup=False,
        emoji=False,
        _environ={},  # the caller has decided: NO_COLOR and COLUMNS are read there, not here
    )
