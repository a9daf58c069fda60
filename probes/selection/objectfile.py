"""Shared objects: which CUDA driver functions the installed ones want. Reads ELF, 64 bit, little-endian."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

DRIVER = "libcuda.so.1"
"""The SONAME under which CUDA's driver library is wanted."""

_FUNCTION = re.compile(rb"cu[A-Z]\w*")
"""A driver function, as CUDA names them (`cuInit`): `cublas…` and `cuda…` are other libraries'."""

_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _SYMTAB, _STRSZ, _SYMENT = 1, 5, 6, 10, 11


class _Segment(NamedTuple):
    kind: int
    flags: int
    offset: int
    address: int
    physical: int
    stored: int
    size: int
    align: int


def wanted(folders: list[str]) -> set[str]:
    """Return the driver functions that the shared objects under `folders` leave undefined.

    Only of objects that need `libcuda.so.1`. What is no such object, or cannot be read, is passed over.
    """
    found: set[str] = set()
    for folder in folders:
        for root, _, names in os.walk(folder):
            for name in names:
                if ".so" in name:
                    found |= functions(Path(root, name))
    return found


def functions(path: Path) -> set[str]:
    """Return the driver functions that one shared object leaves undefined."""
    try:
        with path.open("rb") as file:
            return set(_undefined(file))
    except (OSError, struct.error, ValueError, KeyError, OverflowError):
        return set()


def _undefined(file: BinaryIO) -> Iterator[str]:
    head = file.read(64)
    if head[:6] != b"\x7fELF\x02\x01":
        return
    (offset,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    file.seek(offset)
    table = file.read(size * count)
    segments = [
        _Segment(*struct.unpack_from("<IIQQQQQQ", table, index * size)) for index in range(count)
    ]
    dynamic = next((s for s in segments if s.kind == _DYNAMIC), None)
    if dynamic is None:
        return
    file.seek(dynamic.offset)
    entries = list(struct.iter_unpack("<qQ", file.read(dynamic.stored - dynamic.stored % 16)))
    tags = dict(entries)
    file.seek(_place(segments, tags[_STRTAB]))
    words = file.read(tags[_STRSZ])
    if DRIVER.encode() not in {_word(words, value) for tag, value in entries if tag == _NEEDED}:
        return
    # Linkers lay the string table behind the symbols; where one does not, the names decide.
    file.seek(_place(segments, tags[_SYMTAB]))
    room = tags[_STRTAB] - tags[_SYMTAB]
    each = tags.get(_SYMENT, 24)
    symbols = file.read(max(0, room))
    if not symbols:
        yield from (name.decode() for name in _FUNCTION.findall(words))
        return
    for start in range(0, len(symbols) - each + 1, each):
        name, _, _, section = struct.unpack_from("<IBBH", symbols, start)
        if section == 0 and name and name < len(words):
            text = _word(words, name)
            if _FUNCTION.fullmatch(text):
                yield text.decode()


def _place(segments: list[_Segment], address: int) -> int:
    """Return where in the file a loaded address lies. Raises ValueError where no segment holds it."""
    for segment in segments:
        if segment.kind == _LOAD and 0 <= address - segment.address < segment.stored:
            return address - segment.address + segment.offset
    raise ValueError("an address that no segment holds")


def _word(words: bytes, start: int) -> bytes:
    return words[start : words.index(b"\0", start)]
