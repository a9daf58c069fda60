"""One connection to a Docker engine: its images, builds and containers."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, Final, NamedTuple, Self

import docker
import docker.errors

from images.engine import registry
from images.engine.container import OWNER, Container, Wanted
from images.engine.trouble import TROUBLE, answering, said, unreachable
from images.owner import dead, owner
from images.recipe import MARK, NAME
from images.reference import Reference, at
from matrix.errors import EngineError, NotFoundError
from matrix.vocabulary import Machine

OLDEST: Final = (1, 41)
"""The engine's API of Docker 20.10, the oldest that this was seen with."""

_MACHINES: Final[dict[str, Machine]] = {"amd64": "x86_64", "arm64": "aarch64"}
_ANY: Final = "1.41"
"""Any version: the question which one it is stands outside of them."""

_PATIENCE: Final = 60
"""Seconds for one answer; a build step that says nothing for longer is waited for all the same."""


_STOPPING: Final = 30.0
_PAUSE: Final = 0.3
_LOOKS: Final = 3
"""A build that was stopped has left nothing when so many looks, a pause apart, found nothing; seconds."""


class Image(NamedTuple):
    """An image that the engine has: `id` is "sha256:…", `size` in bytes, `created` as the engine writes it, UTC."""

    id: str
    size: int
    labels: dict[str, str]
    machine: str
    created: str


class BuildFailure(Exception):  # noqa: N818 - no error of the user's yet: whoever asked words it
    """A step of a build failed, and said this."""


