"""Filling the ledger: which published wheels it lacks, and reading those, each kept as soon as it is read."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec
from packaging.version import Version

from matrix.capability import CapabilitiesFile, PackageRule
from matrix.compiled import in_range
from matrix.crew import Crew
from matrix.errors import NotFoundError, OutsideError
from matrix.evidence.index import Index
from matrix.evidence.record import WheelEvidence
from matrix.evidence.transport import Session
from matrix.evidence.wheelfile import SdistFile, WheelFile, choose
from matrix.gate import GatesFile
from matrix.ledger import Ledger
from matrix.measurement import Progress, Watch, measure, measured
from matrix.published import LISTING, Listing, listing_of
from matrix.rules import rules_digest
from matrix.vocabulary import MACHINES
from matrix.wholefile import write

Files = Mapping[str, Sequence[WheelFile]]
"""The wheels that the index lists, by package."""

Wanted = Mapping[str, Collection[str]]
"""Versions by package."""


@dataclass(frozen=True)
class Listed:
    """What the index lists, by package; a package that it lacks has no files."""

    files: dict[str, list[WheelFile]]
    sources: dict[str, list[SdistFile]]

    def listing(self, day: str) -> Listing:
        """Fold it into releases and machines, as the ledger keeps it."""
        return listing_of(
            day,
            (file for files in self.files.values() for file in files),
            (file for files in self.sources.values() for file in files),
        )


def ask(index: Index, packages: Iterable[str], *, jobs: int = 8) -> Listed:
    """List the files of all packages, asked side by side; of one that the index lacks, none.

    Raises IndexAnswerError, and NotFoundError where the index has none of the packages.
    """
    names = sorted(set(packages))
    listed = Listed({name: [] for name in names}, {name: [] for name in names})

    def both(package: str) -> tuple[list[WheelFile], list[SdistFile]]:
        # One page: the index keeps it.
        return index.files(package), index.sdists(package)

    absent: list[NotFoundError] = []
    crew = Crew(both, names, jobs)
    try:
        for news in crew.outcomes():
            if news is None:
                continue
            name, outcome = news
            if isinstance(outcome, NotFoundError):
                absent.append(outcome)
            elif isinstance(outcome, Exception):
                raise outcome
            else:
                listed.files[name], listed.sources[name] = outcome
    finally:
        crew.stop()
    if names and len(absent) == len(names):
        raise min(absent, key=str)
    return listed


def published(files: Files, capabilities: CapabilitiesFile, wanted: Wanted) -> list[WheelFile]:
    """Choose the wheels that the ledger is to hold; pure.

    Of a package whose rule has a range, the releases in it; of one whose rule has none, those in
    `wanted`. A pre-release only where it is wanted. Of each, on each machine, what pip would take under
    the rule's Python tags, and the same with every other build tag. Newest first, packages in the order
    of the data.
    """
    chosen: dict[str, WheelFile] = {}
    for rule in capabilities.packages:
        pinned = {Version(version) for version in wanted.get(rule.package, ())}
        releases: dict[Version, list[WheelFile]] = {}
        for file in files.get(rule.package, ()):
            releases.setdefault(Version(file.version), []).append(file)
        for version in sorted(releases, reverse=True):
            if not in_range(str(version), rule.versions):
                continue
            if version not in pinned and (version.is_prerelease or not rule.versions):
                continue
            for file in _choices(releases[version], rule):
                chosen.setdefault(file.filename, file)
    return list(chosen.values())


def missing(
    files: Files,
    records: Iterable[WheelEvidence],
    capabilities: CapabilitiesFile,
    wanted: Wanted,
) -> list[WheelFile]:
    """List the wheels that the index has and the ledger has not, or has with other content; pure."""
    held = {record.filename: record.sha256 for record in records}
    return [
        file
        for file in published(files, capabilities, wanted)
        if held.get(file.filename) is None or (file.sha256 and held[file.filename] != file.sha256)
    ]


def outdated(
    files: Files,
    records: Iterable[WheelEvidence],
    capabilities: CapabilitiesFile,
    gates: GatesFile,
    wanted: Wanted,
) -> list[WheelFile]:
    """List the wheels in the ledger that were read by other rules than today's; pure."""
    held = {record.filename: record.rules for record in records}
    return [
        file
        for file in published(files, capabilities, wanted)
        if held.get(file.filename)
        not in (None, rules_digest(file.package, file.version, capabilities, gates))
    ]


