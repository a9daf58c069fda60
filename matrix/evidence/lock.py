"""Locks: the whole tree of a stack with hashes, resolved by uv for another machine than this one."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from matrix.errors import ConfigurationError, NotFoundError, OutsideError, ToolError
from matrix.evidence.pipconfig import PipConfig
from matrix.model import Model

GLIBCS: Final = ("2.28", "2.35", "2.39")
"""What wheels may ask for, tried in this order: RHEL 8, Ubuntu 22.04 (and what else is of 2022), Ubuntu 24.04
(DGX OS 7, so every DGX Spark). The oldest that has a solution makes the lock that fits most machines."""

_KEPT: Final = ("UV_CACHE_DIR", "UV_NO_CACHE", "UV_KEYRING_PROVIDER", "UV_OFFLINE")
"""Of uv's own settings, those that cannot change what is resolved."""

_INPUT: Final = "stack.in"
_PINNED: Final = re.compile(r"^([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?==([^\s;\\]+)(.*)$")
_BECAUSE: Final = re.compile(r"\bBecause (.*?),? we can conclude", re.DOTALL)
_WHEEL_WANTED: Final = re.compile(r"Wheels are required for `([^`]+)`")


class Wanted(Model, frozen=True, kw_only=True):
    """What to lock: requirement lines, and versions that hold against what any package requires.

    `requirements` holds the leading package and the pins that somebody wrote; everything else follows.
    """

    requirements: tuple[str, ...]
    overrides: tuple[str, ...] = ()


class Lock(Model, frozen=True, kw_only=True):
    """A resolved tree in the form of requirements.txt. `glibc`: the oldest that its wheels run on."""

    text: str
    glibc: str

    @property
    def versions(self) -> dict[str, str]:
        """Package → version of every line."""
        return {name: version for name, version, _ in _entries(self.text)}

    @property
    def unhashed(self) -> tuple[str, ...]:
        """Packages without a hash, which pip would refuse."""
        return tuple(name for name, _, hashes in _entries(self.text) if not hashes)


def wanted(
    pins: Mapping[str, str], extras: Sequence[str] = (), overrides: Sequence[str] = ()
) -> Wanted:
    """Turn the pins that stand in a stack's name or in `stacks.yaml` (the first leads) into uv's input.

    All but the first override: torch, for one, requires one cuDNN exactly, and a stack by hand may differ.
    `overrides` are further ones of the user's, as requirements.
    """
    (lead, version), *others = pins.items()
    extra = f"[{','.join(extras)}]" if extras else ""
    written = tuple(f"{package}=={pin}" for package, pin in others)
    return Wanted(
        requirements=(f"{lead}{extra}=={version}", *written), overrides=(*written, *overrides)
    )


def resolve(
    asked: Wanted,
    *,
    machine: str,
    python: str,
    config: PipConfig,
    allow_source: bool = False,
    environment: Mapping[str, str] | None = None,
) -> Lock:
    """Resolve for Linux on `machine` with CPython `python` ("3.12"), from the indexes that pip would use.

    Wheels only, unless `allow_source`: then uv may run a source release's build to learn what it requires.
    Raises NotFoundError where no set of releases fits, ToolError where uv fails otherwise.
    """
    settings = variables(config, os.environ if environment is None else environment)
    said = ""
    for glibc in GLIBCS:
        with TemporaryDirectory(prefix="nvfp4-matrix-") as folder:
            place = Path(folder)
            (place / _INPUT).write_text(_lines(asked.requirements), encoding="utf-8")
            (place / "overrides.in").write_text(_lines(asked.overrides), encoding="utf-8")
            command = arguments(machine, python, glibc, allow_source=allow_source)
            if not config.indexes:
                command.append("--no-index")
            said = _run(command, place, settings)
            out = place / "out.txt"
            if not said:
                return _checked(Lock(text=out.read_text(encoding="utf-8"), glibc=glibc))
        if "wheel" not in said:
            break  # a newer glibc brings more wheels and nothing else
    raise NotFoundError(
        f"{asked.requirements[0]} cannot be locked for {machine}: {telling(said)}"
        f"{_advice(said, machine, python)}"
    )


def arguments(machine: str, python: str, glibc: str, *, allow_source: bool) -> list[str]:
    """Return uv's arguments, its program not included."""
    chosen = [
        *("pip", "compile", _INPUT, "--override", "overrides.in", "--output-file", "out.txt"),
        *("--python-platform", f"{machine}-manylinux_{glibc.replace('.', '_')}"),
        *("--python-version", python, "--index-strategy", "unsafe-best-match"),  # as pip does
        *("--generate-hashes", "--no-header", "--no-config", "--no-python-downloads", "--quiet"),
    ]
    return chosen if allow_source else [*chosen, "--only-binary", ":all:"]


