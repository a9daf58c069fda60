"""The Docker engine: finds bases and images, builds, and owns containers. The only module that knows `docker`."""

from __future__ import annotations

import contextlib
import io
import os
import platform
import socket
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple, Self

import docker
import docker.errors
import requests
import urllib3

from images.recipe import MARK, NAME
from matrix.errors import EngineError, NotFoundError
from matrix.vocabulary import Machine

OLDEST: Final = (1, 41)
"""The engine's API of Docker 20.10, the oldest that this was seen with."""

OWNER: Final = f"{NAME}.owner"
"""The label of every container of ours."""

_MACHINES: Final[dict[str, Machine]] = {"amd64": "x86_64", "arm64": "aarch64"}
_ANY: Final = "1.41"
"""Any version: the question which one it is stands outside of them."""

_PATIENCE: Final = 60
"""Seconds for one answer; a build step that says nothing for longer is waited for all the same."""
_TROUBLE: Final = (
    docker.errors.DockerException,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
)


class Image(NamedTuple):
    """An image that the engine has: `id` is "sha256:…", `size` in bytes."""

    id: str
    size: int
    labels: dict[str, str]
    machine: str


class BuildFailure(Exception):  # noqa: N818 - no error of the user's yet: whoever asked words it
    """A step of a build failed, and said this."""


class Engine:
    """One connection to an engine; a context manager."""

    def __init__(self, client: Any, machine: Machine) -> None:
        self._client = client
        self.machine: Machine = machine

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
        return cls(docker.from_env(version=api, timeout=_PATIENCE), machine)

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
        except _TROUBLE as error:
            raise EngineError(_said(error)) from error
        labels = (found.attrs.get("Config") or {}).get("Labels") or {}
        machine = found.attrs.get("Architecture", "")
        return Image(found.id, found.attrs["Size"], labels, _MACHINES.get(machine, machine))

    def base(self, name: str) -> Image:
        """Return a base by its digest; one that is not here is pulled.

        Raises NotFoundError where there is none, EngineError where the registry refuses.
        """
        if there := self.image(name):
            return there
        if "@" not in name:
            raise NotFoundError(
                f"--base {name}: no such image here, and without a name none to pull"
            )
        try:
            self._client.images.pull(name)
        except docker.errors.NotFound as error:
            raise NotFoundError(f"--base {name}: {_said(error)}") from error
        except _TROUBLE as error:
            raise EngineError(f"--base {name} cannot be pulled: {_said(error)}") from error
        if (pulled := self.image(name)) is None:
            raise EngineError(f"--base {name} was pulled and is not there")
        return pulled

    def build(
        self,
        context: bytes,
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
                fileobj=io.BytesIO(context),
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
        except _TROUBLE as error:
            raise EngineError(f"the engine gave the build up: {_said(error)}") from error

    def sweep(self, fingerprint: str) -> None:
        """Remove what a build left, finished or not, besides its image: nothing refers to it, and it may hold a login."""
        mine = {"dangling": True, "label": f"{MARK}={fingerprint}"}
        with contextlib.suppress(*_TROUBLE):
            for found in self._client.images.list(filters=mine):
                with contextlib.suppress(docker.errors.APIError):  # another build stands on it
                    self._client.images.remove(found.id, force=True)

    @contextlib.contextmanager
    def container(
        self, image: str, command: Sequence[str] = ("true",), *, folder: str = "/"
    ) -> Iterator[Container]:
        """Own a container from its making to its removal: no network, no capability, nothing of this machine."""
        try:
            made = self._client.containers.create(
                image,
                list(command),
                entrypoint=[],
                working_dir=folder,
                labels={OWNER: f"{platform.node()}:{os.getpid()}"},
                network_disabled=True,
                cap_drop=["ALL"],
                security_opt=["no-new-privileges"],
                init=True,
            )
        except _TROUBLE as error:
            raise EngineError(f"no container can be made of {image}: {_said(error)}") from error
        try:
            yield Container(made)
        finally:
            with contextlib.suppress(*_TROUBLE):
                made.remove(force=True, v=True)


class Container:
    """A container that was made and may be started once."""

    def __init__(self, made: Any) -> None:
        self._made = made

    def put(self, archive: bytes) -> None:
        """Unpack a tar in it, at its root."""
        with _engine():
            self._made.put_archive("/", archive)

    def run(self, seconds: float) -> tuple[int, str]:
        """Start it and wait for its end; return exit code and what it printed. Raises EngineError after `seconds`."""
        with _engine():
            self._made.start()
            try:
                code = int(self._made.wait(timeout=seconds)["StatusCode"])
            except (requests.Timeout, requests.ConnectionError) as error:
                raise EngineError(f"a container gave no answer within {seconds:.0f} s") from error
            return code, self._made.logs().decode(errors="replace")

    def archive(self, path: str) -> Generator[bytes]:
        """Yield a file or folder of it as a tar. Raises NotFoundError where there is none."""
        with _engine():
            try:
                stream, _ = self._made.get_archive(path)
            except docker.errors.NotFound as error:
                raise NotFoundError(f"{path} is not in the image") from error
            yield from stream


def _told(host: str) -> dict[str, Any]:
    """Ask an engine what it is, by a connection of its own: one that found its version first could not be closed."""
    try:
        _knock(host)
        with contextlib.closing(docker.from_env(version=_ANY, timeout=_PATIENCE)) as client:
            told: dict[str, Any] = client.version(api_version=False)
            return told
    except (*_TROUBLE, OSError) as error:
        raise EngineError(_unreachable(host, error)) from error


def _knock(host: str) -> None:
    """Raise what the system says of the engine's socket; the library leaves its own one open where that refuses."""
    scheme, _, path = host.partition("://")
    if scheme == "unix":
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as tried:
            tried.connect(path)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise EngineError(_said(error)) from error


def _said(error: Exception) -> str:
    told = getattr(error, "explanation", None) or str(error)
    return " ".join(str(told).split())[:300]


def _unreachable(host: str, error: BaseException) -> str:
    """Say why no engine answers, by what is at the bottom of it."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, PermissionError):
            return f"no permission on {host}: add yourself to the group docker, or set DOCKER_HOST to a rootless engine"
        if isinstance(found, FileNotFoundError | ConnectionRefusedError):
            return f"no Docker engine answers at {host}: install docker and start it, or set DOCKER_HOST"
        found = found.__cause__ or found.__context__
    return f"no Docker engine answers at {host}: {_said(error) if isinstance(error, Exception) else ''}"