class Engine:
    """One connection to an engine; a context manager. `local`: whether it is of this machine, by how it is reached."""

    def __init__(self, client: Any, machine: Machine, *, local: bool = True) -> None:
        self._client = client
        self.machine: Machine = machine
        self.local = local

    @classmethod
    def connect(cls) -> Self:
        """Connect as the docker command does (DOCKER_HOST, …, else its socket). Raises EngineError."""
        host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        told = _told(host)
        version, api = told.get("Version", "?"), told.get("ApiVersion", "0.0")
        if tuple(int(part) for part in api.split(".")) < OLDEST:
            raise EngineError(
                f"the Docker engine {version} is too old (API {api}): 20.10 or newer is needed"
            )
        machine = _MACHINES.get(told.get("Arch", ""))
        if machine is None or told.get("Os") != "linux":
            raise EngineError(
                f"the Docker engine builds for {told.get('Os')}/{told.get('Arch')}; Linux on x86_64 or aarch64 is needed"
            )
        client = docker.from_env(version=api, timeout=_PATIENCE)
        return cls(client, machine, local=host.startswith("unix://"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def image(self, name: str) -> Image | None:
        """Return the image of that name, digest or id, None where the engine has none."""
        try:
            found = self._client.images.get(name)
        except docker.errors.ImageNotFound:
            return None
        except TROUBLE as error:
            raise EngineError(said(error)) from error
        labels = (found.attrs.get("Config") or {}).get("Labels") or {}
        machine = found.attrs.get("Architecture", "")
        cpu, created = _MACHINES.get(machine, machine), found.attrs["Created"]
        return Image(found.id, found.attrs["Size"], labels, cpu, created)

    def stacks(self) -> tuple[Image, ...]:
        """Return the images of ours that have a name, newest first."""
        with answering():
            ours = self._client.images.list(name=NAME, filters={"label": MARK})
        return tuple(found for each in ours if (found := self.image(each.id)))

    def base(self, name: str, tell: Callable[[str], None]) -> Image:
        """Return a base by its digest; one that is not here is pulled.

        Raises NotFoundError where there is none, EngineError where the registry refuses.
        """
        if there := self.image(name):
            return there
        if "@" not in name:
            raise NotFoundError(
                f"--base {name}: no such image here, and without a name none to pull"
            )
        registry.pull(self._client, name, at(name), tell, "--base ")
        if (pulled := self.image(name)) is None:
            raise EngineError(f"--base {name} was pulled and is not there")
        return pulled

    def push(self, image: str, to: Reference, tell: Callable[[str], None]) -> str:
        """Push an image, by its id; return "HOST/NAME@sha256:…". Raises EngineError for what is refused or cut off."""
        return registry.push(self._client, image, to, tell)

    def fetch(self, source: Reference, tell: Callable[[str], None]) -> Image:
        """Pull an image. Raises NotFoundError where there is none, EngineError where the registry refuses."""
        registry.pull(self._client, str(source), source.host, tell)
        if (pulled := self.image(str(source))) is None:
            raise EngineError(f"{source} was pulled and is not there")
        return pulled

    def name(self, image: Image, name: str) -> None:
        """Give an image a further name."""
        with answering():
            self._client.images.get(image.id).tag(name)

    def build(
        self,
        context: bytes | IO[bytes],
        *,
        tag: str,
        labels: Mapping[str, str],
        arguments: Mapping[str, str],
        tell: Callable[[str], None],
    ) -> None:
        """Build an image of a context (a tar), and call `tell` with what it prints, line by line.

        Raises BuildFailure where a step fails, EngineError where the engine does.
        """
        try:
            lines = self._client.api.build(
                fileobj=io.BytesIO(context) if isinstance(context, bytes) else context,
                custom_context=True,
                encoding=None,
                tag=tag,
                labels=dict(labels),
                buildargs=dict(arguments),
                rm=True,
                forcerm=True,
                decode=True,
                timeout=None,  # a step may be silent for an hour
            )
            for line in lines:
                if failure := line.get("error"):
                    raise BuildFailure(failure)
                tell(line.get("stream", ""))
        except TROUBLE as error:
            raise EngineError(f"the engine gave the build up: {said(error)}") from error

    def size(self) -> tuple[int, int]:
        """Return the memory (bytes) and the processors of the engine's machine."""
        with answering():
            told = self._client.info()
            return int(told["MemTotal"]), int(told["NCPU"])

    def sweep(self, fingerprint: str, *, ended: bool) -> tuple[str, ...]:
        """Remove what a build left, besides its image: nothing refers to it, and it may hold a login. Return what stays.

        A build that was not `ended` by the engine itself is still being stopped there: its last container holds an
        image for some seconds more, or makes one.
        """
        mine = {"dangling": True, "label": f"{MARK}={fingerprint}"}
        end, clean = time.monotonic() + _STOPPING, 0
        left: tuple[str, ...] = ()
        while clean < (1 if ended else _LOOKS) and time.monotonic() < end:
            try:
                # By ids alone: what another build removes between a look and a second one is no trouble.
                left = tuple(dict.fromkeys(self._client.api.images(quiet=True, filters=mine)))
                for each in left:
                    with contextlib.suppress(docker.errors.APIError):  # something stands on it
                        self._client.images.remove(each, force=True)
            except TROUBLE:
                break
            clean = 0 if left else clean + 1
            time.sleep(0 if ended and clean else _PAUSE)
        return left

    def clear(self) -> list[str]:
        """Remove the containers of ours whose owner is dead, and nothing else; return their names."""
        removed = []
        with answering():
            ours = self._client.containers.list(
                all=True, filters={"label": OWNER}, ignore_removed=True
            )
        for each in ours:
            whose = owner(each.labels.get(OWNER, ""))
            if whose is None or not dead(whose, running=each.status == "running"):
                continue
            with contextlib.suppress(*TROUBLE):
                each.remove(force=True, v=True)
                removed.append(str(each.name))
        return removed

    def security(self) -> tuple[str, ...]:
        """Return what the engine says of its own confinement, such as "name=rootless"."""
        with answering():
            return tuple(self._client.info().get("SecurityOptions") or ())

    @contextlib.contextmanager
    def container(self, wanted: Wanted) -> Iterator[Container]:
        """Own a container from its making to its removal. Raises EngineError where none can be made."""
        try:
            made = self._client.containers.create(**wanted.arguments())
        except TROUBLE as error:
            raise EngineError(
                f"no container can be made of {wanted.image}: {said(error)}"
            ) from error
        try:
            yield Container(made)
        finally:
            with contextlib.suppress(*TROUBLE):
                made.remove(force=True, v=True)


def _told(host: str) -> dict[str, Any]:
    """Ask an engine what it is, by a connection of its own: one that found its version first could not be closed."""
    try:
        _knock(host)
        with contextlib.closing(docker.from_env(version=_ANY, timeout=_PATIENCE)) as client:
            told: dict[str, Any] = client.version(api_version=False)
            return told
    except (*TROUBLE, OSError) as error:
        raise EngineError(unreachable(host, error)) from error


def _knock(host: str) -> None:
    """Raise what the system says of the engine's socket; the library leaves its own one open where that refuses."""
    scheme, _, path = host.partition("://")
    if scheme == "unix":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as tried:
            tried.connect(path)
