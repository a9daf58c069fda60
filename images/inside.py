"""A probe run in a container: one object owns it from its creation to its removal, and says how it came to its end."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

from images.context import tarred
from images.engine import Container, Engine, State, Wanted
from images.following import Line, cut, follow
from images.here import FINISHED, copied
from images.recipe import CACHE, NAME, UID
from matrix.errors import EngineError, OutsideError
from matrix.vocabulary import Reason
from probes.apart import kills
from probes.lines import DISK
from probes.request import Request

SHARED_MEMORY: Final = 16 << 30
"""Bytes that /dev/shm may take in a container: workers of a server talk there. None is taken before it is used."""

_SUITE: Final = "/suite"
_REQUEST: Final = "tmp/run/request.json"
_RESULTS: Final = "/results"
_STOPPED: Final = (2, 130, 137, 143)
"""Exit codes of a suite that was told to end: pytest's own for an interrupt, and those of SIGINT, SIGKILL and SIGTERM."""

_MOST_PRINTED: Final = 1 << 28
"""Bytes of a run's log: what is printed beyond is read, and not kept."""

_PATIENCE: Final = 20.0
"""Seconds that an engine has to come back."""

_AFTER: Final = 3.0
"""Seconds between the kernel's ending a process for want of memory and a container's end that make the one the other's reason."""

_TOLD: Final = {
    "HOME": "/tmp",  # noqa: S108 - inside of the container
    "USER": "stack",
    "LOGNAME": "stack",
    "XDG_CACHE_HOME": f"{CACHE}/xdg",
    "CUDA_CACHE_PATH": f"{CACHE}/cuda",
    "FLASHINFER_WORKSPACE_BASE": f"{CACHE}/flashinfer",
    "TORCHINDUCTOR_CACHE_DIR": f"{CACHE}/inductor",
    "TRITON_CACHE_DIR": f"{CACHE}/triton",
    "VLLM_CACHE_ROOT": f"{CACHE}/vllm",
}
"""What a container is told: where compiled kernels are kept, and a user's name, for which some packages ask the system."""


class End(NamedTuple):
    """How an attempt ended: `reason` "" is the suite's own end, with pytest's `code`. `text` tells of any other in a few words."""

    code: int
    reason: Reason = ""
    text: str = ""


class RunLimitError(OutsideError):
    """The whole run took longer than it was allowed; what was finished is kept."""

    exit_code = 1


class User(NamedTuple):
    """Who a container runs as, in its own numbers, and how a file of ours is made writable for that user: group and mode."""

    uid: int
    gid: int
    group: int
    mode: int


def user(uid: int, gid: int, security: tuple[str, ...]) -> User:
    """Say who writes the results, so that they stay the caller's: the caller, and in root's place the image's own user.

    `security`: what the engine says of itself. In one without root the caller is called root inside; where numbers are
    mapped otherwise nobody here knows whose they are.
    """
    names = {each.partition(",")[0] for each in security}
    if "name=rootless" in names:
        return User(0, 0, gid, 0o644)
    if "name=userns" in names:
        return User(UID, UID, gid, 0o666)
    if uid == 0:
        return User(UID, UID, UID, 0o664)
    return User(uid, gid, gid, 0o644)


