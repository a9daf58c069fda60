"""The zip side of a wheel: its directory, and its members inflated as they come, nothing trusted."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Generator
from typing import Final

from matrix.errors import MatrixError
from matrix.evidence.reader import Reader
from matrix.model import Model

_LOCAL_HEADER: Final = struct.Struct("<4s5H3I2H")
"""APPNOTE.TXT 4.3.7: signature, version, flags, method, time, date, crc, sizes, lengths."""

_ENCRYPTED: Final = 0x1
_SIZES_FOLLOW: Final = 0x8  # the local header's sizes are zero: a data descriptor holds them
_SIZE_IN_ZIP64: Final = 0xFFFFFFFF  # the true size stands in an extra field
_STEP: Final = 1024 * 1024
"""Bytes inflated at a time: what bounds memory, whatever the member."""

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories of what a terminal would obey, or not show (control, format, line separators)."""

_LONGEST_NAME: Final = 255
"""Bytes of one part of a path on Linux (NAME_MAX)."""

_LARGEST_RATIO: Final = 1032
"""Deflate cannot do better (zlib's technical notes, "Maximum Compression Factor")."""


class Member(Model, frozen=True, kw_only=True):
    """One file of a wheel; sizes in bytes. `compressed` equals `size` where it is stored."""

    name: str
    size: int
    compressed: int


def objection(name: str) -> str:
    """Say what is wrong with a member's name, "" where nothing is.

    A name must stay inside whatever folder it is written to, on any system.
    """
    if not name or "\\" in name or "\0" in name or name.startswith("/"):
        return "is absolute or holds a backslash"
    if any(unicodedata.category(character) in _HIDDEN for character in name):
        return "holds a control character"
    if ":" in name.split("/", 1)[0]:
        return "starts with a drive letter"
    if any(part in {"", ".", ".."} for part in name.removesuffix("/").split("/")):
        return "leaves the wheel"
    if any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in name.split("/")):
        return "is longer than a file's name can be"
    return ""


class Archive:
    """A zip file behind a `Reader`. Raises the reader's `failure` for all that is wrong in it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.filename = reader.name
        self.failure: type[MatrixError] = reader.failure
        try:
            with zipfile.ZipFile(reader) as file:
                infos = file.infolist()
                end = file.start_dir
        except MatrixError:
            raise
        except Exception as error:  # zipfile raises many kinds on hostile input
            raise self.failure(f"{reader.name}: is no whole zip file ({error})") from error
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self._ends: dict[str, int] = {}
        for info in sorted(infos, key=lambda each: each.header_offset, reverse=True):
            self._admit(info, end)
            end = info.header_offset

    def _admit(self, info: zipfile.ZipInfo, end: int) -> None:
        """Take a member in, or refuse the wheel; its bytes lie before `end`."""
        name = info.orig_filename
        if wrong := objection(name):
            self._reader.fail(f"refused: the name {name[:120]!r} {wrong}")
        if name in self._infos:
            self._reader.fail(f"refused: {name!r} is in it twice")
        if not 0 <= info.header_offset < end or info.header_offset + info.compress_size > end:
            self._reader.fail(f"refused: {name!r} lies over its neighbour or outside the file")
        self._infos[name] = info
        self._ends[name] = end

    @property
    def bytes_total(self) -> int:
        """Size of the wheel."""
        return self._reader.size

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came over the network so far."""
        return self._reader.bytes_fetched

    def members(self) -> dict[str, Member]:
        """Return the files in the wheel by name, in the order in which they lie there."""
        return {
            name: Member(name=name, size=info.file_size, compressed=info.compress_size)
            for name, info in reversed(self._infos.items())
            if not name.endswith("/")
        }

    def chunks(self, name: str) -> Generator[bytes]:
        """Yield a member inflated; its size and CRC-32 are checked at its end.

        Closed early, it has fetched little more than the compressed bytes of what it yielded.
        """
        info = self._infos[name]
        if info.flag_bits & _ENCRYPTED:
            self._reader.fail(f"{name} is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            self._reader.fail(f"{name} is compressed by method {info.compress_type}, unknown here")
        if info.file_size > _LARGEST_RATIO * (info.compress_size + 1):
            self._reader.fail(f"{name} claims to be {info.file_size} bytes: no deflate does that")
        size = crc = 0
        for chunk in self._inflated(info):
            size += len(chunk)
            if size > info.file_size:
                self._reader.fail(
                    f"{name} inflates to more than the {info.file_size} bytes it states"
                )
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if size != info.file_size or crc != info.CRC:
            self._reader.fail(f"{name} is damaged (size or CRC differs)")

    def _inflated(self, info: zipfile.ZipInfo) -> Generator[bytes]:
        if info.compress_type == zipfile.ZIP_STORED:
            yield from self._raw(info)
            return
        inflate = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            for raw in self._raw(info):
                rest = raw
                while rest and not inflate.eof:
                    if chunk := inflate.decompress(rest, _STEP):
                        yield chunk
                    rest = inflate.unconsumed_tail
            # What zlib holds back when the input ended exactly at a step.
            while not inflate.eof and (chunk := inflate.decompress(b"", _STEP)):
                yield chunk
        except zlib.error as error:
            self._reader.fail(f"{info.filename} cannot be inflated ({error})")
        if not inflate.eof or inflate.unused_data:
            self._reader.fail(
                f"{info.filename} is damaged (its compressed stream has another length)"
            )

    def _raw(self, info: zipfile.ZipInfo) -> Generator[bytes]:
        """Yield the compressed bytes: local header and data come in one request."""
        stream = self._reader.stream(info.header_offset, self._ends[info.orig_filename])
        try:
            buffer = b""
            header = 0
            while not header or len(buffer) < header:
                chunk = next(stream, b"")
                if not chunk:
                    self._reader.fail(f"{info.filename}: its local header is cut off")
                buffer += chunk
                if not header and len(buffer) >= _LOCAL_HEADER.size:
                    header = self._check_local(info, buffer)
            if header + info.compress_size > self._ends[info.orig_filename] - info.header_offset:
                self._reader.fail(f"{info.filename} lies over its neighbour")
            buffer = buffer[header:]
            left = info.compress_size
            while left:
                kept = buffer[:left]
                left -= len(kept)
                if kept:
                    yield kept
                if left and not (buffer := next(stream, b"")):
                    self._reader.fail(f"{info.filename} is cut off")
        finally:
            stream.close()

    def _check_local(self, info: zipfile.ZipInfo, buffer: bytes) -> int:
        """Return the length of the local header; it must agree with the directory."""
        signature, _, flags, method, _, _, crc, packed, size, name_length, extra_length = (
            _LOCAL_HEADER.unpack_from(buffer)
        )
        agree = (
            signature == b"PK\x03\x04"
            and method == info.compress_type
            and not (flags ^ info.flag_bits) & _ENCRYPTED
            and name_length == len(info.orig_filename.encode("utf-8", "surrogateescape"))
        )
        if agree and not flags & _SIZES_FOLLOW and _SIZE_IN_ZIP64 not in (packed, size):
            agree = (crc, packed, size) == (info.CRC, info.compress_size, info.file_size)
        if not agree:
            self._reader.fail(f"{info.filename}: local header and directory disagree")
        return int(_LOCAL_HEADER.size + name_length + extra_length)

    def close(self) -> None:
        """Let go of the file."""
        self._reader.close()
