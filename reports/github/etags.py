"""Answers of reads with their ETags: what did not change is not sent again, and costs no rate limit."""

from __future__ import annotations

import contextlib
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Final

import msgspec

from matrix.errors import OutsideError
from matrix.model import Model
from matrix.wholefile import write
from reports.github.request import Answer

_MOST: Final = 64
"""Answers that are kept, the newest: a run reads five."""


class Kept(Model, frozen=True, kw_only=True):
    """An answer as it is kept."""

    etag: str
    status: int
    content: str

    @property
    def answer(self) -> Answer:
        """The answer that was kept."""
        return Answer(status=self.status, content=b64decode(self.content))


class Etags:
    """One file of answers by URL; without a file they are kept while the program runs."""

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._kept: dict[str, Kept] = {}
        self._changed = False
        if file is not None:
            with contextlib.suppress(OSError, ValueError):  # a damaged cache is an empty one
                self._kept = msgspec.json.decode(file.read_bytes(), type=dict[str, Kept])

    def get(self, url: str) -> Kept | None:
        """Give what is kept of a URL."""
        return self._kept.get(url)

    def put(self, url: str, etag: str, answer: Answer) -> None:
        """Keep an answer."""
        content = b64encode(answer.content).decode()
        self._kept.pop(url, None)
        self._kept[url] = Kept(etag=etag, status=answer.status, content=content)
        self._changed = True

    def save(self) -> None:
        """Write the file, for its owner alone: what was read may be private. A disk that refuses is no matter."""
        if self._file is None or not self._changed:
            return
        newest = dict(list(self._kept.items())[-_MOST:])
        with contextlib.suppress(OutsideError, OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write(self._file, msgspec.json.encode(newest), mode=0o600)
