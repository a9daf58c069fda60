"""A registry: an image is pushed there, or fetched from it. The engine does it, with the login that docker has for it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import docker.errors

from images.engine.trouble import TROUBLE, said
from images.reference import Reference
from matrix.errors import EngineError, NotFoundError

PAUSES: Final = (2.0, 8.0)
"""Seconds before the network is tried again."""

_SILENCE: Final = 900
"""Seconds in which the engine may say nothing: a registry that puts gigabytes away takes minutes."""

_TOLD: Final = 10.0
"""Seconds between two lines on the way."""

_RETRYING: Final = "Retrying in"
"""What the engine says of a layer that it sends again by itself, five times: more of that is no help."""

_GONE: Final = ("manifest unknown", "not found", "name unknown", "repository does not exist")
_NETWORK: Final = (
    "connection refused", "connection reset", "broken pipe", "EOF", "timeout", "timed out", "Temporary failure",
    "server misbehaving", "network is unreachable", "no route to host", "502", "503", "504", "500 Internal",
    "exceeded while awaiting", "use of closed network",
)  # fmt: skip
_ADVICE: Final = (
    (("no basic auth credentials", "unauthorized", "authentication required", "incorrect username", "401"), "log in first: docker login {host}"),
    (("denied", "403", "insufficient_scope"), "what docker login {host} was given may not do that"),
    (("HTTP response to HTTPS client", "first record does not look like a TLS handshake"), "it has no TLS: give it one, or name it in the engine's insecure-registries"),
    (("x509", "certificate", "tls:"), "the engine does not trust it: put its CA into /etc/docker/certs.d/{host}/ca.crt where the engine runs"),
    (("no such host", "server misbehaving"), "the engine's machine finds no such host: see to the name"),
    (("toomanyrequests", "429"), "it asks for patience: log in (docker login {host}), or try later"),
    (("no space left", "insufficient_storage", "507"), "a disk is full there or here"),
    (("Credentials store",), "see to credsStore in docker's config.json"),
)  # fmt: skip


class _Refused(Exception):  # noqa: N818 - no error of the user's yet
    """What a registry or the engine said; `again`: whether the network alone may have been it."""

    def __init__(self, text: str, *, again: bool) -> None:
        super().__init__(text)
        self.again = again and any(sign in text for sign in _NETWORK)


def push(client: Any, image: str, to: Reference, tell: Callable[[str], None]) -> str:
    """Push an image, by its id, and return it by digest: "HOST/NAME@sha256:…". What is there is not sent again.

    Raises EngineError, with what to do, for what is refused or cut off.
    """
    named = _named(client, image, to)

    def send() -> str:
        with _patient(client):
            return _heard(
                client.api.push(to.repository, tag=to.tag, stream=True, decode=True), to, tell
            )

    tell(f"pushing to {to}")
    try:
        digest = _tried(send, f"{to} cannot be pushed", to.host, tell)
    except BaseException:
        if not named:
            with contextlib.suppress(*TROUBLE):
                client.api.remove_image(str(to), noprune=True)
        raise
    return f"{to.repository}@{digest}"


def _named(client: Any, image: str, to: Reference) -> bool:
    """Give the image that name, which a push goes by; return whether it, or another, had it before."""
    try:
        try:
            client.api.inspect_image(str(to))
        except docker.errors.ImageNotFound:
            named = False
        else:
            named = True
        client.api.tag(image, to.repository, to.tag)
    except TROUBLE as error:
        raise EngineError(f"{to} cannot be made a name of the image: {said(error)}") from error
    return named


def pull(client: Any, name: str, host: str, tell: Callable[[str], None], what: str = "") -> None:
    """Pull an image by tag or digest. Raises NotFoundError where the registry has none, EngineError where it refuses."""
    repository, separator, version = name.partition("@")
    if not separator:
        repository, _, version = name.rpartition(":")

    def fetch() -> str:
        for line in client.api.pull(repository, tag=version, stream=True, decode=True):
            if failure := line.get("error"):
                raise _Refused(failure, again=True)
        return ""

    _tried(fetch, f"{what}{name} cannot be pulled", host, tell)


def _tried(work: Callable[[], str], what: str, host: str, tell: Callable[[str], None]) -> str:
    for pause in (*PAUSES, None):
        try:
            return work()
        except docker.errors.NotFound as error:
            raise NotFoundError(f"{what}: {said(error)}") from error
        except (_Refused, *TROUBLE) as error:
            refused = (
                error if isinstance(error, _Refused) else _Refused(said(error), again=_asks(error))
            )
            text = " ".join(str(refused).split())[:300]
            if any(sign in text for sign in _GONE):
                raise NotFoundError(f"{what}: {text}") from error
            if pause is None or not refused.again:
                raise EngineError(f"{what}: {text}; {advice(text, host)}") from error
            tell(f"{what}: {text}; once more in {pause:.0f} s")
            time.sleep(pause)
    raise AssertionError  # the last one returns or raises


def _asks(error: Exception) -> bool:
    """Whether the engine itself answered: where that was cut off, its registry is not to blame."""
    return isinstance(error, docker.errors.APIError)


def advice(text: str, host: str) -> str:
    """Say what a user can do about what a registry said."""
    for signs, told in _ADVICE:
        if any(sign in text for sign in signs):
            return told.format(host=host)
    return f"see to {host} and the way there"


def _heard(lines: Iterable[Mapping[str, Any]], to: Reference, tell: Callable[[str], None]) -> str:
    """Follow a push to its end and return the digest."""
    digest, again = "", True
    sent: dict[str, tuple[int, int]] = {}
    last, before = time.monotonic(), ""
    for line in lines:
        if failure := line.get("error"):
            raise _Refused(failure, again=again)
        status, layer = line.get("status", ""), line.get("id", "")
        if again and status.startswith(_RETRYING):
            again = False
            tell(f"pushing to {to}: a layer was cut off, and the engine sends it again")
        detail = line.get("progressDetail") or {}
        if status == "Pushing" and "total" in detail:
            sent[layer] = (min(detail["current"], detail["total"]), detail["total"])
        elif status == "Pushed" and layer in sent:
            sent[layer] = (sent[layer][1], sent[layer][1])
        digest = (line.get("aux") or {}).get("Digest", digest)
        if sent and time.monotonic() - last > _TOLD:
            last = time.monotonic()
            done, whole = (sum(column) / 1e9 for column in zip(*sent.values(), strict=True))
            if (told := f"{done:.1f} of {whole:.1f} GB") != before:
                before = told
                tell(f"pushing to {to}: {told}")
    if not digest.startswith("sha256:"):
        raise _Refused("it was pushed, and the engine names no digest", again=False)
    return digest


@contextlib.contextmanager
def _patient(client: Any) -> Iterator[None]:
    """Let the engine be silent for longer than for other answers; `push` takes no limit of its own."""
    before, client.api.timeout = client.api.timeout, _SILENCE
    try:
        yield
    finally:
        client.api.timeout = before
