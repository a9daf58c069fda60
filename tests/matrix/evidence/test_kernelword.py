from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.capability import Piece
from matrix.configuration import Configuration
from matrix.evidence.kernelword import names_pattern

SHIPPED = sorted(
    {p.symbol for p in Configuration().capabilities.pieces if p.delivery == "image" and p.symbol}
)


def image(symbol: str) -> Piece:
    return Piece(piece="a.b", package="a", delivery="image", symbol=symbol)


@pytest.mark.parametrize(
    ("symbol", "word"),
    [
        (r"30my_own_kernel_nameI", b"my_own_kernel_name"),
        (r"short|a_longer_word", b"a_longer_word|short"),
        (r"compute_(a|b)", b"compute_"),
        (r"first_word.*the_second_word", b"the_second_word"),
        (r"a_longer_word|longer", b"longer"),
        (r"literals?", b"literal"),
        (r"over_and_over+", b"over_and_ove"),
        (r"words(and_more){2}", b"words"),
        (r"words[a-z_]{3,}", b"words"),
        (r"words\dwordy_words", b"wordy_words"),
    ],
)
def test_the_longest_sure_word_of_each_alternative_is_looked_for(symbol: str, word: bytes) -> None:
    wanted = {b"float_e2m1", b"fp4", *word.split(b"|")}
    assert set(names_pattern([image(symbol)]).pattern.split(b"|")) == wanted


@pytest.mark.parametrize("symbol", ["", "abc", "(a_long_word)?", "[a-z]{9}", "long_word|x", ".*"])
def test_a_symbol_without_a_sure_word_makes_everything_worth_reading(symbol: str) -> None:
    held = names_pattern([image("another_kernel"), image(symbol)])
    assert held.search(b"")
    assert held.search(b"anything")


def test_words_for_fp4_are_looked_for_though_no_piece_is() -> None:
    for pieces in ([], [image("another_kernel")]):
        held = names_pattern(pieces)
        assert held.search(b"_ZN7cutlass12float_e2m1_tE")
        assert held.search(b"_Z17my_quantize_nvfp4v")
        assert not held.search(b"_Z16flash_fwd_kernelIfEvv")


def test_a_word_that_holds_another_is_not_looked_for_twice() -> None:
    assert names_pattern([image("cvt_fp16_to_fp4I")]).pattern == b"float_e2m1|fp4"


@pytest.mark.parametrize("symbol", SHIPPED)
def test_no_shipped_symbol_makes_every_object_worth_reading(symbol: str) -> None:
    assert not names_pattern([image(symbol)]).search(b"_Z16flash_fwd_kernelIfEvv")


@pytest.mark.parametrize("symbol", SHIPPED)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_name_that_a_shipped_symbol_matches_is_never_missed(
    symbol: str, data: st.DataObject
) -> None:
    name = data.draw(st.from_regex(symbol, fullmatch=True))
    assert re.search(symbol, name)
    assert names_pattern([image(symbol)]).search(name.encode())


WORDS = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
ATOMS = st.one_of(
    WORDS,
    st.from_regex(r"[0-9]{1,2}[a-z]{3,9}I?", fullmatch=True),
    st.sampled_from([".", ".*", r"\d", r"\d+", r"\.", "[a-z|]", "[^x]*", "[0-9]{2,3}", r"\$"]),
    st.builds("({}|{}){}".format, WORDS, WORDS, st.sampled_from(["", "?", "*", "{2}", "{0,1}?"])),
    st.builds("(?:{}({})?)".format, WORDS, WORDS),
    st.builds("{}{}".format, WORDS, st.sampled_from(["?", "*", "+", "{0}", "{2}", "+?", "??"])),
)
SYMBOLS = st.lists(
    st.lists(ATOMS, min_size=1, max_size=5).map("".join), min_size=1, max_size=3
).map("|".join)


@settings(max_examples=400, deadline=None)
@given(symbol=SYMBOLS, data=st.data())
def test_a_name_that_any_symbol_matches_is_never_missed(symbol: str, data: st.DataObject) -> None:
    name = data.draw(st.from_regex(symbol))
    assert re.search(symbol, name)
    assert names_pattern([image(symbol)]).search(name.encode())