def variables(config: PipConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which uv does what pip would: same indexes, certificates and proxy.

    Credentials stand here and nowhere else: not in an argument, not in a file.
    """
    found = {
        name: value
        for name, value in environment.items()
        if not name.startswith("UV_") or name in _KEPT
    }
    connection = config.connection
    # pip gives its indexes no rank; uv stops at the first one that holds a version. Extra indexes are
    # often partial mirrors, so they stand in pip's order behind the main one.
    *first, last = [_with_login(url, connection.logins) for url in config.indexes] or [""]
    found["UV_INDEX"] = " ".join(url or _default() for url in first)
    found["UV_DEFAULT_INDEX"] = last
    found["UV_FIND_LINKS"] = ",".join(_places(config.find_links))
    found["UV_HTTP_TIMEOUT"] = str(max(1, round(connection.timeout)))
    found["UV_HTTP_RETRIES"] = str(connection.retries)
    found["UV_INSECURE_HOST"] = " ".join(connection.trusted_hosts)
    if connection.ca_bundle:
        folder = Path(connection.ca_bundle).is_dir()
        found["SSL_CERT_DIR" if folder else "SSL_CERT_FILE"] = connection.ca_bundle
    if connection.client_certificate:
        found["SSL_CLIENT_CERT"] = connection.client_certificate
    if connection.proxy:
        found |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), connection.proxy)
        found |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), connection.proxy)
    return {name: value for name, value in found.items() if value or not name.startswith("UV_")}


def telling(said: str) -> str:
    """Give the first telling line of what uv said: why there is no solution, or what failed.

    Without credentials: uv hides passwords, and the user's name goes too.
    """
    words = re.sub(r"://[^/@\s]*@", "://", said)
    because = _BECAUSE.search(words)
    if because:
        return _line(because[1])
    lines = [re.sub(r"^\W*(error|cause|Caused by)\b:?", "", line) for line in words.splitlines()]
    told = [re.sub(r"^\W+", "", line).strip() for line in lines]
    return _line(": ".join([line for line in told if line][:2])) or "uv said nothing"


def differences(locked: Mapping[str, str], pins: Mapping[str, str]) -> Iterator[str]:
    """Tell where a lock is not what the matrix judged: "torch 2.13.0+cpu, judged with 2.13.0"."""
    for package, version in pins.items():
        got = locked.get(package, "")
        if version and got != version:
            yield f"{package} {got or 'absent'}, judged with {version}"


def check_place(path: Path) -> None:
    """Raise ConfigurationError where `path` cannot be written: better before the resolving than after."""
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ConfigurationError(f"{path}: no folder to write that file into")
    if not os.access(path.absolute().parent, os.W_OK):
        raise ConfigurationError(f"{path}: its folder cannot be written to")


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises OutsideError where the disk refuses."""
    part = None
    try:
        with NamedTemporaryFile(
            "w", dir=path.absolute().parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
        ) as file:
            part = Path(file.name)
            file.write(text)
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def _checked(lock: Lock) -> Lock:
    if lock.unhashed:
        raise NotFoundError(
            f"the index gives no hash for {', '.join(lock.unhashed)}: pip would refuse the lock"
        )
    return lock


def _run(command: Sequence[str], place: Path, settings: Mapping[str, str]) -> str:
    """Run uv; return "" when it wrote its output, and what it said when there is no solution."""
    from uv import find_uv_bin  # noqa: PLC0415 - only a lock needs it

    try:
        done = subprocess.run(  # noqa: S603 - uv's own program, arguments made here
            [find_uv_bin(), *command],
            cwd=place,
            env=dict(settings),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise ToolError(f"uv cannot be run ({error}): install this program again") from error
    if done.returncode == 0:
        return ""
    if "No solution found" in done.stderr:
        return done.stderr
    raise ToolError(f"uv: {telling(done.stderr)}")


def _entries(text: str) -> Iterator[tuple[str, str, int]]:
    """Yield (package, version, number of hashes) of every requirement in a lock."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if pinned := _PINNED.match(line):
            yield pinned[1].lower(), pinned[2], pinned[3].count("--hash=")


def _lines(requirements: Sequence[str]) -> str:
    return "".join(f"{requirement}\n" for requirement in requirements)


def _line(text: str) -> str:
    longest = 300
    line = " ".join(re.sub(r"\{[^}]*\}", "", text).split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def _advice(said: str, machine: str, python: str) -> str:
    """Say what the user can do."""
    found = _WHEEL_WANTED.search(said)
    if found:
        return (
            f"; {found[1]} has no wheel for {machine}, Python {python} and glibc {GLIBCS[-1]} or older: "
            "--allow-source locks source releases too, which pip then builds"
        )
    return "; try --stack for another release, another --python, or --override for one requirement"


def _with_login(url: str, logins: Sequence[tuple[str, str, str]]) -> str:
    parts = urlsplit(url)
    for netloc, user, password in logins:
        if netloc == parts.netloc:
            login = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
            return urlunsplit(parts._replace(netloc=f"{login}@{netloc}"))
    return url


def _default() -> str:
    from pypi_simple import PYPI_SIMPLE_ENDPOINT  # noqa: PLC0415 - only a lock needs it

    return PYPI_SIMPLE_ENDPOINT


def _places(find_links: Sequence[str]) -> Iterator[str]:
    """Yield the places that are there, absolute: uv runs elsewhere, and stops at a missing one."""
    for place in find_links:
        if urlsplit(place).scheme in ("http", "https", "file"):
            yield place
        elif (path := Path(place).expanduser()).exists():
            yield str(path.absolute())
