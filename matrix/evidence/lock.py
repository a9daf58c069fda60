"""Locks: the whole tree of a stack with hashes, resolved by uv for another machine than this one."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from matrix.errors import ConfigurationError, NotFoundError, OutsideError, ToolError
from matrix.evidence.lockfile import Lock
from matrix.evidence.pipconfig import PipConfig
from matrix.model import Model

GLIBCS: Final = ("2.28", "2.35", "2.39")
"""What wheels may ask for, tried in this order: RHEL 8, Ubuntu 22.04 (and what else is of 2022), Ubuntu 24.04
(DGX OS 7, so every DGX Spark). The oldest that has a solution makes the lock that fits most machines."""

_KEPT: Final = ("UV_CACHE_DIR", "UV_NO_CACHE", "UV_KEYRING_PROVIDER", "UV_OFFLINE")
"""Of uv's own settings, those that cannot change what is resolved."""

_INPUT: Final = "stack.in"
_REQUIREMENT: Final = re.compile(r"(?!.*--)[A-Za-z0-9 ._,;<>=!~*+()\[\]'\"-]+")
_FILE_LINE: Final = re.compile(r"^(([A-Za-z0-9][\w.-]*)(?:\[[^\]]*\])?) @ file:\S+", re.MULTILINE)
_BECAUSE: Final = re.compile(r"\bBecause (.*?),? we can conclude")
_UNSOLVED: Final = (
    "No solution found",
    "URL dependencies must be expressed as direct requirements",
)
_WHEEL_WANTED: Final = re.compile(r"Wheels are required for `([^`]+)`")


class Wanted(Model, frozen=True, kw_only=True):
    """What to lock: requirement lines, and versions that hold against what any package requires.

    `requirements` holds the leading package and the pins that somebody wrote; everything else follows.
    """

    requirements: tuple[str, ...]
    overrides: tuple[str, ...] = ()


def requirement(text: str) -> str:
    """Return `text` as one line of uv's input; raises ConfigurationError for what is no plain requirement.

    A line there may also be an option, a path or a URL, and `${NAME}` in it is replaced.
    """
    try:
        read = Requirement(text)
    except InvalidRequirement:
        read = None
    if read is None or not _REQUIREMENT.fullmatch(str(read)):
        raise ConfigurationError(f"{text!r} is no requirement, such as torch==2.11.0")
    return str(read)


def wanted(
    pins: Mapping[str, str], extras: Sequence[str] = (), overrides: Sequence[str] = ()
) -> Wanted:
    """Turn the pins that stand in a stack's name or in `stacks.yaml` (the first leads) into uv's input.

    All but the first override: torch, for one, requires one cuDNN exactly, and a stack by hand may differ.
    `overrides` are further ones of the user's, as requirements; they win over the stack's. Raises
    ConfigurationError for one of the leading package, and for what is no requirement.
    """
    (lead, version), *others = pins.items()
    theirs = [requirement(override) for override in overrides]
    named = {canonicalize_name(Requirement(line).name) for line in theirs}
    if source := next((package for package, pin in pins.items() if pin.startswith("@")), ""):
        raise ConfigurationError(
            f"{source}{pins[source]} is built from source, and has no version before: nvfp4-matrix build"
        )
    if canonicalize_name(lead) in named:
        raise ConfigurationError(f"{lead} is what the stack is about: choose another with --stack")
    extra = f"[{','.join(extras)}]" if extras else ""
    written = [
        requirement(f"{package}=={pin}")
        for package, pin in others
        if canonicalize_name(package) not in named
    ]
    return Wanted(
        requirements=(requirement(f"{lead}{extra}=={version}"), *written),
        overrides=(*written, *theirs),
    )


