"""A file as a stream of short lines, whatever is in it: bounded memory, and its SHA-256 at the end."""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Iterator
from typing import Final, Protocol

CHUNK: Final = 1 << 20
LONGEST: Final = 1 << 16
"""Bytes of a line that are looked at; what stands behind them is passed over."""

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.?)")


class Readable(Protocol):
    """Bytes to read: an open file, standard input."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


class Stream:
    """The lines of a file, each with its newline; a last line without one has none.

    A carriage return ends a line, too (progress bars); NUL is dropped; UTF-16 with its mark (what a
    shell on Windows redirects) becomes UTF-8.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._decoder: codecs.IncrementalDecoder | None = None
        first = self._raw()
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            self._decoder = codecs.getincrementaldecoder("utf-16")("replace")
        elif first.startswith(codecs.BOM_UTF8):
            first = first[len(codecs.BOM_UTF8) :]
        self._held: list[bytes] = [self._decoded(first)] if first else []
        self._over = not first

    @property
    def head(self) -> bytes:
        """The beginning of the file, a chunk at most."""
        return self._held[0] if self._held else b""

    @property
    def sha256(self) -> str:
        """The digest of what was read so far: of the file, once the lines have come to their end."""
        return self._digest.hexdigest()

    def whole(self, most: int) -> bytes | None:
        """Read everything where that is `most` bytes at most, else None; the lines are still there."""
        while sum(map(len, self._held)) <= most:
            chunk = self._next()
            if not chunk:
                return b"".join(self._held)
            self._held.append(chunk)
        return None

    def __iter__(self) -> Iterator[bytes]:
        rest, skipping = b"", False
        for chunk in self._chunks():
            *lines, last = (rest + _bare(chunk)).split(b"\n")
            for at, line in enumerate(lines):
                if at == 0 and skipping:
                    skipping = False
                elif line:
                    yield line[:LONGEST] + b"\n"
            rest = last
            if skipping:
                rest = b""
            elif len(rest) > LONGEST:
                yield rest[:LONGEST] + b"\n"
                rest, skipping = b"", True
        if rest:
            yield rest

    def _chunks(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        yield from held
        while chunk := self._next():
            yield chunk

    def _next(self) -> bytes:
        """Return the next chunk that is not empty; none at the end."""
        while not self._over:
            raw = self._raw()
            self._over = not raw
            if chunk := self._decoded(raw):
                return chunk
        return b""

    def _raw(self) -> bytes:
        raw = self._file.read(CHUNK)
        self._digest.update(raw)
        return raw

    def _decoded(self, raw: bytes) -> bytes:
        if self._decoder is None:
            return raw
        return self._decoder.decode(raw, final=not raw).encode("utf-8", "replace")


def words(line: bytes) -> str:
    """Decode a line without its newline, terminal sequences and surrounding blanks."""
    return _ESCAPE.sub("", line.decode("utf-8", "replace")).strip()


def _bare(chunk: bytes) -> bytes:
    return chunk.replace(b"\r", b"\n").replace(b"\0", b"")
