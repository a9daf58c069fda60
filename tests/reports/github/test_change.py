from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.github.change import Kind, changes, counts
from reports.github.state import Key, Packed, Seen, pack, release, squeeze, unpack

HERE = Key("vllm==0.33.0", "sm121", "aarch64", "slim", "gemm")
OTHER = HERE._replace(stack="vllm==0.32.0")

KEYS = st.builds(Key, *(st.sampled_from(("a", "b", "c")) for _ in range(5)))
SEEN = st.builds(
    Seen,
    st.sampled_from(("works", "likely", "slow", "fallback", "broken", "unavailable", "unknown")),
    st.sampled_from(("", "no_kernel_image")),
    st.sampled_from(("missing", "pass", "fail", "error")),
)
STATES = st.dictionaries(KEYS, SEEN, max_size=30)


def seen(verdict: str, executed: str = "missing", reason: str = "") -> Seen:
    return Seen(verdict, reason, executed)


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (seen("likely"), seen("broken"), "regressed"),
        (seen("works", "pass"), seen("slow", "slow"), "regressed"),
        (seen("fallback"), seen("unavailable"), "regressed"),
        (seen("broken"), seen("likely"), "fixed"),
        (seen("broken"), seen("fallback"), "fixed"),
        (seen("slow"), seen("works"), "fixed"),
        (seen("likely"), seen("unknown"), "missing"),
        (seen("works", "pass"), seen("likely"), "missing"),
        (seen("works", "pass"), seen("likely", "error"), "missing"),
        (seen("works", "pass"), seen("broken"), "regressed"),
        (seen("broken"), seen("broken"), "still"),
        (seen("broken", reason="trap_kernel"), seen("broken", reason="no_kernel_image"), "still"),
        (seen("broken"), seen("unavailable"), "other"),
        (seen("likely"), seen("works", "pass"), "other"),
        (seen("unknown"), seen("likely"), "other"),
        (seen("unknown"), seen("broken"), "other"),
        (None, seen("broken"), "new"),
    ],
)  # fmt: skip
def test_a_change_is_of_one_kind(before: Seen | None, after: Seen, kind: Kind) -> None:
    (found,) = changes({HERE: before} if before else {}, {HERE: after})
    assert (found.kind, found.before, found.after) == (kind, before, after)


@pytest.mark.parametrize(
    "verdict", ["works", "likely", "slow", "fallback", "unavailable", "unknown"]
)
def test_what_stays_and_is_not_broken_is_no_change(verdict: str) -> None:
    assert changes({HERE: seen(verdict)}, {HERE: seen(verdict)}) == ()


def test_a_stack_that_is_gone_is_newly_missing() -> None:
    state = {HERE: seen("likely")}
    (found,) = changes({**state, OTHER: seen("likely")}, state)
    assert (found.kind, found.key, found.after) == ("missing", OTHER, None)


def test_a_narrower_post_does_not_call_other_targets_missing() -> None:
    before = {HERE: seen("likely"), HERE._replace(target="sm120"): seen("likely")}
    assert changes(before, {HERE: seen("likely")}) == ()


@given(STATES, STATES)
def test_every_cell_that_differs_is_told_once(
    before: dict[Key, Seen], after: dict[Key, Seen]
) -> None:
    found = changes(before, after)
    told = [change.key for change in found]
    assert len(told) == len(set(told)) == sum(counts(found).values())
    assert {key for key in after if before.get(key) != after[key]} <= set(told)


@given(STATES)
def test_a_state_comes_back_from_a_comment_as_it_was(held: dict[Key, Seen]) -> None:
    word = squeeze(pack(held, "2026-11-21T03:00:00Z"))
    assert "--" not in word
    assert " " not in word
    packed = release(word)
    assert packed is not None
    assert dict(unpack(packed)) == held


@pytest.mark.parametrize("word", ["", "x", "eNrt", squeeze(Packed())[:-6], "e30="])
def test_a_marker_that_somebody_edited_is_no_state(word: str) -> None:
    assert release(word) is None


def test_a_bomb_is_not_unpacked() -> None:
    huge = Packed(stacks=("x" * 5_000_000,))
    assert release(squeeze(huge)) is None


def test_numbers_that_point_nowhere_are_left_out() -> None:
    packed = Packed(
        stacks=("s",),
        columns=(("t", "m", "e", "c"),) * 3,
        seen=(seen("works"),),
        rows=((7, -3, 0),),
    )
    assert list(unpack(packed).values()) == [seen("works")]
