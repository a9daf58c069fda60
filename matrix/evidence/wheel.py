"""One published wheel, wherever it lies: on a server, on disk, or installed; every byte against RECORD."""

from __future__ import annotations

import base64
import contextlib
import csv
import email.message
import email.parser
import email.policy
import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn, Protocol, Self
from urllib.parse import urlsplit
from urllib.request import url2pathname

from matrix.errors import MatrixError, NotFoundError, OutsideError
from matrix.evidence.archive import Archive, Member
from matrix.evidence.installed import Installed
from matrix.evidence.reader import FileReader
from matrix.evidence.remote import RangeReader
from matrix.evidence.transport import Session
from matrix.evidence.wheelfile import choose, in_folder

READ_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of a member that `read` holds in memory unless told. RECORD of vLLM 0.33.0 has 0.7 MB."""

_HASHES: Final = ("sha256", "sha384", "sha512")
"""What the wheel specification allows in RECORD: SHA-256 or better."""

_UNRECORDED: Final = ("RECORD", "RECORD.jws", "RECORD.p7s")
"""Files of `.dist-info` that RECORD cannot vouch for (binary distribution format, "RECORD")."""


class _Members(Protocol):
    """What a wheel needs of the place where it lies."""

    filename: str
    failure: type[MatrixError]

    @property
    def bytes_total(self) -> int: ...
    @property
    def bytes_fetched(self) -> int: ...
    def members(self) -> dict[str, Member]: ...
    def chunks(self, name: str) -> Generator[bytes]: ...
    def close(self) -> None: ...


class Wheel:
    """A wheel's files by name. A context manager; threads may read different members at once.

    Damage raises BrokenWheelError for a file of the user's and DeliveryError for one over the network.
    A name that is not in the wheel raises NotFoundError.
    """

    def __init__(self, source: _Members) -> None:
        self._source = source
        self._members = source.members()
        self.filename = source.filename.rpartition("/")[2]
        records = [
            name
            for name in self._members
            if name.count("/") == 1 and name.endswith(".dist-info/RECORD")
        ]
        if len(records) != 1:
            raise source.failure(f"{source.filename}: has {len(records)} RECORD files, not one")
        self.dist_info = records[0].removesuffix("/RECORD")
        self._record = self._read_record(records[0])

    @classmethod
    def open_url(cls, session: Session, url: str, *, sha256: str = "") -> Self:
        """Open a wheel by URL (http, https or file). `sha256` is checked where it is fetched whole.

        Read by range, what stands between the reader and a changed file is TLS, the length and ETag
        of each answer, CRC-32, and RECORD: its own hash cannot be known without all the bytes.
        """
        if urlsplit(url).scheme == "file":
            return cls.open_file(Path(url2pathname(urlsplit(url).path)))
        return cls._over(RangeReader(session, url, sha256=sha256))

    @classmethod
    def open_file(cls, path: Path) -> Self:
        """Open a wheel on this machine."""
        return cls._over(FileReader(path))

    @classmethod
    def open_installed(cls, site_packages: Path, distribution: str) -> Self:
        """Open what pip installed of a distribution. Raises NotFoundError where it did not."""
        return cls(Installed(site_packages, distribution))

    @classmethod
    def _over(cls, reader: FileReader | RangeReader) -> Self:
        try:
            return cls(Archive(reader))
        except BaseException:
            reader.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, and of what was downloaded."""
        self._source.close()

    @property
    def bytes_total(self) -> int:
        """Size of the wheel (installed: of its files)."""
        return self._source.bytes_total

    @property
    def bytes_fetched(self) -> int:
        """Bytes that came over the network so far."""
        return self._source.bytes_fetched

    def names(self) -> tuple[str, ...]:
        """Return the names of the files, in the order in which they lie there."""
        return tuple(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def info(self, name: str) -> Member:
        """Return a file's size and compressed size. Raises NotFoundError."""
        try:
            return self._members[name]
        except KeyError:
            raise NotFoundError(f"{self.filename} holds no {name}") from None

    def sha256(self, name: str) -> str:
        """Return the SHA-256 that RECORD states for a file, in hex; "" where it states another hash."""
        kind, expected = self._expected(self.info(name).name)
        return expected.hex() if kind == "sha256" else ""

    def metadata(self) -> email.message.Message:
        """Return METADATA: `Requires-Dist` and the rest, as `message.get_all` gives them."""
        name = f"{self.dist_info}/METADATA"
        if name not in self:
            self._fail("holds no METADATA")
        text = self.read(name).decode("utf-8", "replace")
        return email.parser.Parser(policy=email.policy.compat32).parsestr(text)

    def read(self, name: str, *, limit: int = READ_LIMIT) -> bytes:
        """Return a file's bytes, verified against RECORD. Raises the failure above `limit` bytes."""
        if self.info(name).size > limit:
            self._fail(f"{name} has {self.info(name).size} bytes, more than the {limit} allowed")
        return b"".join(self._verified(name))

    def peek(self, name: str) -> Generator[bytes]:
        """Yield a file's bytes, unverified until its end. Close it early to fetch no more."""
        return self._verified(name)

    def extract(self, name: str, destination: Path) -> None:
        """Write a file to `destination`, verified; on any failure nothing is left there.

        Raises OutsideError where the disk is full or refuses.
        """
        self.probe_and_extract(name, destination, lambda _: True)

    def probe_and_extract(
        self, name: str, destination: Path, wanted: Callable[[bytes], bool | None]
    ) -> bool:
        """Write a file to `destination` while `wanted` looks at what comes; each byte is fetched once.

        `wanted` gets the chunks in order, b"" at the end of the file, until it answers True (the rest
        is written and verified, `wanted` asked no more) or False (fetching stops, nothing is left).
        None to the last is a True. Returns whether the file is there.
        """
        keep = False
        chunks = self._verified(name)
        try:
            with contextlib.closing(chunks), _disk(destination), destination.open("wb") as file:
                answer: bool | None = None
                for chunk in chunks:
                    if answer is None and (answer := wanted(chunk)) is False:
                        return False
                    file.write(chunk)
                found = answer or wanted(b"") is not False
            keep = found
        finally:
            if not keep:
                destination.unlink(missing_ok=True)
        return keep

    def _verified(self, name: str) -> Generator[bytes]:
        """Yield a member's bytes; at their end the hash must be RECORD's."""
        self.info(name)
        kind, expected = self._expected(name)
        digest = hashlib.new(kind) if kind else None
        with contextlib.closing(self._source.chunks(name)) as chunks:
            for chunk in chunks:
                if digest:
                    digest.update(chunk)
                yield chunk
        if digest and digest.digest() != expected:
            self._fail(f"{name} is not what RECORD states ({kind} differs)")

    def _expected(self, name: str) -> tuple[str, bytes]:
        """Return (algorithm, digest) from RECORD; ("", b"") for the few files it cannot hold."""
        if name in {f"{self.dist_info}/{each}" for each in _UNRECORDED}:
            return "", b""
        kind, _, value = self._record.get(name, "").partition("=")
        if kind not in _HASHES:
            self._fail(f"RECORD states no SHA-256 for {name}")
        try:
            return kind, base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))
        except ValueError:
            self._fail(f"RECORD states a hash for {name} that cannot be read")

    def _read_record(self, name: str) -> dict[str, str]:
        if self._members[name].size > READ_LIMIT:
            self._fail(f"{name} has {self._members[name].size} bytes: no wheel has such")
        with contextlib.closing(self._source.chunks(name)) as chunks:
            text = b"".join(chunks).decode("utf-8", "replace")
        try:
            rows = [row for row in csv.reader(text.splitlines()) if row]
        except csv.Error as error:
            self._fail(f"RECORD cannot be read ({error})")
        return {row[0]: row[1] if len(row) > 1 else "" for row in rows}

    def _fail(self, problem: str) -> NoReturn:
        raise self._source.failure(f"{self._source.filename}: {problem}")


@contextlib.contextmanager
def _disk(destination: Path) -> Iterator[None]:
    """Turn what the disk refuses into an OutsideError naming the folder."""
    try:
        yield
    except OSError as error:
        raise OutsideError(
            f"{destination.parent}: cannot write {destination.name}: {error.strerror}"
        ) from error


def find_in_folder(
    folder: Path,
    package: str,
    version: str,
    machine: str,
    python_tags: Sequence[str] = ("cp312",),
) -> Path:
    """Return the wheel in a folder that pip would take. Raises NotFoundError naming what there is."""
    return folder / choose(in_folder(folder), package, version, machine, python_tags).filename