class Inside:
    """Containers of an image for one run, one after the other, and a copy of the probes for them.

    `image`: its id. `key`: what its caches are kept under. `memory`: bytes, None for no limit. `until`: when the run's time is over, by
    the monotonic clock. `variables`: for the suite, beside what every container is told.
    """

    def __init__(
        self,
        engine: Engine,
        image: str,
        key: str,
        *,
        gpu: str = "",
        memory: int | None = None,
        until: float | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.engine = engine
        self.image = image
        self.key = key
        self.gpu = gpu
        self.memory = memory
        self.until = until
        self.variables = dict(variables or {})
        self._folder = tempfile.TemporaryDirectory(prefix="nvfp4-matrix-")
        self.probes = copied(Path(self._folder.name))
        self.user = user(os.getuid(), os.getgid(), engine.security())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def wanted(self, request: Request) -> Wanted:
        """Return what the container is made of."""
        caches = f"{NAME}-cache-{self.key[:20]}-{self.user.uid}"
        results = f"{_RESULTS}/{Path(request.results).name}"
        return Wanted(
            image=self.image,
            command=("python", "-B", "-m", "probes", f"/{_REQUEST}", "-q", "--no-header"),
            folder=_SUITE,
            environment={**_TOLD, **self.variables},
            labels={f"{NAME}.run": request.run},
            folders={
                f"{_SUITE}/probes": str(self.probes),
                results: request.results,
                CACHE: caches,
            },
            writable=frozenset({results, CACHE}),
            memory=self.memory,
            shared_memory=SHARED_MEMORY,
            user=f"{self.user.uid}:{self.user.gid}",
            gpu=self.gpu,
        )

    def attempt(
        self,
        request: Request,
        output: IO[bytes],
        *,
        tell: Callable[[Line], None],
        beat: Callable[[], None],
    ) -> End:
        """Run what `request` asks for in a new container, and call `tell` with each line as it comes; say how it ended.

        What is printed goes to `output`. Whatever goes wrong or is raised, no container is left. Raises OutsideError where the disk
        refuses, EngineError where the engine goes away or refuses, RunLimitError.
        """
        results = Path(request.results)
        begin = self._writable(results)
        inside = replace(request, results=f"{_RESULTS}/{results.name}")
        sent = tarred({_REQUEST: json.dumps(asdict(inside)).encode()}, uid=self.user.uid)
        wrong, first = 0, ""
        with contextlib.ExitStack() as closing:
            closing.callback(cut, results)  # once nobody writes any more
            container = closing.enter_context(self.engine.container(self.wanted(request)))
            container.put(sent)
            container.start()
            watch = _Watch(container, output, self.until)
            for line in follow(results, begin, watch.ended, beat):
                if isinstance(line, str):
                    wrong, first = wrong + 1, first or line
                else:
                    tell(line)
        end = ending(watch.state, out_of_memory=watch.out_of_memory, away=watch.away)
        if end.code == DISK and not end.reason:
            raise OutsideError(
                f"{results}: cannot be written (is the disk full?); what was measured before is kept"
            )
        if wrong:
            raise OutsideError(f"{results}: {wrong} lines are no results: {first}")
        return end

    def _writable(self, results: Path) -> int:
        """Make the file of results, the only one of this machine that the container writes; return how long it is already."""
        try:
            results.touch()
            if (self.user.group, self.user.mode) != (os.getgid(), 0o644):
                os.chown(results, -1, self.user.group)
                results.chmod(self.user.mode)
            return results.stat().st_size
        except OSError as error:
            raise OutsideError(f"{results}: {error.strerror}") from error


class _Watch:
    """Whether a container has ended, asked all the while; what it prints is copied meanwhile."""

    def __init__(self, container: Container, output: IO[bytes], until: float | None) -> None:
        self.state = State(running=True, code=0, out_of_memory=False)
        self.away = False
        self._container = container
        self._output = output
        self._until = until
        self._kills = kills()
        self._killed = -_AFTER
        self._since: float | None = None
        self._copied = self._copy()

    @property
    def out_of_memory(self) -> bool:
        """Whether the kernel ended a process for want of memory shortly before the end: the engine misses it at times."""
        return self.state.out_of_memory or time.monotonic() - self._killed < _AFTER

    def ended(self) -> bool:
        """Say whether it has ended. Raises RunLimitError at the run's limit, EngineError for an engine that stays away."""
        now = time.monotonic()
        if self._until is not None and now > self._until:
            raise RunLimitError("the run's own limit is over")
        if (count := kills()) != self._kills:
            self._kills, self._killed = count, now
        if self._copied.is_alive():
            return False
        try:
            self.state = self._container.state()
        except EngineError:
            self.away = True
            self._since = self._since or now
            if now - self._since > _PATIENCE:
                raise
            return False
        if self.state.running:  # the engine was away, and it went on without it
            self._since, self._copied = None, self._copy()
            return False
        return True

    def _copy(self) -> threading.Thread:
        thread = threading.Thread(target=self._print, daemon=True)
        thread.start()
        return thread

    def _print(self) -> None:
        for chunk in self._container.printed():
            # A full disk is for the results to tell of; what is printed has to be read all the same.
            with contextlib.suppress(OSError, ValueError):
                if (room := _MOST_PRINTED - self._output.tell()) > 0:
                    self._output.write(chunk[:room])
                    self._output.flush()


def ending(state: State, *, out_of_memory: bool, away: bool) -> End:
    """Say what a container's end means. `away`: whether the engine went away meanwhile. Pure."""
    code = state.code
    if code in (*FINISHED, DISK) and not away:
        return End(code)
    if state.out_of_memory or (out_of_memory and code in _STOPPED):
        return End(code, "oom", "the container ran out of memory")
    if away:
        return End(code, "runner_lost", "the Docker engine went away and took the container along")
    if code in _STOPPED:
        return End(code, "killed", "the container was ended from outside")
    how = f"by signal {code - 128}" if code > 128 else f"with exit code {code}"  # noqa: PLR2004 - as a shell tells signals
    return End(code, "harness_error", f"the suite ended {how}")
