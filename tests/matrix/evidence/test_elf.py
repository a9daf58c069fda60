from __future__ import annotations

import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from matrix.evidence.elf import FatbinPeek, cuda_runtime, symbol_indices

WORDS = re.compile(rb"fp4|e2m1")
FATBIN = struct.pack("<4sHHQ", b"\x50\xed\x55\xba", 1, 16, 4096)


def shared_object(
    rodata: bytes, fatbin: bytes = FATBIN, *, dynstr: bytes = b"\0_ZN3fooEv\0", first: bool = False
) -> bytes:
    """Lay out what GNU ld does: names, then text, then .rodata and .nv_fatbin in one segment.

    `first`: the fat binary before .rodata in that segment.
    """
    lead, text = 4096, bytes(4096)
    rodata += bytes(-len(rodata) % 8)
    last = fatbin + bytes(-len(fatbin) % 8) + rodata if first else rodata + fatbin
    loads = [(4, 0, lead), (5, lead, len(text)), (4, lead + len(text), len(last))]
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 62, 1)
    header += struct.pack("<QQQIHHHHHH", 0, 64, 0, 0, 64, 56, len(loads), 64, 0, 0)
    for flags, offset, size in loads:
        header += struct.pack("<IIQQQQQQ", 1, flags, offset, offset, offset, size, size, 4096)
    return (header + dynstr).ljust(lead, b"\0") + text + last


def peek(content: bytes, step: int = 1000) -> bool | None:
    seen = FatbinPeek(WORDS)
    for at in range(0, len(content), step):
        answer = seen.feed(content[at : at + step])
        if answer is not None:
            return answer
    return seen.feed(b"")


NAME = b"\0_Z15cvt_fp16_to_fp4I6__halfEvT_\0"
OTHER = b"\0_Z16flash_fwd_kernelIfEvv\0"


@pytest.mark.parametrize("step", [1, 7, 64, 1000, 100_000])
def test_a_name_before_the_fat_binary_makes_it_worth_reading(step: int) -> None:
    assert peek(shared_object(NAME + bytes(200)), step) is True


@pytest.mark.parametrize("step", [1, 7, 64, 1000, 100_000])
def test_no_name_before_the_fat_binary_makes_it_not(step: int) -> None:
    assert peek(shared_object(OTHER), step) is False


def test_names_behind_the_fat_binary_do_not_count_when_others_stand_before() -> None:
    assert peek(shared_object(OTHER, FATBIN + NAME)) is False


def test_a_fat_binary_before_the_names_is_worth_reading() -> None:
    assert peek(shared_object(OTHER, first=True)) is True


def test_names_of_dynstr_alone_prove_nothing() -> None:
    assert peek(shared_object(b"", dynstr=OTHER)) is True


def one_segment(names: list[bytes]) -> bytes:
    """Lay out one executable segment from the file's start, as vLLM 0.19.1 has it on aarch64."""
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 183, 1)
    header += struct.pack("<QQQIHHHHHH", 0, 64, 0, 0, 64, 56, 1, 64, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 1 << 20, 1 << 20, 4096)
    content = header.ljust(4096, b"\0") + b"".join(names)
    return content + bytes(8 - len(content) % 8) + FATBIN


@pytest.mark.parametrize("step", [1, 64, 100_000])
def test_in_one_segment_only_aligned_names_prove_the_order(step: int) -> None:
    aligned = [(name + b"\0").ljust(32, b"\0") for name in [b"_Z3fooIfEvv", b"_ZN1aEv"] * 2]
    assert peek(one_segment([b"\0" * 8, *aligned]), step) is False
    assert peek(one_segment([b"\0" * 8, *aligned[1:]]), step) is True
    assert peek(one_segment([b"\0" * 7, *aligned]), step) is True


def test_a_fat_binary_in_what_is_no_elf_is_worth_reading() -> None:
    assert peek(bytes(64) + OTHER.ljust(64, b"\0") + FATBIN) is True


def test_an_object_without_device_code_and_name_is_not() -> None:
    assert peek(shared_object(OTHER, b"")) is False
    assert peek(shared_object(NAME, b"")) is True


