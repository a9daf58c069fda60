"""The journal: a folder of results as JSON Lines, appended to and never rewritten."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from matrix.errors import ConfigurationError, OutsideError
from matrix.proberun import ProbeRun, last_words, missing
from matrix.result import Result

FOLDER: Final = Path(__file__).parent / "results"
"""The default folder: beside the ledger, and ignored by git."""

LONGEST: Final = 1 << 22
"""Bytes in a line; no result has a hundredth of it, and a run of 10,000 checks opens with half of it."""

_DECODER = msgspec.json.Decoder(Result)
_OPENING = msgspec.json.Decoder(ProbeRun)
_OPENS: Final = re.compile(rb'\s*\{\s*"record"\s*:')
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


class Reading(NamedTuple):
    """Every sound result in the order of files and lines, then what runs planned and did not bring back.

    `complaints` tell what was left out, one line each; `runs` are the probe runs.
    """

    results: tuple[Result, ...]
    complaints: tuple[str, ...]
    runs: tuple[ProbeRun, ...] = ()


class Journal:
    """A folder of `<run>.jsonl`. Journals merge by copying files; a line that stands twice counts once."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = FOLDER if folder is None else folder

    def read(self) -> Reading:
        """Read every result; a folder that is not there has none.

        A line that is damaged, or cut by a crash (a last line without its newline), is left out and told
        as `file:line`; what stands around it is kept. So is a line that speaks for another run than its file, or for
        another cell than its run: what ran in a container wrote it, and may lie. Raises ConfigurationError where the
        folder is none, or a file cannot be read.
        """
        if not self.folder.exists():
            return Reading((), ())
        if not self.folder.is_dir():
            raise ConfigurationError(f"{self.folder}: is no folder of results")
        results: list[Result] = []
        runs: dict[str, ProbeRun] = {}
        complaints: list[str] = []
        seen: set[bytes] = set()
        for path in sorted(self.folder.glob("*.jsonl")):
            for number, line in self._lines(path):
                if line in seen or not line.strip():
                    continue
                try:
                    found = decode(line)
                except ValueError as error:
                    complaints.append(f"{path}:{number}: left out: {error}")
                    continue
                if said := _foreign(found, path.stem, runs):
                    complaints.append(f"{path}:{number}: left out: {said}")
                    continue
                seen.add(line)
                if isinstance(found, ProbeRun):
                    if runs.setdefault(found.run, found) != found:
                        complaints.append(
                            f"{path}:{number}: left out: run {found.run} was opened before, and not so"
                        )
                else:
                    results.append(found)
        lost = [each for run in runs.values() for each in missing(run, results)]
        return Reading((*last_words(results), *lost), tuple(complaints), tuple(runs.values()))

    def append(self, results: Iterable[Result]) -> tuple[Path, ...]:
        """Append results to the files of their runs, and return once they are on the disk.

        Each file is appended to in one piece (O_APPEND), then synced. A half line that an earlier crash
        left is ended first, so that nothing is glued to it. Raises ValueError for a run that is no file
        name, OutsideError where the disk refuses.
        """
        by_run: dict[str, list[bytes]] = {}
        for result in results:
            if not _RUN.fullmatch(result.run):
                raise ValueError(f"{result.run!r} is no name of a run")
            by_run.setdefault(result.run, []).append(msgspec.json.encode(result) + b"\n")
        written = []
        for run, lines in by_run.items():
            path = self.folder / f"{run}.jsonl"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                _append(path, b"".join(lines))
            except OSError as error:
                raise OutsideError(f"{path}: {error.strerror}") from error
            written.append(path)
        return tuple(written)

    def _lines(self, path: Path) -> Iterator[tuple[int, bytes]]:
        """Yield number and content of each line, newline included; of one too long, its beginning."""
        try:
            with path.open("rb") as file:
                number = 0
                while line := file.readline(LONGEST):
                    number += 1
                    yield number, line
                    while len(line) == LONGEST and not line.endswith(b"\n"):
                        line = file.readline(LONGEST)
        except OSError as error:
            raise ConfigurationError(f"{path}: {error.strerror}") from error


def _foreign(found: Result | ProbeRun, run: str, runs: Mapping[str, ProbeRun]) -> str:
    """Say why a line does not belong into the file of `run`, "" where it does."""
    if found.run != run:
        return f"it is of run {found.run[:100]}"
    opening = runs.get(run)
    if opening is None or isinstance(found, ProbeRun):
        return ""
    mine = (found.stack, found.target, found.machine, found.environment)
    if mine != (opening.stack, opening.target, opening.machine, opening.environment):
        return f"it is of {found.stack[:100]} on {found.target}, and its run is not"
    return ""


def decode(line: bytes) -> Result | ProbeRun:
    """Read one line. Raises ValueError, in a few words, for what is no whole and sound result or run."""
    if not line.endswith(b"\n"):
        raise ValueError("the line is cut" if len(line) < LONGEST else "the line is too long")
    try:
        return _OPENING.decode(line) if _OPENS.match(line) else _DECODER.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"no result ({str(error) or 'nested too deep'})") from error


def _append(path: Path, content: bytes) -> None:
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, 0o644)
    try:
        end = os.lseek(handle, 0, os.SEEK_END)
        if end:
            os.lseek(handle, end - 1, os.SEEK_SET)
            if os.read(handle, 1) != b"\n":
                content = b"\n" + content
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)
