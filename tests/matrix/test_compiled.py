from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.capability import Piece
from matrix.compiled import compiled, fold
from matrix.evidence.record import KernelEvidence, WheelEvidence
from matrix.vocabulary import Compiled

GEMM = Piece(piece="vllm.gemm", package="vllm", delivery="image", capabilities=("gemm",))
QUANTIZE = Piece(piece="vllm.quantize", package="vllm", delivery="image", capabilities=("gemm",))


def wheel(*kernels: tuple[str, str, int, int]) -> WheelEvidence:
    return WheelEvidence(
        package="vllm",
        version="0.11.0",
        machine="x86_64",
        filename="vllm-0.11.0-cp38-abi3-manylinux1_x86_64.whl",
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
        kernels=tuple(
            KernelEvidence(
                piece=piece,
                object="vllm/_C.abi3.so",
                image=image,
                kernels=proven + trapped,
                proven=proven,
                trapped=trapped,
            )
            for piece, image, proven, trapped in kernels
        ),
    )


@pytest.mark.parametrize(
    ("gpu", "lamp"), [(100, "yes"), (103, "no"), (120, "yes"), (121, "no"), (90, "no")]
)
def test_an_a_image_counts_on_its_own_capability_only(gpu: int, lamp: str) -> None:
    evidence = wheel(("vllm.gemm", "sm_100a", 6, 0), ("vllm.gemm", "sm_120a", 4, 0))
    assert compiled(evidence, "gemm", gpu, [GEMM]).compiled == lamp


def test_a_loadable_image_without_the_instruction_is_a_trap() -> None:
    state = compiled(wheel(("vllm.gemm", "sm_120f", 0, 3)), "gemm", 121, [GEMM])
    assert (state.compiled, state.kernels) == ("trap", 0)


def test_traps_beside_a_proven_kernel_do_not_count() -> None:
    state = compiled(wheel(("vllm.gemm", "sm_120f", 1, 2)), "gemm", 121, [GEMM])
    assert (state.compiled, state.kernels, state.images) == ("yes", 1, ("sm_120f",))


def test_some_of_the_required_pieces_make_a_partial() -> None:
    evidence = wheel(("vllm.gemm", "sm_120f", 4, 0))
    assert compiled(evidence, "gemm", 120, [GEMM, QUANTIZE]).compiled == "partial"


def test_a_piece_that_is_not_required_does_not_decide() -> None:
    optional = Piece(
        piece="vllm.silu",
        package="vllm",
        delivery="image",
        capabilities=("gemm",),
        required=False,
    )
    evidence = wheel(("vllm.gemm", "sm_120f", 4, 0))
    assert compiled(evidence, "gemm", 120, [GEMM, optional]).compiled == "yes"


def test_pieces_of_other_packages_and_other_releases_are_passed_over() -> None:
    later = Piece(
        piece="vllm.late",
        package="vllm",
        delivery="image",
        capabilities=("gemm",),
        versions=">=0.20",
    )
    other = Piece(piece="x.gemm", package="x", delivery="image", capabilities=("gemm",))
    assert compiled(wheel(), "gemm", 120, [later, other]).pieces == {}


lamps = st.sampled_from(["yes", "no", "trap", "unknown", "jit", "dsl"])


@given(st.lists(lamps, max_size=6), lamps)
def test_the_lamp_is_yes_only_when_every_piece_is(states: list[Compiled], more: Compiled) -> None:
    assert (fold([*states, more]) == "yes") == (set(states) | {more} == {"yes"})


@given(st.lists(lamps, min_size=1, max_size=6))
def test_the_order_of_pieces_does_not_matter(states: list[Compiled]) -> None:
    assert fold(states) == fold(states[::-1])
