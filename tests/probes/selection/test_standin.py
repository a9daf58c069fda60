from __future__ import annotations

import ctypes
import io
import platform
from pathlib import Path

import pytest
from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from hypothesis import given
from hypothesis import strategies as st

from probes.selection import standin
from probes.selection.objectfile import functions

NAMES = [f"cu{word}" for word in ("MemAlloc_v2", "CtxCreate_v4", "TensorMapEncodeTiled", "A", "B")]


@pytest.mark.skipif(platform.machine() not in standin.MACHINES, reason="no stand-in for this CPU")
def test_every_function_says_that_there_is_no_device(tmp_path: Path) -> None:
    file = tmp_path / "stand-in.so"
    file.write_bytes(standin.library(NAMES, platform.machine()))
    loaded = ctypes.CDLL(str(file))
    assert {getattr(loaded, name)() for name in (*NAMES, *standin.ALWAYS)} == {100}
    assert not hasattr(loaded, "cuNever")


@pytest.mark.parametrize(
    ("machine", "code"),
    [("x86_64", "b864000000c3"), ("aarch64", "800c8052c0035fd6")],
)
def test_it_is_a_sound_object_for_either_machine(machine: str, code: str) -> None:
    image = standin.library(NAMES, machine)
    elf = ELFFile(io.BytesIO(image))
    assert elf.get_machine_arch() == {"x86_64": "x64", "aarch64": "AArch64"}[machine]
    kinds = [segment["p_type"] for segment in elf.iter_segments()]
    assert kinds == ["PT_LOAD", "PT_LOAD", "PT_DYNAMIC", "PT_GNU_STACK"]
    dynamic = next(s for s in elf.iter_segments() if isinstance(s, DynamicSegment))
    assert [vars(tag)["soname"] for tag in dynamic.iter_tags("DT_SONAME")] == ["libcuda.so.1"]
    assert dynamic.num_symbols() == 1 + len(NAMES) + len(standin.ALWAYS)
    for symbol in list(dynamic.iter_symbols())[1:]:
        start = symbol["st_value"]
        assert image[start : start + symbol["st_size"]] == bytes.fromhex(code)
    writable = [s for s in elf.iter_segments() if s["p_flags"] & 2]
    assert not any(segment["p_flags"] & 1 for segment in writable)


def test_pages_of_64_kib_part_code_from_data() -> None:
    code, data = list(ELFFile(io.BytesIO(standin.library(NAMES, "aarch64"))).iter_segments())[:2]
    assert code["p_align"] == data["p_align"] == 0x10000
    assert data["p_vaddr"] // 0x10000 > (code["p_vaddr"] + code["p_memsz"] - 1) // 0x10000


def test_another_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="riscv64"):
        standin.library(NAMES, "riscv64")


@given(st.sets(st.from_regex(r"cu[A-Z]\w{0,40}", fullmatch=True).filter(str.isascii), max_size=40))
def test_a_loader_finds_every_name_by_hash(names: set[str]) -> None:
    elf = ELFFile(io.BytesIO(standin.library(names, "x86_64")))
    dynamic = next(s for s in elf.iter_segments() if isinstance(s, DynamicSegment))
    found = {symbol.name for symbol in list(dynamic.iter_symbols())[1:]}
    assert found == names | set(standin.ALWAYS)


def test_it_leaves_nothing_undefined_itself(tmp_path: Path) -> None:
    file = tmp_path / "stand-in.so"
    file.write_bytes(standin.library(NAMES, "x86_64"))
    assert functions(file) == set()
