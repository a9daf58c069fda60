from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix import pin
from matrix.pin import Release, Source

REFS = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,30}", fullmatch=True).filter(pin.is_ref)
PULLS = st.lists(st.integers(1, 999_999_999), unique=True, max_size=4).map(tuple)
SOURCES = st.builds(Source, ref=REFS, pulls=PULLS)
RELEASES = st.builds(
    Release,
    version=st.sampled_from(["0.33.0", "1.0rc1", "0.33.1.dev7+gabc1234"]),
    index=st.sampled_from(["", "https://wheels.example/abc", "http://127.0.0.1:8000/simple"]),
)


@given(st.one_of(SOURCES, RELEASES))
def test_a_pin_reads_as_it_is_written(held: pin.Held) -> None:
    assert pin.read(pin.written(held)) == held


@given(SOURCES)
def test_a_stack_can_be_asked_for_by_its_pin(held: Source) -> None:
    assert pin.asked(f"vllm{pin.written(held)}") == ("vllm", (), held)


@given(st.text(max_size=40))
def test_whatever_is_written_is_a_pin_or_told_to_be_none(text: str) -> None:
    with contextlib.suppress(ValueError):
        held = pin.read(text)
        assert pin.read(pin.written(held)) == held


@given(st.text(max_size=40))
def test_a_ref_holds_nothing_that_a_shell_or_git_obeys(text: str) -> None:
    if pin.is_ref(text):
        assert not text.startswith("-")
        assert set(text).isdisjoint(" \t\r\n\0$`;|&<>(){}[]*?!~^:\\'\"@#")
        assert ".." not in text


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("vllm@main", ("vllm", (), Source(ref="main"))),
        ("vllm@main + #35947", ("vllm", (), Source(ref="main", pulls=(35947,)))),
        ("vllm@main+#35947+#2", ("vllm", (), Source(ref="main", pulls=(35947, 2)))),
        ("FlashInfer_Python@v1", ("flashinfer-python", (), Source(ref="v1"))),
        ("vllm[b12x]@0123abc", ("vllm", ("b12x",), Source(ref="0123abc"))),
        (
            "vllm==0.33.1.dev7+gabc @ https://wheels.example/abc",
            ("vllm", (), Release(version="0.33.1.dev7+gabc", index="https://wheels.example/abc")),
        ),
        ("vllm==0.33.0", None),
        ("mine", None),
        ("a name by hand", None),
    ],
)
def test_a_name_that_is_a_pin_is_told_from_one_of_a_stack(text: str, held: object) -> None:
    assert pin.asked(text) == held


@pytest.mark.parametrize(
    "text",
    [
        "@--upload-pack=touch /x",
        "@-x",
        "@main\n",
        "@$(touch /x)",
        "@a b",
        "@main~1",
        "@main^{tree}",
        "@a..b",
        "@refs/heads/x.lock",
        "@main + 35947",
        "@main + #0",
        "@main + #7 + #7",
        "@main + #x",
        "@",
        "one",
        "1.0 @ ext::sh -c x",
        "1.0 @ https://user:secret@host/x",
        "1.0 @ file:///x",
    ],
)
def test_what_is_no_pin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no|does not read|twice"):
        pin.read(text)
