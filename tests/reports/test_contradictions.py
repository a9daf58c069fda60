from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Contradiction, Report, StackSummary, TargetSummary
from reports.contradictions import SEVERITY, fold

VERSIONS = ("0.5.0", "0.4.0", "0.3.0", "0.2.0", "0.1.0")
REPORT = Report(
    generated="2026-11-21T00:00:00Z",
    targets=(
        TargetSummary(
            name="sm103",
            compute_capability="10.3",
            machines=("x86_64", "aarch64"),
            products=("B300",),
        ),
        TargetSummary(
            name="sm121", compute_capability="12.1", machines=("aarch64",), products=("GB10",)
        ),
    ),
    stacks=(
        *(
            StackSummary(
                name=f"vllm=={version}", package="vllm", version=version, machines=(), pins={}
            )
            for version in VERSIONS
        ),
        StackSummary(name="mine", package="vllm", version="0.5.0", machines=(), pins={}),
    ),
    cells=(),
    contradictions=(),
)


def found(version: str, target: str = "sm121", **changes: object) -> Contradiction:
    one = Contradiction(
        kind="declared-not-compiled",
        stack=f"vllm=={version}",
        target=target,
        machine="aarch64",
        capability="gemm",
        text=f"vllm {version} says yes on {target}.",
        path="vllm.cutlass-dense",
        pieces=("vllm.cutlass-gemm",),
    )
    return msgspec.structs.replace(one, **changes)


def labels(*those: Contradiction) -> list[tuple[str, str]]:
    return [(one.label, one.where) for one in fold(REPORT, those)]


def test_consecutive_releases_are_one_range_and_a_gap_starts_another() -> None:
    those = [found(version) for version in ("0.1.0", "0.2.0", "0.4.0")]
    assert labels(*those) == [("vllm 0.4.0, 0.1.0 \u2013 0.2.0", "sm121")]


def test_targets_with_the_same_releases_are_told_together_and_others_apart() -> None:
    both = [found("0.4.0", "sm121"), found("0.4.0", "sm103")]
    assert labels(*both) == [("vllm 0.4.0", "sm103 (aarch64), sm121")]
    assert labels(*both, found("0.3.0", "sm121")) == [
        ("vllm 0.3.0 \u2013 0.4.0", "sm121"),
        ("vllm 0.4.0", "sm103 (aarch64)"),
    ]


def test_a_target_on_each_of_its_machines_is_named_alone() -> None:
    those = [found("0.4.0", "sm103"), found("0.4.0", "sm103", machine="x86_64")]
    assert labels(*those) == [("vllm 0.4.0", "sm103")]


def test_the_newest_release_speaks_for_all() -> None:
    (one,) = fold(REPORT, [found("0.1.0"), found("0.3.0"), found("0.2.0")])
    assert one.newest.text == "vllm 0.3.0 says yes on sm121."
    assert one.times == 3


def test_what_differs_in_kind_path_capability_or_pieces_is_told_apart() -> None:
    base = found("0.4.0")
    for change in (
        {"kind": "trap"},
        {"path": "vllm.other"},
        {"capability": "moe"},
        {"pieces": ("vllm.quantize",)},
    ):
        assert len(fold(REPORT, [base, msgspec.structs.replace(base, **change)])) == 2


def test_the_worst_kind_comes_first_and_then_the_newest_release() -> None:
    those = [found(v, kind=kind) for kind in reversed(SEVERITY) for v in ("0.1.0", "0.3.0")]
    assert [one.kind for one in fold(REPORT, those)] == list(SEVERITY)
    apart = [found("0.1.0"), found("0.3.0", path="vllm.other")]
    assert [one.stacks[0] for one in fold(REPORT, apart)] == ["vllm==0.3.0", "vllm==0.1.0"]


def test_what_is_chosen_and_incomplete_comes_first_and_a_fallback_before_a_mere_disagreement() -> (
    None
):
    kinds = ["packages-disagree", "silent-fallback", "declared-not-compiled", "selected-incomplete"]
    told = fold(REPORT, [found("0.4.0", kind=kind) for kind in kinds])
    assert [one.kind for one in told] == [
        "selected-incomplete",
        "declared-not-compiled",
        "silent-fallback",
        "packages-disagree",
    ]


def test_a_stack_written_by_hand_keeps_its_name() -> None:
    assert labels(found("0.5.0", stack="mine")) == [("mine", "sm121")]


@given(
    st.lists(
        st.builds(
            found,
            st.sampled_from(VERSIONS),
            st.sampled_from(["sm103", "sm121"]),
            kind=st.sampled_from(SEVERITY),
            path=st.sampled_from(["vllm.one", "vllm.two"]),
        ),
        unique=True,
    ),
    st.randoms(),
)
def test_nothing_is_lost_and_order_does_not_matter(
    those: list[Contradiction], chance: random.Random
) -> None:
    folded = fold(REPORT, those)
    assert sum(one.times for one in folded) == len(those)
    assert {
        (one.kind, stack, *place) for one in folded for stack in one.stacks for place in one.places
    } == {(one.kind, one.stack, one.target, one.machine) for one in those}
    shuffled = list(those)
    chance.shuffle(shuffled)
    assert {(f.kind, f.label, f.where, f.newest.path) for f in fold(REPORT, shuffled)} == {
        (f.kind, f.label, f.where, f.newest.path) for f in folded
    }
