from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.driving.asked import Asked, Unclear, asked

TARGETS = ("sm120", "sm121")


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ("/probe sm121", Asked("sm121", "")),
        ("/probe  sm121 ", Asked("sm121", "")),
        ("/probe sm121 vllm==0.33.0", Asked("sm121", "vllm==0.33.0")),
        ("/probe sm121 vllm>=0.30,<0.33", Asked("sm121", "vllm>=0.30,<0.33")),
        ("/probe sm120 vllm[b12x]==0.33.0\r\nplease", Asked("sm120", "vllm[b12x]==0.33.0")),
        ("/probe sm121 vllm@main + #35947", Asked("sm121", "vllm@main + #35947")),
        ("/probe sm120 my own stack\n/probe sm121", Asked("sm120", "my own stack")),
        ("/probe sm121 $(id) `id` ${{ x }}", Asked("sm121", "$(id) `id` ${{ x }}")),
    ],
)
def test_a_target_and_perhaps_a_stack_are_asked_for(body: str, order: Asked) -> None:
    """The stack is only ever handed on in the environment, so that a shell's signs are letters."""
    assert asked(body, TARGETS) == order


@pytest.mark.parametrize(
    "body",
    ["", "thanks!", "> /probe sm121", " /probe sm121", "please /probe sm121", "/probes sm121",
     "/Probe sm121", "\n/probe sm121", "```\n/probe sm121\n```", "/probe\u00a0sm121", "/probe\tsm121"],
)  # fmt: skip
def test_what_is_not_meant_for_us_is_nothing(body: str) -> None:
    assert asked(body, TARGETS) is None


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("/probe", "it names no target"),
        ("/probe ", "it names no target"),
        ("/probe sm12", "did you mean sm12"),
        ("/probe SM121", "no target; known: sm120, sm121"),
        ("/probe vllm==0.33.0", "no target; known: sm120, sm121"),
        ("/probe sm121;id", "no target"),
        ("/probe sm\u0661\u0662\u0661", "no target"),
        ("/probe sm121 a\u202eb", "cannot be seen"),
        ("/probe sm121 a\x00b", "cannot be seen"),
        ("/probe sm121 --results=/", "begins with -"),
        ("/probe sm121 a; b", "one stack"),
        ("/probe sm121 " + "x" * 201, "longer than 200"),
        ("/probe sm121 " + "x" * 400, "longer than 300"),
    ],
)
def test_what_cannot_be_told_says_why(body: str, why: str) -> None:
    told = asked(body, TARGETS)
    assert isinstance(told, Unclear)
    assert why in told.why


@given(st.text(max_size=400))
def test_any_text_is_an_order_unclear_or_nothing(text: str) -> None:
    for body in (text, f"/probe {text}", f"/probe sm121 {text}"):
        told = asked(body, TARGETS)
        if isinstance(told, Asked):
            assert told.target in TARGETS
            assert not any(sign in told.stack for sign in ";\n\r\x00\x1b")
            assert not told.stack.startswith("-")
        elif isinstance(told, Unclear):
            assert told.why.isprintable()
