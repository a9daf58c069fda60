"""Reading published wheels, several at a time, so that it can be watched and stopped from outside."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

import msgspec

from matrix.capability import CapabilitiesFile
from matrix.crew import Crew
from matrix.errors import BrokenWheelError, OutsideError, ToolError
from matrix.evidence.audit import audit
from matrix.evidence.record import WheelEvidence
from matrix.evidence.transport import Session
from matrix.evidence.wheel import Wheel
from matrix.evidence.wheelfile import WheelFile
from matrix.gate import GatesFile

_GRACE: Final = 1.0
"""Seconds that readers get to clean up after Ctrl-C; what is left then goes with the process."""

_TOOLS: Final = ("cuobjdump", "nvdisasm")
_KILLED: Final = re.compile(r"ended with code -\d+$")


class StoppedError(Exception):
    """The reading was stopped from outside. Nothing is wrong with the wheel."""


class Watch:
    """How far the reading of one wheel is. One thread reads the wheel, another looks and may stop it."""

    def __init__(self) -> None:
        self.wheel: Wheel | None = None
        self.member = ""
        self._stopped = threading.Event()

    @property
    def fetched(self) -> int:
        """Bytes that came over the network so far."""
        return self.wheel.bytes_fetched if self.wheel else 0

    def stop(self) -> None:
        """Make the reading end with StoppedError at its next chunk."""
        self._stopped.set()

    def check(self) -> None:
        """Raise StoppedError after `stop`."""
        if self._stopped.is_set():
            raise StoppedError

    def read(self, member: str) -> None:
        """Take note of the shared object that is read now."""
        self.check()
        self.member = member


class Progress:
    """What is told while wheels are read, always from one thread. This one tells nobody."""

    def waiting(self) -> None:
        """Someone else is filling the same ledger; it goes on when they are done."""

    def reading(self, file: WheelFile, watch: Watch) -> None:
        """Tell how far a wheel is; called some times a second for each."""

    def done(self, file: WheelFile, outcome: Outcome) -> None:
        """Tell that a wheel was read, or why not."""


class WatchedWheel(Wheel):
    """A wheel that looks at its watch at every chunk."""

    watch = Watch()

    def _verified(self, name: str) -> Generator[bytes]:
        with contextlib.closing(super()._verified(name)) as chunks:
            for chunk in chunks:
                self.watch.check()
                yield chunk


def measure(
    session: Session,
    capabilities: CapabilitiesFile,
    gates: GatesFile,
    file: WheelFile,
    watch: Watch,
) -> WheelEvidence:
    """Read the wheel at `file.url` (http, https, file). Raises what `audit` and `Wheel` raise.

    A local wheel's SHA-256 is computed, and compared with the one that an index states; of a wheel on a
    server it is what the index states ("" where it states none).
    """
    watch.check()
    with WatchedWheel.open_url(session, file.url, sha256=file.sha256) as wheel:
        wheel.watch, watch.wheel = watch, wheel
        evidence = audit(wheel, file, capabilities, gates, progress=watch.read)
    _refuse_killed(evidence)
    return msgspec.structs.replace(evidence, sha256=_content(file))


Outcome: TypeAlias = WheelEvidence | Exception
Measure: TypeAlias = Callable[[WheelFile, Watch], WheelEvidence]


def measured(
    files: Sequence[WheelFile], measure: Measure, *, jobs: int = 2, progress: Progress
) -> Generator[tuple[WheelFile, Outcome]]:
    """Yield each wheel with its evidence, or with what went wrong, as they come; `jobs` at a time.

    Closed early, or interrupted, it ends the tools that it started and removes what they read.
    """
    watches = {file.filename: Watch() for file in files}
    begun: dict[str, WheelFile] = {}

    def work(file: WheelFile) -> WheelEvidence:
        begun[file.filename] = file
        return measure(file, watches[file.filename])

    crew = Crew(work, files, jobs)
    try:
        for news in crew.outcomes():
            if news is None:
                for file in list(begun.values()):
                    progress.reading(file, watches[file.filename])
                continue
            begun.pop(news[0].filename, None)
            progress.done(*news)
            yield news
    finally:
        for watch in watches.values():
            watch.stop()
        crew.stop(within=_GRACE, meanwhile=_end_tools)


def _refuse_killed(evidence: WheelEvidence) -> None:
    """Raise ToolError where a tool was killed (out of memory, Ctrl-C): that is no fact of the wheel's."""
    for held in evidence.objects:
        if held.outcome == "refused" and _KILLED.search(held.detail):
            raise ToolError(f"{evidence.filename}: {held.path}: {held.detail} (killed; try again)")


def _end_tools() -> None:
    """End the tools of NVIDIA's that this process is waiting for: a thread cannot be interrupted."""
    for children in Path("/proc/self/task").glob("*/children"):
        # A thread, or a child, may be gone by now.
        with contextlib.suppress(OSError, ValueError):
            for child in map(int, children.read_text().split()):
                if Path(f"/proc/{child}/comm").read_text().strip() in _TOOLS:
                    os.kill(child, signal.SIGTERM)


def _content(file: WheelFile) -> str:
    """Return the SHA-256 of a wheel: of a local one its own, else what the index states."""
    parts = urlsplit(file.url)
    if parts.scheme != "file":
        return file.sha256
    path = Path(url2pathname(parts.path))
    try:
        with path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    if file.sha256 and file.sha256 != sha256:
        raise BrokenWheelError(f"{path}: is not the file that the index lists (sha256 differs)")
    return sha256