def keep_listing(folder: Path, listing: Listing) -> Path:
    """Write the listing beside the records, atomically. Raises OutsideError where the disk refuses."""
    path = folder / LISTING
    text = msgspec.json.format(msgspec.json.encode(listing), indent=1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    write(path, text + b"\n")
    return path


def fill(
    files: Sequence[WheelFile],
    session: Session,
    capabilities: CapabilitiesFile,
    gates: GatesFile,
    *,
    ledger: Ledger,
    jobs: int = 2,
    progress: Progress | None = None,
) -> list[tuple[WheelFile, Exception]]:
    """Read wheels, `jobs` at a time, and write each to the ledger the moment it is read.

    Returns those that failed, with the reason. One fill works on a ledger at a time: another waits for
    it, and then leaves out what it did. Interrupted, it keeps what is done. Raises OutsideError where the
    ledger cannot be written.
    """
    told = progress or Progress()
    failures: list[tuple[WheelFile, Exception]] = []

    def rules(file: WheelFile) -> str:
        return rules_digest(file.package, file.version, capabilities, gates)

    with _alone(ledger, told):
        held = {record.filename: record for record in ledger.read()}
        todo = [file for file in files if not _done(file, held.get(file.filename), rules)]
        read = partial(_read, session, capabilities, gates)
        with contextlib.closing(measured(todo, read, jobs=jobs, progress=told)) as outcomes:
            for file, outcome in outcomes:
                if isinstance(outcome, Exception):
                    failures.append((file, outcome))
                else:
                    ledger.write(outcome)
    return failures


def _done(file: WheelFile, record: WheelEvidence | None, rules: Callable[[WheelFile], str]) -> bool:
    same = record is not None and file.sha256 in ("", record.sha256)
    return same and record is not None and record.rules == rules(file)


def _read(
    session: Session,
    capabilities: CapabilitiesFile,
    gates: GatesFile,
    file: WheelFile,
    watch: Watch,
) -> WheelEvidence:
    evidence = measure(session, capabilities, gates, file, watch)
    if not evidence.sha256:
        # A record is a fact about one file; without its hash it could be about any.
        raise OutsideError(f"{file.url}: the index states no SHA-256 for it")
    return evidence


def _choices(files: Sequence[WheelFile], rule: PackageRule) -> Iterator[WheelFile]:
    """Yield what pip would take of one release on each machine, for each build tag there is."""
    for machine in MACHINES:
        for build in sorted({file.build for file in files}, reverse=True):
            tagged = [file for file in files if file.build == build]
            # Nothing for this machine, or for these Python versions.
            with contextlib.suppress(NotFoundError):
                yield choose(tagged, rule.package, tagged[0].version, machine, rule.python_tags)


@contextlib.contextmanager
def _alone(ledger: Ledger, progress: Progress) -> Iterator[None]:
    """Hold the ledger's folder locked. The lock goes with the process, whatever ends it."""
    import fcntl  # noqa: PLC0415 - POSIX; what only reads the ledger runs elsewhere, too

    try:
        ledger.folder.mkdir(parents=True, exist_ok=True)
        folder = os.open(ledger.folder, os.O_RDONLY)
    except OSError as error:
        raise OutsideError(f"{ledger.folder}: {error.strerror}") from error
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.waiting()
            fcntl.flock(folder, fcntl.LOCK_EX)
        except OSError as error:
            raise OutsideError(f"{ledger.folder}: cannot be locked: {error.strerror}") from error
        yield
    finally:
        os.close(folder)
