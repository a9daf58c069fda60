"""Looking into shared objects: which names stand before the machine code, and whether there is any."""

from __future__ import annotations

import re
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

FATBIN_MAGIC: Final = b"\x50\xed\x55\xba"
"""0xBA55ED50 little-endian: `FATBINC_MAGIC`'s payload, `fatBinaryHeader` in CUDA's
fatbinary_section.h. Observed in all 13 objects of vLLM 0.33.0 that hold any: 8-byte aligned, then
uint16 version 1, uint16 header size 16, uint64 payload size."""

_FATBIN_HEADER: Final = struct.Struct("<4sHHQ")
_HEADER_SIZES: Final = range(16, 65)
_VERSIONS: Final = range(1, 5)

_OVERLAP: Final = 4096
"""Bytes of the last chunk looked at again: longer than any mangled name worth finding a word in."""

_EDGE: Final = 64  # bytes at a window's edges where a string may be cut; above any name in _DTYPES

_DTYPES: Final = (b"Float4_e2m1fn_x2", b"torch_dtype_float4_e2m1fn_x2")
"""torch's names of its FP4 dtype (c10/core/ScalarType.h, torch/csrc/stable): every extension that
includes its headers holds them as strings, vllm-flash-attn too, which has no FP4 kernel."""

_PROOF: Final = (
    4  # names in a row that gcc aligned to 8, as it does string constants of that length
)

_ELF64_LITTLE: Final = b"\x7fELF\x02\x01"
_HEADER_SIZE: Final = 64
_HEADS: Final = 4096  # bytes that hold the ELF header and its program headers
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")  # type, flags, offset, address, …, size, …
_PT_LOAD: Final = 1
_PF_EXECUTABLE: Final = 1
_SYMBOL: Final = struct.Struct("<IBBHQQ")  # name, info, other, section, value, size

_KERNEL_NAME: Final = re.compile(rb"\0_Z[NTLK0-9]")
"""The start of a mangled C++ name as the string that `__cudaRegisterFunction` is given."""