@pytest.mark.parametrize("step", [1, 7, 64, 1000])
@pytest.mark.parametrize("dtype", [b"\0Float4_e2m1fn_x2\0", b"\0torch_dtype_float4_e2m1fn_x2\0"])
def test_the_name_of_torchs_dtype_is_no_kernel(dtype: bytes, step: int) -> None:
    assert peek(shared_object(dtype + OTHER + bytes(6000), dynstr=dtype), step) is False
    assert peek(shared_object(OTHER + bytes(6000) + dtype), step) is False


@pytest.mark.parametrize(
    "noise",
    [b"\x50\xed\x55\xba" + bytes(12), bytes(4) + FATBIN, FATBIN[:6] + b"\xff\xff" + bytes(8)],
)
def test_a_magic_by_chance_is_passed_over(noise: bytes) -> None:
    assert peek(shared_object(OTHER.ljust(64, b"\0") + noise + NAME)) is True


def test_the_answer_stays() -> None:
    seen = FatbinPeek(WORDS)
    assert seen.feed(shared_object(OTHER)) is False
    assert seen.feed(NAME) is False
    assert seen.fatbin_at == 8192 + 32


@settings(deadline=None)
@given(st.binary(max_size=3000), st.integers(1, 500))
def test_any_bytes_are_answered(content: bytes, step: int) -> None:
    assert peek(content, step) in {True, False}


@settings(deadline=None)
@given(st.integers(1, 3000))
def test_the_answer_is_the_same_however_it_is_cut(step: int) -> None:
    assert peek(shared_object(bytes(5000) + NAME), step) is True
    assert peek(shared_object(bytes(5000) + OTHER), step) is False


def with_dynamic(names: list[bytes]) -> bytes:
    """Lay out a shared object whose dynamic section needs `names`."""
    strings = b"\0" + b"".join(name + b"\0" for name in names)
    titles = b"\0.shstrtab\0.dynstr\0.dynamic\0"
    dynamic = b"".join(struct.pack("<QQ", 1, strings.index(name)) for name in names) + bytes(16)
    at = [64, 64 + len(titles), 64 + len(titles) + len(strings)]
    table = at[2] + len(dynamic)
    sections = [
        bytes(64),
        struct.pack("<IIQQQQIIQQ", 1, 3, 0, 0, at[0], len(titles), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 11, 3, 2, 0, at[1], len(strings), 0, 0, 1, 0),
        struct.pack("<IIQQQQIIQQ", 19, 6, 2, 0, at[2], len(dynamic), 2, 0, 8, 16),
    ]
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 3, 62, 1)
    header += struct.pack("<QQQIHHHHHH", 0, 0, table, 0, 64, 56, 0, 64, len(sections), 1)
    return header + titles + strings + dynamic + b"".join(sections)


def test_the_cuda_runtime_is_what_the_object_needs(tmp_path: Path) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(with_dynamic([b"libtorch.so", b"libcudart.so.13", b"libc.so.6"]))
    assert cuda_runtime(path) == "libcudart.so.13"
    path.write_bytes(with_dynamic([b"libtorch.so"]))
    assert cuda_runtime(path) == ""
    path.write_bytes(b"no object")
    assert cuda_runtime(path) == ""


@settings(deadline=None)
@given(st.data())
def test_garbage_raises_nothing(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(with_dynamic([b"libcudart.so.13"]))
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(6, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] + data.draw(st.binary(max_size=20))
    path = tmp_path_factory.getbasetemp() / f"{zlib.crc32(content)}.so"
    path.write_bytes(content)
    try:
        assert len(cuda_runtime(path)) <= 40
    finally:
        path.unlink()


def test_symbols_are_found_by_name_and_a_damaged_file_has_none(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(b"\x7fELF" + bytes(300))
    assert symbol_indices(damaged, {"main"}) == []
    source = tmp_path / "a.c"
    source.write_text("int first(void) { return 1; } int second(void) { return 2; }")
    built = tmp_path / "a.o"
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler")
    subprocess.run([compiler, "-c", source, "-o", built], check=True)
    one, two = symbol_indices(built, {"first"}), symbol_indices(built, {"second", "third"})
    assert len(one) == len(two) == 1
    assert sorted(one + two) == symbol_indices(built, {"second", "first"})
