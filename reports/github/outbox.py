"""What could not be posted, as files: the next run posts it, unless something newer took its place."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from matrix.errors import OutsideError
from matrix.wholefile import write
from reports.github.posting import Posting
from reports.github.request import Repository

_ENDING: Final = ".posting.json"


class Outbox:
    """A folder of postings, one file a place: a later one for the same place takes its file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, posting: Posting) -> Path:
        """Keep a posting, for its owner alone. Raises OutsideError where the disk refuses."""
        file = self._file(posting)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutsideError(f"{self.folder}: {error.strerror}") from error
        write(file, msgspec.json.encode(posting) + b"\n", mode=0o600)
        return file

    def drop(self, posting: Posting) -> None:
        """Forget what is kept for the place of a posting."""
        self._file(posting).unlink(missing_ok=True)

    def kept(self, repository: Repository) -> Iterator[Posting]:
        """Yield what is kept for a repository, the oldest first; damaged files are passed over."""
        found = []
        for file in sorted(self.folder.glob(f"*{_ENDING}")):
            try:
                posting = msgspec.json.decode(file.read_bytes(), type=Posting)
            except (OSError, ValueError):
                continue
            if posting.repository == repository and file == self._file(posting):
                found.append(posting)
        yield from sorted(found, key=lambda posting: posting.at)

    def _file(self, posting: Posting) -> Path:
        owner = posting.repository
        words = f"{owner.owner}/{owner.name} {posting.name} {posting.place}"
        return self.folder / (hashlib.sha256(words.encode()).hexdigest()[:24] + _ENDING)


class Nowhere(Outbox):
    """An outbox that keeps nothing: of a dry run."""

    def __init__(self) -> None:
        super().__init__(Path(os.devnull))

    def keep(self, posting: Posting) -> Path:
        """Keep nothing."""
        del posting
        return self.folder

    def drop(self, posting: Posting) -> None:
        """Drop nothing."""

    def kept(self, repository: Repository) -> Iterator[Posting]:
        """Yield nothing."""
        del repository
        return iter(())