class FatbinPeek:
    """Decides from the start of a shared object whether the rest is worth fetching.

    Fed with the object's bytes in order (b"" once at its end), it answers True: one of `words` stands
    before the machine code; False: it does not, or the object ended and holds none; None: go on.

    Kernel names stand as strings in `.rodata`, stripped or not, since the CUDA runtime registers
    kernels by name; GNU ld puts `.rodata` before `.nv_fatbin`. Where that order cannot be seen (no
    kernel name in the fat binary's own segment before it) the answer is True: never a false no.
    """

    def __init__(self, words: re.Pattern[bytes]) -> None:
        self._words = words
        self._kept = b""
        self._kept_from = 0
        self._head = b""
        self._names: list[int] = []  # offsets of the last kernel names, at most _PROOF
        self.answer: bool | None = None
        self.fatbin_at: int | None = None
        """Offset of the first fat binary, once it was reached."""

    def feed(self, chunk: bytes) -> bool | None:
        """Take the next bytes; return the answer so far. Once given, an answer stays."""
        if self.answer is not None:
            return self.answer
        if not chunk:
            self.answer = self._named(self._kept, len(self._kept))
            return self.answer
        if len(self._head) < _HEADS:
            self._head += chunk[:_HEADS]
        window = self._kept + chunk
        found = self._fatbin(window)
        before = window if found is None else window[:found]
        for match in _KERNEL_NAME.finditer(before):
            at = self._kept_from + match.start() + 1
            if not self._names or at > self._names[-1]:
                self._names = [*self._names[1 - _PROOF :], at]
        if self._named(before, len(before) - (_EDGE if found is None else 0)):
            self.answer = True
        elif found is not None:
            self.fatbin_at = self._kept_from + found
            self.answer = not self._names_precede(self.fatbin_at)
        gone = max(0, len(window) - _OVERLAP)
        self._kept_from += gone
        self._kept = window[gone:]
        return self.answer

    __call__ = feed

    def _named(self, window: bytes, end: int) -> bool:
        """Tell whether a word ends in `window` before `end`, in a string that is no name of a dtype."""
        for match in self._words.finditer(window):
            if match.end() > end:
                break  # its string may go on: the next window shows it again
            if self._kept_from and match.start() < _EDGE:
                continue  # judged in the window before, where its string began
            first = window.rfind(b"\0", 0, match.start()) + 1
            last = window.find(b"\0", match.end())
            if window[first : last if last >= 0 else len(window)] not in _DTYPES:
                return True
        return False

    def _fatbin(self, window: bytes) -> int | None:
        """Return where in `window` the first whole fat binary header stands."""
        at = window.find(FATBIN_MAGIC)
        while at >= 0 and at + _FATBIN_HEADER.size <= len(window):
            _, version, header, size = _FATBIN_HEADER.unpack_from(window, at)
            aligned = (self._kept_from + at) % 8 == 0
            if aligned and version in _VERSIONS and header in _HEADER_SIZES and 0 < size < 1 << 40:
                return at
            at = window.find(FATBIN_MAGIC, at + 1)
        return None

    def _names_precede(self, fatbin: int) -> bool:
        """Tell whether kernel names were seen in the segment that holds the fat binary."""
        if not self._head.startswith(_ELF64_LITTLE) or len(self._head) < _HEADER_SIZE:
            return False
        table, _, _, _, entry, count = struct.unpack_from("<QQIHHH", self._head, 32)
        for index in range(count if entry == _PROGRAM_HEADER.size else 0):
            at = table + index * entry
            if at + entry > len(self._head):
                return False
            kind, flags, offset, _, _, size, _, _ = _PROGRAM_HEADER.unpack_from(self._head, at)
            if kind == _PT_LOAD and offset <= fatbin < offset + size:
                if offset and not flags & _PF_EXECUTABLE:
                    return bool(self._names) and self._names[-1] >= offset
                # One segment for all (vLLM 0.19.1, aarch64) holds .dynstr too, whose names prove
                # nothing. Those of .rodata are aligned, and stand close to the fat binary.
                return (
                    len(self._names) == _PROOF
                    and not any(name % 8 for name in self._names)
                    and fatbin - self._names[-1] < _OVERLAP
                )
        return False


def cuda_runtime(path: Path) -> str:
    """Return the CUDA runtime that a shared object must load, "libcudart.so.13"; "" where it names none.

    A damaged object names none either: cuobjdump tells what is wrong with it.
    """
    with path.open("rb") as file:
        try:
            dynamic = ELFFile(file).get_section_by_name(".dynamic")
            if not isinstance(dynamic, DynamicSection):
                return ""
            needed = [str(getattr(tag, "needed", "")) for tag in dynamic.iter_tags("DT_NEEDED")]
        except Exception:  # noqa: BLE001 - a damaged object makes the parser raise anything
            return ""
    return next((name for name in needed if name.startswith("libcudart.so")), "")[:40]


def symbol_indices(path: Path, names: Collection[str]) -> list[int]:
    """Return the places in an ELF file's symbol table of the symbols called so; none where it is damaged."""
    wanted = {name.encode() for name in names}
    with path.open("rb") as file:
        try:
            table = ELFFile(file).get_section_by_name(".symtab")
            if not isinstance(table, SymbolTableSection):
                return []
            strings, symbols = bytes(table.stringtable.data()), bytes(table.data())
        except Exception:  # noqa: BLE001 - a damaged file makes the parser raise anything
            return []
    usable = symbols[: len(symbols) - len(symbols) % _SYMBOL.size]
    return [
        index
        for index, (name, *_) in enumerate(_SYMBOL.iter_unpack(usable))
        if strings[name : strings.find(b"\0", name)] in wanted
    ]
