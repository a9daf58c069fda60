from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from matrix.capability import Instruction, Piece
from matrix.errors import ToolError
from matrix.evidence import machinecode
from matrix.evidence.machinecode import Entry, matching, parse_disassembly, parse_symbols

SYMBOLS = """
Fatbin elf code:
================
arch = sm_100f
code version = [1,8]

symbols:
FUNC          LOCAL   DEFAULT    ENTRY                                _Z4gemmSm100
FUNC          WEAK    DEFAULT    -                                    _Z6helper
Fatbin ptx code:
================
arch = sm_90
ptxasOptions =
Fatbin elf code:
================
arch = sm_120f

symbols:
FUNC          GLOBAL  DEFAULT    ENTRY                                _Z4gemmSm120
"""

DISASSEMBLY = """
\t.section\t.text._Z4gemm,"ax",@progbits
        /*0000*/                   OMMA.SF.16864.F32.E2M1.E2M1.UE4M3.4X R4, R8, R12, R4 ;
        /*0010*/                   OMMA.SF.16864.F32.E2M1.E2M1.UE4M3.4X R4, R8, R12, R4 ;
\t.section\t.text._Z4trap,"ax",@progbits
        /*0000*/                   BPT.TRAP 0x1 ;
"""


def test_entries_carry_the_ordinal_by_which_cuobjdump_extracts_them() -> None:
    images: Counter[str] = Counter()
    ptx: Counter[str] = Counter()
    entries = list(parse_symbols(SYMBOLS.splitlines(), images, ptx))
    assert entries == [Entry(1, "sm_100f", "_Z4gemmSm100"), Entry(2, "sm_120f", "_Z4gemmSm120")]
    assert images == {"sm_100f": 1, "sm_120f": 1}
    assert ptx == {"sm_90": 1}


def test_opcodes_are_counted_by_the_kernel_they_stand_in() -> None:
    found = parse_disassembly(DISASSEMBLY.splitlines(), re.compile(r"OMMA\.[A-Z0-9.]*E2M1"))
    assert {kernel: sum(count.values()) for kernel, count in found.items()} == {
        "_Z4gemm": 2,
        "_Z4trap": 0,
    }


def test_a_name_is_matched_within_the_objects_and_without_the_exclusions() -> None:
    piece = Piece(
        piece="vllm.gemm",
        package="vllm",
        delivery="image",
        symbol="gemm",
        exclude="Quant",
        objects=r"/_C\.so$",
    )
    assert matching(Entry(1, "sm_120f", "_Z4gemm"), piece, "vllm/_C.so")
    assert not matching(Entry(1, "sm_120f", "_Z4gemmQuant"), piece, "vllm/_C.so")
    assert not matching(Entry(1, "sm_120f", "_Z4gemm"), piece, "vllm/_qutlass_C.so")


def test_what_cuobjdump_refuses_is_an_outcome_with_its_own_words(tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.so"
    garbage.write_bytes(b"\x7fELF" + bytes(range(256)))
    evidence, kernels = machinecode.read_object(
        garbage,
        "vllm/garbage.so",
        [],
        [Instruction(name="x", families={}, source="x")],
        workdir=tmp_path,
    )
    assert evidence.outcome == "refused"
    assert evidence.detail.isprintable()
    assert evidence.detail
    assert kernels == ()


def test_a_missing_tool_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machinecode, "_TOOLS", {"cuobjdump": "no-such-distribution"})
    monkeypatch.setattr(machinecode, "which", lambda _: None)
    machinecode.tool.cache_clear()
    with pytest.raises(ToolError, match="pip install no-such-distribution"):
        machinecode.tool("cuobjdump")
    machinecode.tool.cache_clear()
