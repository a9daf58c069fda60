"""What the probes of padding pad, at the sizes that a GPU is given."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from probes.case import Case
from probes.check import cases, checked
from probes.reference import mxfp4, nvfp4
from probes.request import Request
from probes.suite import test_correctness_again as suite

pytestmark = pytest.mark.torch

FULL = Request(
    run="r", stack="s", target="sm120", machine="x86_64", subject="reference", results="none"
)


def planned(probe: object, operation: str) -> list[Case]:
    found = checked(probe)
    assert found is not None
    return cases("again", found, {operation: ("plain",)}, FULL)


def sizes(case: Case) -> list[tuple[int, int]]:
    """Rows and columns of every matrix whose scales the probe pads: activations, and weights."""
    block = mxfp4.BLOCK if case.operation == "mxfp4_gemm" else nvfp4.BLOCK
    if case.operation == "moe":
        hidden, inner = case["hidden"], case["intermediate"]
        shapes = [(2 * inner, hidden), (hidden, inner)]
    elif case.operation == "grouped_gemm":
        shapes = [(case["n"], case["k"])]
    else:
        shapes = [(case["m"], case["k"]), (case["n"], case["k"])]
    return [(rows, k // block) for rows, k in shapes]


@pytest.mark.parametrize("operation", suite.PADDED)
def test_there_are_rows_of_padding_to_poison_and_no_columns(operation: str) -> None:
    for case in planned(suite.test_padding, operation):
        assert any(rows % 128 for rows, _ in sizes(case))
        assert all(columns % 4 == 0 for _, columns in sizes(case))


def test_there_are_columns_of_padding_that_a_quantizer_has_to_fill() -> None:
    made = planned(suite.test_poisoned, "quantize")
    assert any(case["k"] // nvfp4.BLOCK % 4 for case in made)
