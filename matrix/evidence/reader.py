"""A seekable, read-only file over something whose bytes can be had by range: a disk or a server."""

from __future__ import annotations

import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import Final, NoReturn

from matrix.errors import BrokenWheelError, MatrixError

CHUNK: Final = 256 * 1024
"""Bytes handed over at a time: large enough for few calls, small beside a member of 300 MB."""

LARGEST_READ: Final = 128 * 1024 * 1024
"""Bytes that one `read` may ask for. A zip directory states its own size; a hostile one states any.
The directory of vLLM 0.33.0, one of the longest that there are, takes 0.6 MB."""


class Reader(io.RawIOBase):
    """Bytes by range: as an iterator (`stream`) and as the file object that `zipfile` wants.

    `failure` is the error that damage in these bytes means: the user's file, or a delivery.
    """

    failure: type[MatrixError] = BrokenWheelError
    name: str
    size: int

    def __init__(self) -> None:
        super().__init__()
        self._position = 0

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came over the network so far."""
        return 0

    def stream(self, start: int, end: int) -> Generator[bytes]:
        """Yield the bytes from `start` up to, not including, `end`. May be closed early."""
        raise NotImplementedError

    def read_at(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` up to, not including, `end`."""
        return b"".join(self.stream(start, end))

    def fail(self, problem: str) -> NoReturn:
        """Raise this reader's failure, naming the file or URL."""
        raise self.failure(f"{self.name}: {problem}")

    def readable(self) -> bool:
        """Answer yes: that is all it can do."""
        return True

    def seekable(self) -> bool:
        """Answer yes."""
        return True

    def tell(self) -> int:
        """Return the offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to `offset`, counted as `io` counts. Raises ValueError before the start."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise ValueError("seek before the start")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """Return up to `size` bytes. Raises `failure` above `LARGEST_READ`."""
        rest = max(0, self.size - self._position)
        size = rest if size is None or size < 0 else min(size, rest)
        if size > LARGEST_READ:
            self.fail(f"asks for {size} bytes of directory: no wheel has such")
        content = self.read_at(self._position, self._position + size) if size else b""
        self._position += len(content)
        return content


class FileReader(Reader):
    """A file on this machine. Raises BrokenWheelError where it cannot be read."""

    def __init__(self, path: Path, *, failure: type[MatrixError] = BrokenWheelError) -> None:
        super().__init__()
        self.failure = failure
        self.name = str(path)
        self._path = path
        try:
            if not path.is_file():
                raise failure(f"{path}: no such file")
            self.size = path.stat().st_size
        except OSError as error:
            raise failure(f"{path}: {error.strerror}") from error

    def stream(self, start: int, end: int) -> Generator[bytes]:
        """Yield the bytes of a range; the file is open only meanwhile, so threads share nothing."""
        try:
            with self._path.open("rb") as file:
                file.seek(start)
                while start < end:
                    chunk = file.read(min(CHUNK, end - start))
                    if not chunk:
                        self.fail("ends early; it changed while it was read")
                    start += len(chunk)
                    yield chunk
        except OSError as error:
            raise self.failure(f"{self._path}: {error.strerror}") from error
