from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.capability import Piece
from matrix.evidence.cubins import architecture, count_cubins

GEMM = Piece(
    piece="flashinfer.mm-fp4-trtllm",
    package="flashinfer-cubin",
    delivery="cubin",
    cubin="/Gemm_[A-Za-z0-9]+_E2m1E2m1_",
)
FOLDER = "flashinfer_cubin/cubins/0123abc/gemm-4e/"
FIRST = f"{FOLDER}Gemm_Bfloat16_E2m1E2m1_Fp32_t128x16x256_s7_et64x16_m64x16_sm100f.cubin"


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        (FIRST, "sm100f"),
        (f"{FOLDER}Gemm_Bfloat16_E2m1E2m1_sm103a.cubin", "sm103a"),
        ("fmha/fmhaSm100aKernel_QE4m3KvE2m1OBfloat16.cubin", "sm100a"),
        ("fmha/fmhaSm100fKernel_QE4m3KvE2m1OBfloat16.cubin", "sm100f"),
        ("fmha/fmhaSm120Kernel_QE4m3.cubin", "sm120"),
        ("sm_100a/kernel.cubin", "sm100a"),
        ("sm_100/kernel_sm90a.cubin", "sm90a"),  # the file's own name before its folder's
        ("kernel_sm_121a.cubin", "sm121a"),
        ("kernel.cubin", ""),
        ("kernel_sm100b.cubin", ""),
        ("kernel_sm1.cubin", ""),
        ("kernel_sm1000.cubin", ""),
        ("kernel_sm0100.cubin", ""),
        ("kernel_sm100", ""),  # nothing says that the name ends there
        ("", ""),
    ],
)
def test_a_name_states_its_architecture(name: str, stated: str) -> None:
    assert architecture(name) == stated


@given(st.integers(50, 999), st.sampled_from(["", "a", "f"]), st.sampled_from("._/K"))
def test_whatever_stands_behind_an_architecture_its_suffix_is_told(
    capability: int, suffix: str, then: str
) -> None:
    stated = f"sm{capability}{suffix}"
    assert architecture(f"Bmm_{stated}{then}cubin") == stated
    assert architecture(f"Bmm{stated.capitalize()}{then}cubin") == stated


def test_files_are_counted_by_piece_and_architecture() -> None:
    names = [
        FIRST,
        FIRST.replace("t128x16", "t128x8"),
        FIRST.replace("sm100f", "sm103a"),
        FIRST.replace("E2m1E2m1", "E4m3E4m3"),  # another format
        FIRST.replace("/Gemm_", "/Bmm_"),  # another kernel
        FIRST.replace("_sm100f", ""),  # what could load it is not known
        f"{FIRST}.txt",
        FIRST.replace(".cubin", ".so"),
    ]
    found = count_cubins(names, [GEMM])
    assert [(held.piece, held.image, held.files) for held in found] == [
        ("flashinfer.mm-fp4-trtllm", "sm100f", 2),
        ("flashinfer.mm-fp4-trtllm", "sm103a", 1),
    ]


def test_an_example_is_the_first_name_without_its_folder() -> None:
    other = FIRST.replace("t128x16", "t256x16")
    for names in ([FIRST, other], [other, FIRST]):
        (held,) = count_cubins(names, [GEMM])
        assert held.example == FIRST.rpartition("/")[2]


def test_a_long_example_is_cut() -> None:
    (held,) = count_cubins([FIRST.replace("Fp32", "Fp32" * 100)], [GEMM])
    assert len(held.example) == 160


def test_a_file_may_count_for_several_pieces() -> None:
    every = Piece(piece="a.every", package="flashinfer-cubin", delivery="cubin", cubin="E2m1")
    assert [held.piece for held in count_cubins([FIRST], [GEMM, every])] == [
        "a.every",
        "flashinfer.mm-fp4-trtllm",
    ]


def test_a_family_that_is_left_out_cannot_hold_the_piece() -> None:
    piece = Piece(
        piece="a.gemm",
        package="a",
        delivery="cubin",
        cubin="Gemm",
        families={"sm10x": "E2m1", "sm12x": "E4m3"},
    )
    names = [f"{kind}/Gemm_{kind}_sm{n}.cubin" for kind in ("E2m1", "E4m3") for n in (90, 103, 120)]
    assert [(held.image, held.example) for held in count_cubins(names, [piece])] == [
        ("sm103", "Gemm_E2m1_sm103.cubin"),
        ("sm120", "Gemm_E4m3_sm120.cubin"),
    ]


@pytest.mark.parametrize(
    "piece",
    [
        Piece(piece="a.b", package="a", delivery="cubin"),  # states no name
        Piece(piece="a.b", package="a", delivery="image", symbol="Gemm", cubin="Gemm"),
    ],
)
def test_other_pieces_are_not_looked_for(piece: Piece) -> None:
    assert count_cubins([FIRST], [piece]) == ()
