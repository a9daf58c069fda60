"""Artifacts of runners: folders and ZIP files that anybody may have made, read line by line and never unpacked."""

from __future__ import annotations

import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from matrix.errors import ConfigurationError
from matrix.journal import LONGEST
from matrix.returned import Given

_MOST_FILES: Final = 20_000
_MOST_BYTES: Final = 1 << 27
"""Bytes of one file of results, unpacked: 128 MiB; a run of 10,000 checks has a fifth."""
_MOST_TOTAL: Final = 1 << 31
"""Bytes of all files together, unpacked."""
_MOST_LINES: Final = 2_000_000
"""Lines of all files together: what is no result takes time, too. 5,000 cells have a tenth."""
_MOST_ZIPPED: Final = 1 << 28
"""Bytes of a ZIP file as it is: its list of members is read whole."""
_DEEPEST: Final = 4
_FILE: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,99})\.jsonl", re.ASCII)

Complain = Callable[[str], None]


def lines(folder: Path, complain: Complain) -> Iterator[Given]:
    """Yield every line of the results under `folder`, which is not written to; `complain` is told what is left out.

    Read are regular files `<run>.jsonl`, and those in ZIP files. A link is not followed, a name is never a path, and what
    is larger than results can be is left. Raises ConfigurationError where `folder` is no folder.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"{folder}: is no folder of artifacts")
    room = _Room()
    for path in _files(folder, complain):
        if path.suffix == ".zip":
            yield from _zipped(path, room, complain)
        elif match := _FILE.fullmatch(path.name):
            with _opened(path) as file:
                yield from _lines(file, match[1], _where(path, folder), room, complain)


class _Room:
    """What may still be read: a bound over all files together."""

    def __init__(self) -> None:
        self.bytes = _MOST_TOTAL
        self.lines = _MOST_LINES

    def take(self, line: bytes) -> bool:
        """Count a line; say whether there was room for it."""
        self.bytes -= len(line)
        self.lines -= 1
        return self.bytes >= 0 and self.lines >= 0


def _files(folder: Path, complain: Complain) -> Iterator[Path]:
    """Yield regular files in the order of their names, folders to a bounded depth."""
    count = 0
    todo = [(folder, 0)]
    while todo:
        here, depth = todo.pop()
        with os.scandir(here) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            count += 1
            if count > _MOST_FILES:
                complain(f"more than {_MOST_FILES} files: the rest is left out")
                return
            if entry.is_dir(follow_symlinks=False):
                if depth < _DEEPEST:
                    todo.append((Path(entry.path), depth + 1))
                else:
                    complain(f"{entry.name}: folders in folders are left out")
            elif not entry.is_file(follow_symlinks=False):
                complain(f"{entry.name}: is a link or no file, and left out")
            else:
                yield Path(entry.path)


def _opened(path: Path) -> IO[bytes]:
    """Open a regular file; a link that took its place in the meantime is refused by the system."""
    return os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")


def _zipped(path: Path, room: _Room, complain: Complain) -> Iterator[Given]:
    """Yield the lines of a ZIP file's members, which are read where they are: no path in it is ever used."""
    try:
        if path.stat(follow_symlinks=False).st_size > _MOST_ZIPPED:
            complain(f"{path.name}: is larger than results can be, and left out")
            return
        with _opened(path) as file, zipfile.ZipFile(file) as archive:
            for member in archive.infolist()[:_MOST_FILES]:
                name = member.filename.rpartition("/")[2]
                match = _FILE.fullmatch(name)
                if match is None:
                    continue
                if stat.S_ISLNK(member.external_attr >> 16) or member.flag_bits & 1:
                    complain(f"{path.name}: {name}: is a link or encrypted, and left out")
                    continue
                with archive.open(member) as content:
                    where = f"{path.name}: {name}"
                    yield from _lines(content, match[1], where, room, complain)
    except (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        complain(f"{path.name}: cannot be read ({type(error).__name__}), and the rest is left out")


def _lines(
    file: IO[bytes], run: str, where: str, room: _Room, complain: Complain
) -> Iterator[Given]:
    """Yield the lines of one file, of one too long its beginning, until it is larger than results can be."""
    number, read = 0, 0
    whole = True
    while line := file.readline(LONGEST):
        read += len(line)
        if not room.take(line) or read > _MOST_BYTES:
            complain(f"{where}: is larger than results can be; the rest is left out")
            return
        begins, whole = whole, line.endswith(b"\n")
        if not begins:
            continue
        number += 1
        if line.strip():
            yield Given(run, f"{where}:{number}", line)


def _where(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder))
