from __future__ import annotations

import sys
from io import StringIO

import pytest

from reports.console import NARROWEST, coloured, text_console


class Terminal(StringIO):
    def __init__(self, *, tty: bool) -> None:
        super().__init__()
        self._tty = tty

    def isatty(self) -> bool:
        return self._tty


@pytest.mark.parametrize(
    ("tty", "term", "no_colour", "expected"),
    [
        (True, "xterm", "", True),
        (True, "dumb", "", False),
        (True, "xterm", "1", False),
        (False, "xterm", "", False),
    ],
)
def test_colour_is_for_a_terminal_that_takes_it(
    monkeypatch: pytest.MonkeyPatch, *, tty: bool, term: str, no_colour: str, expected: bool
) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal(tty=tty))
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_colour)
    assert coloured() == expected


@pytest.mark.parametrize("colour", [True, False])
def test_a_console_colours_as_it_is_told_whatever_the_surroundings_say(
    monkeypatch: pytest.MonkeyPatch, *, colour: bool
) -> None:
    monkeypatch.setenv("TERM", "dumb" if colour else "xterm")
    monkeypatch.setenv("NO_COLOR", "1" if colour else "")
    out = StringIO()
    text_console(out, width=50, colour=colour).print("red", style="red")
    assert ("\x1b[" in out.getvalue()) == colour


def test_a_console_is_no_narrower_than_can_be_read() -> None:
    assert text_console(StringIO(), width=5, colour=False).width == NARROWEST
    assert text_console(StringIO(), width=160, colour=False).width == 160
