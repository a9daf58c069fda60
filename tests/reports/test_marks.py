"""The marks of the selected lamp: one for each word of its closed list."""

from __future__ import annotations

from typing import get_args

import pytest

from matrix.vocabulary import Selected
from reports.marks import Face, Tone, code, lamps

MARKS: dict[Selected, tuple[str, Tone]] = {
    "native": ("S", "good"),
    "weight_only": ("~", "part"),
    "emulation": ("~", "part"),
    "refused": ("-", "bad"),
    "unknown": ("·", "none"),
    "not_asked": ("·", "none"),
}


def seen(word: str) -> Face:
    return Face("yes", "yes", word, "missing", "likely", "")


def test_every_word_has_its_mark() -> None:
    assert set(MARKS) == set(get_args(Selected))


@pytest.mark.parametrize(("word", "mark"), MARKS.items())
def test_the_selected_lamp_is_lit_by_its_word_alone(word: str, mark: tuple[str, Tone]) -> None:
    _, _, selected, _ = lamps(seen(word))
    assert (selected.mark, selected.tone, selected.word) == (*mark, word)
    assert code(seen(word)) == f"DC{mark[0]}·"
    fallback = seen(word)._replace(verdict="fallback", reason="weight_only_fallback")
    assert lamps(fallback)[2] == selected
