from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Cell, Report, StackSummary
from reports.fold import WRITTEN, by_capability, columns, differs, rows, series

Build = Callable[..., Report]


def stack(name: str, version: str) -> StackSummary:
    return StackSummary(name=name, package="vllm", version=version, machines=("x86_64",), pins={})


def test_series_is_the_requirement_without_its_version() -> None:
    assert series(stack("vllm==0.33.0", "0.33.0")) == "vllm"
    assert series(stack("vllm[flashinfer]==0.33.0", "0.33.0")) == "vllm[flashinfer]"
    assert series(stack("spark-nightly", "0.33.0")) == WRITTEN


def test_equal_neighbours_become_one_range(report: Report) -> None:
    folded = rows(report.stacks, by_capability(report)["gemm"])
    assert [row.title for row in folded][-1] == "vllm 0.17.1 \u2013 0.20.0"
    assert [row.label for row in folded][:2] == ["0.33.0", "0.32.1"]


def test_equal_releases_with_a_different_one_between_do_not_fold(report: Report) -> None:
    cells = [c for c in report.cells if c.capability == "gemm" and c.target == "sm121"]
    slim = [c for c in cells if c.environment == "slim"]
    labels = [row.label for row in rows(report.stacks, slim)]
    # 0.31.0 holds a trap; the releases on both sides say "no".
    assert labels == [
        "0.33.0",
        "0.32.0 \u2013 0.32.1",
        "0.31.0",
        "0.24.0 \u2013 0.28.0",
        "0.17.1 \u2013 0.20.0",
    ]


def test_hand_written_stacks_never_fold(report: Report) -> None:
    stacks = [msgspec.structs.replace(s, name=f"mine-{s.version}") for s in report.stacks]
    cells = [
        msgspec.structs.replace(c, stack=c.stack.replace("vllm==", "mine-"))
        for c in report.cells
        if c.capability == "kv-cache"
    ]
    assert len(rows(stacks, cells)) == len(report.stacks)


@given(st.lists(st.sampled_from(["likely", "broken", "unknown"]), min_size=1, max_size=30))
def test_every_release_is_in_exactly_one_row_and_neighbours_differ(verdicts: list[str]) -> None:
    stacks = [stack(f"vllm==0.{n}", f"0.{n}") for n in range(len(verdicts))]
    cells = [
        msgspec.convert(
            {
                "stack": s.name, "target": "sm120", "machine": "x86_64", "environment": "slim",
                "capability": "gemm", "declared": "yes", "compiled": "yes", "selected": "not_asked",
                "executed": "", "verdict": verdict, "reason": "",
            },
            Cell,
        )
        for s, verdict in zip(stacks, verdicts, strict=True)
    ]  # fmt: skip
    folded = rows(stacks, cells)
    assert [s for row in folded for s in row.stacks] == stacks
    assert all(a.faces != b.faces for a, b in pairwise(folded))


def test_machines_share_a_column_only_where_every_row_agrees(report: Report) -> None:
    newest = rows(report.stacks[-4:-2], by_capability(report)["gemm"])
    assert [c.machines for c in columns(report, newest)][:2] == [("x86_64", "aarch64")] * 2
    everything = rows(report.stacks, by_capability(report)["gemm"])
    assert [c.machines for c in columns(report, everything)][:2] == [("x86_64",), ("aarch64",)]


def test_devel_differs_where_a_compiler_changes_the_verdict(report: Report) -> None:
    folded = rows(report.stacks, by_capability(report)["gemm"])
    shown = columns(report, folded)
    told = {row.label: differs(row, shown, "slim", "devel") for row in folded}
    assert told["0.32.0"]
    assert not told["0.33.0"]
