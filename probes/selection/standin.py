"""A stand-in for CUDA's driver library, written byte by byte: no compiler is needed to make it.

Every function of it returns CUDA_ERROR_NO_DEVICE, as NVIDIA's own does on a machine without a GPU.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

SONAME = "libcuda.so.1"

ALWAYS = (
    "cuInit",
    "cuDriverGetVersion",
    "cuGetProcAddress",
    "cuGetProcAddress_v2",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuGetErrorString",
    "cuGetErrorName",
)
"""Functions that CUDA's runtime library looks for at run time, so that no object leaves them undefined."""

_MACHINES = {
    # e_machine and `return 100` (CUDA_ERROR_NO_DEVICE): mov eax, 100; ret / mov w0, #100; ret
    "x86_64": (62, bytes.fromhex("b864000000c3")),
    "aarch64": (183, bytes.fromhex("800c8052c0035fd6")),
}
MACHINES = tuple(_MACHINES)

_PAGE = 0x10000
"""The largest page of either machine: Grace servers run kernels with pages of 64 KiB."""

_LOAD, _DYNAMIC, _STACK = 1, 2, 0x6474E551
_EXECUTE, _WRITE, _READ = 1, 2, 4


def library(names: Iterable[str], machine: str) -> bytes:
    """Return a shared object for one machine that exports `names`, all of them one function.

    Raises ValueError for a machine that it cannot be written for.
    """
    if machine not in _MACHINES:
        raise ValueError(f"no stand-in for the CUDA driver is known for {machine}")
    number, code = _MACHINES[machine]
    exported = sorted(set(names) | set(ALWAYS))
    words, starts = _strings([SONAME, *exported])
    head = 64 + 4 * 56
    text = head
    symbols_at = _up(text + len(code), 8)
    symbols = bytes(24) + b"".join(
        # st_info: a global function; st_shndx: any defined section
        struct.pack("<IBBHQQ", starts[name], 0x12, 0, 1, text, len(code))
        for name in exported
    )
    hash_at = _up(symbols_at + len(symbols), 8)
    table = _hash(exported)
    words_at = hash_at + len(table)
    first = words_at + len(words)
    dynamic_at = _up(first, _PAGE)
    dynamic = b"".join(
        struct.pack("<qQ", tag, value)
        for tag, value in (
            (14, starts[SONAME]),
            (4, hash_at),
            (5, words_at),
            (6, symbols_at),
            (10, len(words)),
            (11, 24),
            (0, 0),
        )
    )
    segments = (
        _segment(_LOAD, _READ | _EXECUTE, 0, first, _PAGE),
        _segment(_LOAD, _READ | _WRITE, dynamic_at, len(dynamic), _PAGE),
        _segment(_DYNAMIC, _READ | _WRITE, dynamic_at, len(dynamic), 8),
        _segment(_STACK, _READ | _WRITE, 0, 0, 16),
    )
    start = b"\x7fELF\x02\x01\x01" + bytes(9)
    start += struct.pack(
        "<HHIQQQIHHHHHH", 3, number, 1, 0, 64, 0, 0, 64, 56, len(segments), 64, 0, 0
    )
    image = bytearray(dynamic_at + len(dynamic))
    for at, part in (
        (0, start + b"".join(segments)),
        (text, code),
        (symbols_at, symbols),
        (hash_at, table),
        (words_at, words),
        (dynamic_at, dynamic),
    ):
        image[at : at + len(part)] = part
    return bytes(image)


def _segment(kind: int, flags: int, offset: int, size: int, align: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, flags, offset, offset, offset, size, size, align)


def _strings(names: list[str]) -> tuple[bytes, dict[str, int]]:
    words, starts = b"\0", {}
    for name in names:
        starts[name] = len(words)
        words += name.encode() + b"\0"
    return words, starts


def _hash(names: list[str]) -> bytes:
    """Return the hash table of the System V ABI, chapter 5, over symbols 1 to n."""
    buckets, chain = [0] * max(len(names), 1), [0] * (len(names) + 1)
    for index, name in enumerate(names, start=1):
        bucket = _hashed(name) % len(buckets)
        chain[index], buckets[bucket] = buckets[bucket], index
    return struct.pack(
        f"<{2 + len(buckets) + len(chain)}I", len(buckets), len(chain), *buckets, *chain
    )


def _hashed(name: str) -> int:
    value = 0
    for byte in name.encode():
        value = (value << 4) + byte
        value = (value ^ (value & 0xF0000000) >> 24) & 0x0FFFFFFF
    return value


def _up(value: int, align: int) -> int:
    return -(-value // align) * align
