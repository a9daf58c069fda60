from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from matrix.capability import Instruction, Piece
from matrix.errors import OutsideError, ToolError
from matrix.evidence import machinecode, nvidiatools
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
    garbage.write_bytes(b"hi")
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
    assert str(tmp_path) not in evidence.detail
    assert kernels == ()


def test_an_object_that_holds_no_device_code_is_not_called_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.so"
    empty.write_bytes(b"\x7fELF" + bytes(range(256)))
    evidence, _ = machinecode.read_object(empty, "vllm/empty.so", [], [], workdir=tmp_path)
    assert (evidence.outcome, evidence.detail) == ("no-device-code", "")


def test_a_missing_tool_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidiatools, "_TOOLS", {"cuobjdump": "no-such-distribution"})
    monkeypatch.setattr(nvidiatools, "which", lambda _: None)
    nvidiatools.tool.cache_clear()
    with pytest.raises(ToolError, match="pip install no-such-distribution"):
        nvidiatools.tool("cuobjdump")
    nvidiatools.tool.cache_clear()


FAKE = """#!{python}
import os, signal, sys
if sys.argv[1] == "-symbols":
{symbols}
elif sys.argv[1] == "-xelf":
{extract}
else:
{disassemble}
"""
EXTRACT = """
for ordinal in sys.argv[2].split(","):
    open(f"x{ordinal}120f.cubin", "wb").write(b"code")
"""
MMA = Instruction(name="fp4-mma", families={"sm12x": r"OMMA\.[A-Z0-9.]*E2M1"}, source="x")
GEMM = Piece(
    piece="a.gemm", package="a", delivery="image", symbol="gemm|trap", instruction="fp4-mma"
)
TWO = SYMBOLS + "FUNC GLOBAL DEFAULT ENTRY _Z4gemm\nFUNC GLOBAL DEFAULT ENTRY _Z4trap\n"
Fake = Callable[..., None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Put programs in the place of NVIDIA's tools; each part is Python."""

    def write(
        symbols: str = f"print({TWO!r})",
        extract: str = EXTRACT,
        disassemble: str = f"print({DISASSEMBLY!r})",
    ) -> None:
        parts = {"symbols": symbols, "extract": extract, "disassemble": disassemble}
        indented = {
            name: "\n".join(f"    {line}" for line in part.splitlines())
            for name, part in parts.items()
        }
        program = tmp_path / "fake"
        program.write_text(FAKE.format(python=sys.executable, **indented))
        program.chmod(0o755)
        monkeypatch.setattr(machinecode, "tool", lambda _: str(program))
        monkeypatch.setattr(nvidiatools, "tool", lambda _: str(program))

    return write


def read(tmp_path: Path) -> tuple[str, str, list[tuple[str, int, int, int]]]:
    path = tmp_path / "x.so"
    path.write_bytes(b"x")
    before = set(tmp_path.iterdir())
    evidence, kernels = machinecode.read_object(path, "a/x.so", [GEMM], [MMA], workdir=tmp_path)
    assert set(tmp_path.iterdir()) == before
    told = [(k.image, k.kernels, k.proven, k.trapped) for k in kernels]
    return evidence.outcome, evidence.detail, told


def test_a_kernel_is_proven_by_its_instructions_and_trapped_without(
    fake: Fake, tmp_path: Path
) -> None:
    fake()
    assert read(tmp_path) == ("read", "", [("sm_100f", 1, 0, 1), ("sm_120f", 3, 1, 2)])


def test_what_a_tool_says_before_it_refuses_is_its_first_line_without_controls(
    fake: Fake, tmp_path: Path
) -> None:
    fake(symbols="print('\\033[31mno\\tfile\\nmore', file=sys.stderr); sys.exit(3)")
    assert read(tmp_path) == ("refused", "[31mno file", [])
    fake(symbols="sys.exit(3)")
    assert read(tmp_path) == ("refused", "fake ended with code 3", [])


def test_an_image_that_was_not_extracted_refuses_the_object(fake: Fake, tmp_path: Path) -> None:
    fake(extract="pass")
    assert read(tmp_path) == ("refused", "cuobjdump did not extract image 2", [])


def test_a_tool_that_was_killed_says_so_whatever_it_said_before(fake: Fake, tmp_path: Path) -> None:
    fake(symbols="print('info', file=sys.stderr, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    assert read(tmp_path) == ("refused", "fake ended with code -9", [])


def test_a_complaint_on_a_full_disk_is_no_word_about_the_object(
    fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """cuobjdump ends well when it could not write an image, and nvdisasm refuses what there is."""
    fake(disassemble="sys.exit(1)")
    assert read(tmp_path)[0] == "refused"

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutsideError, match=f"^{tmp_path}: cannot write: No space left on device"):
        read(tmp_path)


def test_a_tool_that_cannot_be_started_is_the_machine_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machinecode, "tool", lambda _: str(tmp_path / "none"))
    with pytest.raises(OutsideError, match=r"a/x\.so: .*No such file or directory"):
        read(tmp_path)


def test_a_tool_that_goes_on_is_ended_when_its_reader_stops(fake: Fake) -> None:
    fake(symbols="print(os.getpid())\nwhile True: print('FUNC', flush=True)")
    pids: list[int] = []

    def stop() -> None:
        with nvidiatools.running([nvidiatools.tool("x"), "-symbols"]) as lines:
            pids.append(int(next(iter(lines))))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_symbols_of_a_hostile_object_are_told_in_one_line(fake: Fake, tmp_path: Path) -> None:
    name = "gemm\x1b[2J\x07"
    fake(symbols=f"print({SYMBOLS + 'FUNC GLOBAL DEFAULT ENTRY ' + name!r})")
    path = tmp_path / "x.so"
    path.write_bytes(b"x")
    _, kernels = machinecode.read_object(path, "a/x.so", [GEMM], [MMA], workdir=tmp_path)
    assert all(kernel.example.isprintable() for kernel in kernels)
