"""Sources that are kept: the exact commit of each pin that named a branch, tag or pull request, one file a stack."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
from packaging.version import InvalidVersion, Version

from images.git import Repository
from matrix.errors import ConfigurationError, OutsideError
from matrix.model import Model
from matrix.pin import Source
from matrix.wholefile import write

_DEFAULT: Final = ("setuptools", "wheel")
"""What builds a source that does not say (PEP 518)."""


class Pull(Model, frozen=True, kw_only=True):
    """A pull request and the commit that it ended in."""

    number: int
    commit: str


class Commit(Model, frozen=True, kw_only=True):
    """One package's source, exactly: `ref` is what was asked for, `commit` what it was.

    `merged`: the commit with the pull requests on it, `commit` itself without any; the same everywhere for the same
    commits. `tree`: the hash of its files. `version`: what the build is told that it is, where it asks git.
    """

    package: str
    repository: str
    ref: str
    commit: str
    pulls: tuple[Pull, ...] = ()
    merged: str
    tree: str
    version: str


class SourceLock(Model, frozen=True, kw_only=True):
    """What a stack's sources were, and when they were looked up (UTC). `asked` is a digest of the question."""

    stack: str
    resolved: str
    asked: str
    sources: tuple[Commit, ...]


def kept(
    stack: str,
    sources: Mapping[str, Source],
    repositories: Mapping[str, str],
    folder: Path,
    *,
    when: str,
    tell: Callable[[str], None],
    again: bool = False,
) -> SourceLock:
    """Return the commits of `sources`, from the lock where it answers the same question, else as they are now.

    `folder` holds `locks` and the copies of repositories. `again`: as they are now. Raises what `Repository` raises,
    and ConfigurationError for a lock that cannot be read or a package of which nobody says where its source is.
    """
    asked = _digest(stack, sources, repositories)
    path = folder / "locks" / f"{_stem(stack)}.sources.json"
    if not again and (there := _held(path, asked)):
        return there
    found: list[Commit] = []
    for package, source in sorted(sources.items()):
        url = repositories.get(package, "")
        if not url:
            raise ConfigurationError(
                f"{package}: nothing says where its source is; write it as a stack with repositories: {{{package}: URL}}"
            )
        tell(f"looking up {package}@{source.ref}")
        found.append(_resolved(package, source, Repository(url, folder / "git")))
    lock = SourceLock(stack=stack, resolved=when, asked=asked, sources=tuple(found))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutsideError(f"{path.parent}: {error.strerror}") from error
    write(path, msgspec.json.format(msgspec.json.encode(lock, order="sorted"), indent=1) + b"\n")
    return lock


def present(source: Commit, folder: Path) -> Repository:
    """Return the repository of a source with its commits in it, wherever the lock was made.

    Raises OutsideError where what they merge into is not what the lock says.
    """
    repository = Repository(source.repository, folder / "git")
    pulls = {pull.number: pull.commit for pull in source.pulls}
    if not repository.has(source.merged):
        repository.have((source.commit, *pulls.values()))
        merged = repository.merged(source.commit, pulls)
        if merged != source.merged or repository.tree(merged) != source.tree:
            raise OutsideError(
                f"{source.package}: git merges {source.ref} into {merged[:12]} here, and the lock says "
                f"{source.merged[:12]}: use the git that made the lock, or --relock"
            )
    return repository


def requirements(text: str, package: str) -> tuple[str, ...]:
    """Return what a `pyproject.toml` says that its build needs. Raises ConfigurationError where it cannot be read."""
    try:
        stated = tomllib.loads(text).get("build-system", {}).get("requires", _DEFAULT)
        return tuple(str(line) for line in stated)
    except (tomllib.TOMLDecodeError, AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"{package}: its pyproject.toml cannot be read: {error}"
        ) from error


def version(tag: str, beyond: int, commit: str, tree: str) -> str:
    """Return the version of a commit `beyond` a tag: `0.33.1.dev7+gabc1234`, the next release's development. Pure.

    `tree`: of what is built where that is more than the commit; its digits are told, too.
    """
    try:
        base = Version(tag.removeprefix("v"))
    except InvalidVersion:
        base, beyond = Version("0.0"), max(beyond, 1)
    more = f".t{tree[:8]}" if tree else ""
    if not beyond:
        return f"{base.public}+g{commit[:9]}{more}"
    *first, last = base.release
    release = ".".join(map(str, (*first, last if base.is_prerelease else last + 1)))
    return f"{release}.dev{beyond}+g{commit[:9]}{more}"


def told(source: Commit) -> str:
    """Return a source in one line: `https://host/vllm@<commit> + #7@<commit>`."""
    pulls = "".join(f" + #{pull.number}@{pull.commit}" for pull in source.pulls)
    return f"{source.repository}@{source.commit}{pulls}"


def _resolved(package: str, source: Source, repository: Repository) -> Commit:
    commit = repository.commit(source.ref)
    pulls = {number: repository.pull(number) for number in source.pulls}
    merged = repository.merged(commit, pulls)
    tree = repository.tree(merged)
    tag, beyond = repository.described(commit)
    return Commit(
        package=package,
        repository=repository.url,
        ref=source.ref,
        commit=commit,
        pulls=tuple(Pull(number=number, commit=head) for number, head in pulls.items()),
        merged=merged,
        tree=tree,
        version=version(tag, beyond, commit, tree if pulls else ""),
    )


def _held(path: Path, asked: str) -> SourceLock | None:
    try:
        lock = msgspec.json.decode(path.read_bytes(), type=SourceLock)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"{path}: {error}; --relock makes it again") from error
    return lock if lock.asked == asked else None


def _digest(stack: str, sources: Mapping[str, Source], repositories: Mapping[str, str]) -> str:
    told = [[name, held, repositories.get(name, "")] for name, held in sorted(sources.items())]
    content = msgspec.json.encode([stack, told], order="deterministic")
    return hashlib.sha256(content).hexdigest()[:16]


def _stem(stack: str) -> str:
    return re.sub(r"[^A-Za-z0-9.+=_-]+", "-", stack)[:100].lstrip("-.")
