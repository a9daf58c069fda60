"""A wheel behind a URL, read by range: a few kilobytes tell what is in 400 MB."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import requests

from matrix.errors import DeliveryError, OutsideError
from matrix.evidence.reader import CHUNK, FileReader, Reader
from matrix.evidence.transport import TROUBLE, Session, explain, printable, redact

TAIL: Final = 64 * 1024
"""Bytes fetched first from the end of a wheel: the zip directory's end and often all of it."""

FIRST_PIECE: Final = 512 * 1024
LAST_PIECE: Final = 64 * 1024 * 1024
"""Bytes asked for at a time: each piece is twice the one before."""

ATTEMPTS: Final = 5
"""Times in a row that a cut transfer is taken up again without `PROGRESS` bytes in between."""

PROGRESS: Final = 1024 * 1024
"""Bytes after which a transfer that was cut counts as moving, so that its attempts start anew."""

_CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class RangeReader(Reader):
    """A file behind a URL, read by ranged GETs; downloaded once where the server knows no ranges.

    Whether it does is decided by its answer to a ranged GET: HEAD and `accept-ranges` disagree with
    that on some indexes. Raises DeliveryError.
    """

    failure = DeliveryError

    def __init__(self, session: Session, url: str, *, sha256: str = "") -> None:
        super().__init__()
        self._session = session
        self._url = url
        self._sha256 = sha256
        self.name = redact(url)
        self.size = -1
        self._validator: str | None = None
        self._whole: FileReader | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._fetched = 0
        self._lock = threading.Lock()
        self._tail = b""
        for wanted in (f"bytes=-{TAIL}", "bytes=0-0"):  # some servers refuse a suffix range
            if self._probe(wanted):
                break
        else:
            try:
                self._download()
            except BaseException:
                self.close()
                raise

    @property
    def bytes_fetched(self) -> int:
        """Bytes of bodies that came over the network so far, repeats included."""
        return self._fetched

    def _count(self, chunk: bytes) -> bytes:
        with self._lock:
            self._fetched += len(chunk)
        return chunk

    def _probe(self, wanted: str) -> bool:
        """Ask for a range and keep it as the file's tail. False where the server will not have it."""
        for attempt in range(ATTEMPTS):
            with self._ask(wanted) as answer:
                if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
                    if answer.status_code in (401, 403, 404, 410):
                        self.fail(
                            f"the server answers {answer.status_code} {printable(answer.reason)}"
                        )
                    return False
                start, end, self.size = self._content_range(answer)
                self._validator = answer.headers.get("ETag")
                try:
                    self._tail = b"".join(self._body(answer))[: end - start]
                except TROUBLE as error:
                    self._wait(attempt, error)
                    continue
                if end != self.size or len(self._tail) != end - start:
                    self._tail = b""  # an honest answer to 0-0, or a short one: read it when needed
                return True
        return False

    def _ask(self, wanted: str) -> contextlib.AbstractContextManager[requests.Response]:
        try:
            # identity: a compressed range could not be taken up again at an offset.
            answer = self._session.get(self._url, Range=wanted, Accept_Encoding="identity")
        except TROUBLE as error:
            raise DeliveryError(f"{self.name}: {explain(error)}") from error
        return contextlib.closing(answer)

    def _content_range(self, answer: requests.Response) -> tuple[int, int, int]:
        """Return (start, end, total) of a 206, end excluded."""
        found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if found is None or answer.headers.get("Content-Encoding", "identity") != "identity":
            self.fail("the server answers a range that cannot be read")
        first, last, total = (int(group) for group in found.groups())
        if not first <= last < total:
            self.fail("the server answers a range that cannot be")
        return first, last + 1, total

    def _body(self, answer: requests.Response) -> Iterator[bytes]:
        for chunk in answer.raw.stream(CHUNK, decode_content=False):
            yield self._count(chunk)

    def _wait(self, attempt: int, error: BaseException) -> None:
        if attempt + 1 >= ATTEMPTS:
            raise DeliveryError(
                f"{self.name}: the transfer stopped {ATTEMPTS} times: {explain(error)}"
            ) from error
        time.sleep(self._session.connection.backoff * 2**attempt)

    def stream(self, start: int, end: int) -> Generator[bytes]:
        """Yield the bytes of a range; a cut connection is taken up where it stopped.

        It is asked for in pieces that grow: whoever stops early has fetched little more than it looked
        at, and the connection is kept, since a new one can take longer than the bytes.
        """
        if self._whole is not None:
            yield from self._whole.stream(start, end)
            return
        tail_start = self.size - len(self._tail)
        cut, settled, piece = 0, start, FIRST_PIECE
        while start < min(end, tail_start):
            problem: BaseException = EOFError("the answer is short")
            stop = min(start + piece, end, tail_start)
            with self._ask(f"bytes={start}-{stop - 1}") as answer:
                self._check(answer, start)
                try:
                    for chunk in self._body(answer):
                        kept = chunk[: stop - start]
                        start += len(kept)
                        yield kept
                except TROUBLE as error:
                    problem = error
                except GeneratorExit:
                    self._drain(answer, stop - start)
                    raise
            if start - settled >= PROGRESS:
                cut, settled = 0, start
            if start < stop:
                self._wait(cut, problem)
                cut += 1
            piece = min(2 * piece, LAST_PIECE)
        if start < end:
            yield self._tail[start - tail_start : end - tail_start]

    def _drain(self, answer: requests.Response, left: int) -> None:
        """Read what is left of an answer where that is little, so that its connection can be used again."""
        if left <= FIRST_PIECE:
            with contextlib.suppress(*TROUBLE):
                for _ in self._body(answer):
                    pass

    def _check(self, answer: requests.Response, start: int) -> None:
        """Refuse an answer to a ranged GET that is not the piece asked for of the file begun."""
        if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
            self.fail(
                f"the server answers {answer.status_code} {printable(answer.reason)} to a range it knew"
            )
        begins, _, total = self._content_range(answer)
        tag = answer.headers.get("ETag")
        if total != self.size or (tag and self._validator and tag != self._validator):
            self.fail("the file changed while it was read; try again")
        if begins != start:
            self.fail(f"the server answers from byte {begins}, asked from {start}")

    def _download(self) -> None:
        """Fetch the whole file, streamed, into a temporary folder that goes with this reader."""
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")
        except OSError as error:
            raise OutsideError(f"no temporary folder: {error.strerror}") from error
        path = Path(self._folder.name, "wheel")
        for attempt in range(ATTEMPTS):
            digest = hashlib.sha256()
            try:
                with contextlib.closing(
                    self._session.get(self._url, Accept_Encoding="identity")
                ) as answer:
                    if answer.status_code != HTTPStatus.OK:
                        self.fail(
                            f"the server answers {answer.status_code} {printable(answer.reason)}"
                        )
                    bodies = self._body(answer)
                    _write(bodies, path, digest)
            except TROUBLE as error:
                self._wait(attempt, error)
                continue
            break
        if self._sha256 and digest.hexdigest() != self._sha256:
            self.fail("is not the file that the index promised (sha256 differs)")
        self._whole = FileReader(path, failure=DeliveryError)
        self._whole.name = self.name
        self.size = self._whole.size

    def close(self) -> None:
        """Remove what was downloaded, if anything."""
        if self._folder is not None:
            self._folder.cleanup()
        super().close()


def _write(bodies: Iterator[bytes], path: Path, digest: Any) -> None:
    """Write `bodies` to `path`. Raises OutsideError where the disk fails, not the network."""
    try:
        # Unbuffered: a buffer would try once more when it is closed, and then it would be the network's fault.
        file = path.open("wb", buffering=0)
    except OSError as error:
        raise _refused(path, error) from error
    with file:
        for chunk in bodies:
            digest.update(chunk)
            rest = memoryview(chunk)
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError as error:
                raise _refused(path, error) from error


def _refused(path: Path, error: OSError) -> OutsideError:
    return OutsideError(f"{path.parent}: cannot write: {error.strerror}")
