from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.text import plain


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\r\nb\tc", "a b c"),
        ("abc\u202edef\u200b", "abcdef"),
        ("naïve – ✓", "naïve – ✓"),  # noqa: RUF001
    ],
)
def test_terminal_sequences_and_invisible_characters_go(text: str, expected: str) -> None:
    assert plain(text) == expected


def test_a_cut_is_marked() -> None:
    assert plain("x" * 50, limit=10) == "x" * 9 + "…"


@given(st.text())
def test_nothing_that_controls_a_terminal_survives(text: str) -> None:
    kept = plain(text)
    assert all(unicodedata.category(character) not in {"Cc", "Cf"} for character in kept)
    assert plain(kept) == kept
