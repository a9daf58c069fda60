"""A container: what is wanted of it, closed unless it says otherwise, and the one that was made."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final, NamedTuple

import docker.errors
import requests
from docker.types import DeviceRequest, LogConfig, Mount

from images.engine.trouble import TROUBLE, answering
from images.owner import me
from images.recipe import NAME
from matrix.errors import EngineError, NotFoundError

OWNER: Final = f"{NAME}.owner"
"""The label of every container of ours: the host and the process that own it."""

VOLUME: Final = f"{NAME}.volume"
"""The label of every volume of ours."""

_PRINTED: Final = {"max-size": "64m", "max-file": "2"}
"""What the engine keeps of what a container prints; without it a run that prints without end fills the engine's disk."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a container is made of. What is not named is closed: no network, no capability, nothing of this machine.

    `folders`: a path of this machine, which has to be there, or a volume's name, by the path inside; `writable` are those of them, by the
    path inside, that it may write. `memory` (swap included), `shared_memory` in bytes. `user`: as the image says where it is "". `gpu`: the
    UUID of the one that it sees, "" for none.
    """

    image: str
    command: tuple[str, ...] = ("true",)
    folder: str = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, str] = field(default_factory=dict)
    writable: frozenset[str] = frozenset()
    network: bool = False
    memory: int | None = None
    shared_memory: int | None = None
    user: str = ""
    gpu: str = ""

    def arguments(self) -> dict[str, Any]:
        """Return what the engine's library is called with."""
        told: dict[str, Any] = {
            "image": self.image,
            "command": list(self.command),
            "entrypoint": [],
            "working_dir": self.folder,
            "environment": dict(self.environment),
            "labels": {**self.labels, OWNER: me().word},
            "mounts": [
                _mount(inside, source, writable=inside in self.writable)
                for inside, source in self.folders.items()
            ],
            "network_disabled": not self.network,
            "cap_drop": ["ALL"],
            "security_opt": ["no-new-privileges"],
            "init": True,
            # What is printed is copied from there, and has to be there whatever the engine's own setting is.
            "log_config": LogConfig(type="json-file", config=_PRINTED),
        }
        optional = {
            "mem_limit": self.memory,
            "memswap_limit": self.memory,
            "shm_size": self.shared_memory,
            "user": self.user or None,
            "device_requests": [_gpu(self.gpu)] if self.gpu else None,
        }
        return told | {name: value for name, value in optional.items() if value is not None}


def _mount(inside: str, source: str, *, writable: bool) -> Mount:
    if source.startswith("/"):
        return Mount(inside, source, type="bind", read_only=not writable)
    return Mount(inside, source, type="volume", read_only=not writable, labels={VOLUME: "yes"})


def _gpu(uuid: str) -> DeviceRequest:
    """Ask for one GPU, with what computes on it and what tells of it (nvidia-smi)."""
    return DeviceRequest(device_ids=[uuid], capabilities=[["gpu", "compute", "utility"]])


class State(NamedTuple):
    """How a container is: `code` is its exit code, once it does not run. `out_of_memory`: as the engine noticed, which is not always."""

    running: bool
    code: int
    out_of_memory: bool


class Container:
    """A container that was made and may be started once."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def put(self, archive: bytes | IO[bytes]) -> None:
        """Unpack a tar in it, at its root."""
        with answering():
            self._made.put_archive("/", archive)

    def run(self, seconds: float) -> tuple[int, str]:
        """Start it and wait for its end; return exit code and what it printed. Raises EngineError after `seconds`."""
        with answering():
            self._made.start()
            try:
                code = int(self._made.wait(timeout=seconds)["StatusCode"])
            except (requests.Timeout, requests.ConnectionError) as error:
                raise EngineError(f"a container gave no answer within {seconds:.0f} s") from error
            return code, self._made.logs().decode(errors="replace")

    def follow(self, tell: Callable[[str], None]) -> int:
        """Start it, call `tell` with what it prints as it comes, and return its exit code; it may be silent for hours."""
        with answering():
            stream = self._made.attach(stream=True, logs=True)
            self._made.start()
            read = codecs.getincrementaldecoder("utf-8")(errors="replace")
            for chunk in stream:
                tell(read.decode(chunk))
            return int(self._made.wait(timeout=None)["StatusCode"])

    def start(self) -> None:
        """Start it. Raises EngineError where the engine has no such GPU, or no such program is in the image."""
        with answering():
            self._made.start()

    def printed(self) -> Iterator[bytes]:
        """Yield what it prints, from its start until it ends; less where the engine goes away."""
        try:
            yield from self._made.logs(stream=True, follow=True)
        except (*TROUBLE, OSError, ValueError):  # whoever asks for the state next is told why
            return

    def state(self) -> State:
        """Return how it is. Raises EngineError where nobody can say: the engine is gone."""
        with answering():
            try:
                self._made.reload()
            except docker.errors.NotFound:  # somebody removed it
                return State(running=False, code=137, out_of_memory=False)
            told = self._made.attrs["State"]
        return State(bool(told["Running"]), int(told["ExitCode"]), bool(told.get("OOMKilled")))

    def archive(self, path: str) -> Generator[bytes]:
        """Yield a file or folder of it as a tar. Raises NotFoundError where there is none."""
        with answering():
            try:
                stream, _ = self._made.get_archive(path)
            except docker.errors.NotFound as error:
                raise NotFoundError(f"{path} is not in the image") from error
            yield from stream