def resolve(
    asked: Wanted,
    *,
    machine: str,
    python: str,
    config: PipConfig,
    allow_source: bool = False,
    environment: Mapping[str, str] | None = None,
    built: Mapping[str, Path] | None = None,
) -> Lock:
    """Resolve for Linux on `machine` with CPython `python` ("3.12"), from the indexes that pip would use.

    Wheels only, unless `allow_source`: then uv may run a source release's build to learn what it requires.
    `built` are wheels on this machine, by package: what they require counts, whatever an index has of that name.
    Raises NotFoundError where no set of releases fits, ToolError where uv fails otherwise.
    """
    settings = variables(config, os.environ if environment is None else environment)
    said = ""
    for glibc in GLIBCS:
        command = arguments(machine, python, glibc, allow_source=allow_source)
        if not config.indexes:
            command.append("--no-index")
        text, said = _compiled(_with(asked, built or {}), command, settings)
        if not said:
            return _checked(Lock(text=_named(text, asked), glibc=glibc))
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
        # An interpreter is asked for markers that the target does not settle; PATH may hold none.
        *("--python-version", python, "--python", sys.executable, "--no-python-downloads"),
        *("--index-strategy", "unsafe-best-match"),  # as pip does
        *("--generate-hashes", "--no-header", "--no-config", "--quiet", "--color", "never"),
    ]
    return chosen if allow_source else [*chosen, "--only-binary", ":all:"]


def variables(config: PipConfig, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which uv does what pip would: same indexes, certificates and proxy.

    Credentials stand here and nowhere else: not in an argument, not in a file.
    """
    found = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("UV_", "RUST_")) or name in _KEPT  # RUST_LOG, too, would be heard
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
    because = _BECAUSE.search(" ".join(words.split()))  # uv breaks its lines anywhere
    if because:
        return _line(because[1])
    lines = [re.sub(r"^\W*(error|cause|Caused by)\b:?", "", line) for line in words.splitlines()]
    told = [re.sub(r"^\W+", "", line).partition(" Consider ")[0].strip() for line in lines]
    return _line(": ".join([line for line in told if line][:2])) or "uv said nothing"


def _with(asked: Wanted, built: Mapping[str, Path]) -> Wanted:
    """Put the files of wheels that were built in the place of their versions."""

    def line(text: str) -> str:
        read = Requirement(text)
        file = built.get(canonicalize_name(read.name))
        extras = f"[{','.join(sorted(read.extras))}]" if read.extras else ""
        return f"{read.name}{extras} @ {file.absolute().as_uri()}" if file else text

    return Wanted(
        requirements=tuple(map(line, asked.requirements)),
        overrides=tuple(map(line, asked.overrides)),
    )


def _named(text: str, asked: Wanted) -> str:
    """Name wheels that were built by their version: where they lie is no part of a lock, what they are is its hash."""
    versions = {
        canonicalize_name(read.name): str(read.specifier)
        for read in map(Requirement, (*asked.overrides, *asked.requirements))
    }
    return _FILE_LINE.sub(lambda found: f"{found[1]}{versions[canonicalize_name(found[2])]}", text)


def _checked(lock: Lock) -> Lock:
    if lock.unhashed:
        raise NotFoundError(
            f"the index gives no hash for {', '.join(lock.unhashed)}: pip would refuse the lock"
        )
    return lock


def _compiled(
    asked: Wanted, command: Sequence[str], settings: Mapping[str, str]
) -> tuple[str, str]:
    """Return the lock's text, or "" and what uv said when there is no solution."""
    try:
        with TemporaryDirectory(prefix="nvfp4-matrix-") as folder:
            place = Path(folder)
            (place / _INPUT).write_text(_lines(asked.requirements), encoding="utf-8")
            (place / "overrides.in").write_text(_lines(asked.overrides), encoding="utf-8")
            said = _run(command, place, settings)
            return ("", said) if said else ((place / "out.txt").read_text(encoding="utf-8"), "")
    except OSError as error:
        raise OutsideError(f"cannot write temporary files: {error.strerror}") from error


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
    if done.returncode < 0:
        raise ToolError(f"uv was ended: {signal.strsignal(-done.returncode)}")
    if any(words in done.stderr for words in _UNSOLVED):
        return done.stderr
    raise ToolError(f"uv: {telling(done.stderr)}")


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
