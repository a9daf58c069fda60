"""A source build held to the nearest release that was read."""

from __future__ import annotations

import pytest

from matrix.capability import Piece
from matrix.configuration import Configuration
from matrix.evidence.record import KernelEvidence, WheelEvidence
from matrix.promise import lost, nearest

PIECE = Piece(piece="x.gemm", package="x", delivery="image", capabilities=("gemm",), symbol="gemm")
TARGETS = Configuration().targets


def record(
    version: str, image: str = "sm_120f", *, proven: int = 1, trapped: int = 0
) -> WheelEvidence:
    kernel = KernelEvidence(
        piece="x.gemm",
        object="x.so",
        image=image,
        kernels=proven + trapped,
        proven=proven,
        trapped=trapped,
    )
    return WheelEvidence(
        package="x",
        version=version,
        machine="x86_64",
        filename=f"x-{version}.whl",
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-01-01",
        kernels=(kernel,),
    )


@pytest.mark.parametrize(
    ("version", "release"),
    [("1.2.1.dev3+gabc", "1.2"), ("1.1", "1.1"), ("0.9", "1.1"), ("2.0", "1.3"), ("1.3rc1", "1.2")],
)
def test_the_nearest_release_is_the_newest_that_is_not_newer(version: str, release: str) -> None:
    records = [record(each) for each in ("1.3", "1.1", "1.2")]
    found = nearest(records, version)
    assert found is not None
    assert found.version == release
    assert nearest([], version) is None


@pytest.mark.parametrize(
    ("found", "served", "told"),
    [
        (record("2", proven=1), ["sm120", "sm121"], []),
        (record("2", proven=9), ["sm120", "sm121"], []),
        (record("2", proven=0, trapped=3), ["sm120"], [("sm120", "trap, 0 kernels")]),
        (record("2", "sm_120", proven=0, trapped=1), ["sm120"], [("sm120", "trap, 0 kernels")]),
        (record("2", "sm_120a"), ["sm120", "sm121"], [("sm121", "no, 0 kernels")]),
        (record("2", "sm_120a"), ["sm120"], []),
        (record("2", "sm_100f"), ["sm120"], [("sm120", "no, 0 kernels")]),
        (record("2", "sm_100f"), ["sm100"], []),
        (record("2", "sm_90a"), [], []),
    ],
)
def test_what_the_release_has_is_promised_where_it_was_built_for(
    found: WheelEvidence, served: list[str], told: list[tuple[str, str]]
) -> None:
    release = record("1")
    differs = lost(found, release, served, capabilities=["gemm"], targets=TARGETS, pieces=[PIECE])
    assert [(each.target, each.found) for each in differs] == told
    for each in lost(
        found, release, served, capabilities=["gemm"], targets=TARGETS, pieces=[PIECE]
    ):
        assert (each.kind, each.what) == ("compiled", "x gemm")
        assert each.promised == "yes, as 1 has it"
