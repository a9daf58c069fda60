"""What is sent to the engine for a build: one tar, with what the installation alone needs beside the Dockerfile. Pure."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Final
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec

from images.recipe import Recipe, dockerfile
from matrix.errors import ConfigurationError
from matrix.evidence.pipconfig import PipConfig
from matrix.evidence.transport import Connection, redact, split_login

CA_BUNDLE: Final = "/build/ca.pem"
_PROXIES: Final = ("http_proxy", "https_proxy", "no_proxy")


def reachable(config: PipConfig) -> PipConfig:
    """Leave out what a container cannot see: indexes and wheels in folders of this machine."""
    return msgspec.structs.replace(
        config,
        indexes=tuple(url for url in config.indexes if not url.startswith("file:")),
        find_links=(),
    )


def settled(config: PipConfig, indexes: Iterable[str], ca_bundle: str) -> PipConfig:
    """Put what the command line says in the place of what pip is told; "" and nothing leave that as it is.

    Raises ConfigurationError for what is no index that a container can reach.
    """
    clean: list[str] = []
    logins = list(config.connection.logins)
    for index in indexes:
        url, login = split_login(index)
        if not url.startswith(("http://", "https://")) or not _plain(index):
            raise ConfigurationError(f"--index {redact(url)}: is no http or https URL")
        clean.append(url)
        logins += [login] if login else []
    connection = msgspec.structs.replace(
        config.connection,
        ca_bundle=ca_bundle or config.connection.ca_bundle,
        logins=tuple(logins),
    )
    return msgspec.structs.replace(
        config, indexes=tuple(clean) or config.indexes, connection=connection
    )


def with_indexes(config: PipConfig, indexes: Iterable[str]) -> PipConfig:
    """Add the indexes that pins name, behind those that are there."""
    more = tuple(url for url in dict.fromkeys(indexes) if url and url not in config.indexes)
    return msgspec.structs.replace(config, indexes=(*config.indexes, *more))


def pip_conf(config: PipConfig) -> str:
    """Return pip's configuration for the build, with logins. Raises ConfigurationError for a line's end in one."""
    first, *more = [_with_login(url, config.connection) for url in config.indexes] or [""]
    connection = config.connection
    told = {
        "index-url": first,
        "extra-index-url": " ".join(url for url in more if url),
        "trusted-host": " ".join(connection.trusted_hosts),
        "proxy": connection.proxy,
        "cert": CA_BUNDLE if connection.ca_bundle else "",
        "timeout": str(connection.timeout),
        "retries": str(connection.retries),
        "no-input": "true",
        "disable-pip-version-check": "true",
        "no-cache-dir": "true",
        "no-index": "" if config.indexes else "true",
    }
    for name, value in told.items():
        if not _plain(value.replace(" ", "")):
            raise ConfigurationError(f"pip's {name} holds a character that its files cannot hold")
    return "[global]\n" + "".join(f"{name} = {value}\n" for name, value in told.items() if value)


def proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy settings as build arguments: those names are the engine's own, and it keeps none of them."""
    found: dict[str, str] = {}
    for name in _PROXIES:
        value = environment.get(name) or environment.get(name.upper(), "")
        if value:
            found |= {name: value, name.upper(): value}
    return found


@contextlib.contextmanager
def context(
    made: Recipe, config: PipConfig, ca_bundle: bytes, wheels: Iterable[Path] = ()
) -> Iterator[IO[bytes]]:
    """Yield the build's context as a tar: the same bytes for the same values. `wheels` lie on this machine."""
    files = {
        "Dockerfile": dockerfile(made).encode(),
        "lock.txt": ("\n".join(made.lock) + "\n").encode(),
        "pip.conf": pip_conf(config).encode(),
        "ca.pem": ca_bundle,
    }
    with TemporaryFile() as output:
        output.write(tarred(files))
        output.seek(0)
        with tarfile.open(fileobj=output, mode="a", format=tarfile.PAX_FORMAT) as archive:
            for wheel in wheels:  # a gigabyte is not held in memory
                entry = _entry(f"wheelhouse/{wheel.name}", 0, kind=tarfile.REGTYPE, mode=0o644)
                entry.size = wheel.stat().st_size
                with wheel.open("rb") as content:
                    archive.addfile(entry, content)
        output.seek(0)
        yield output


def tarred(files: Mapping[str, bytes], *, uid: int = 0) -> bytes:
    """Return `files` (by path, without a leading slash) as a tar; its folders belong to `uid`, and are closed to others."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=tarfile.PAX_FORMAT) as archive:
        folders: set[str] = set()
        for name, content in files.items():
            *parents, _ = name.split("/")
            # /tmp and the like are there: only what is made for these files is told of.
            for depth in range(2, len(parents) + 1):
                folder = "/".join(parents[:depth])
                if folder not in folders:
                    folders.add(folder)
                    archive.addfile(_entry(folder, uid, kind=tarfile.DIRTYPE, mode=0o700))
            entry = _entry(name, uid, kind=tarfile.REGTYPE, mode=0o644)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return output.getvalue()


def _entry(name: str, uid: int, *, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.uid, entry.gid = kind, mode, uid, uid
    return entry


def _with_login(url: str, connection: Connection) -> str:
    parts = urlsplit(url)
    for netloc, user, password in connection.logins:
        if netloc == parts.netloc:
            login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
            return urlunsplit(parts._replace(netloc=f"{login}@{netloc}"))
    return url


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
