"""The history of a repository, as a clone has it: commits, the main branch, release branches and tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final, Literal, NamedTuple

from packaging.version import InvalidVersion, Version

TagKind = Literal["release", "candidate", "nightly"]

_VERSION: Final = re.compile(r"v?(\d+(?:\.\d+)+(?:[-._+]?[A-Za-z0-9]+)*)", re.ASCII)
_NIGHTLY: Final = re.compile(r"nightly(?:[-_/.]|$)", re.IGNORECASE)
_RELEASES: Final = re.compile(r"(?:^|/)rel(?:eases?)?[-_/.]?v?\d", re.IGNORECASE)


class Commit(NamedTuple):
    """One commit: `time` is the committer's, in seconds since 1970."""

    sha: str
    parents: tuple[str, ...]
    time: int
    subject: str


class Tag(NamedTuple):
    """A tag that says what it is: a release ("v0.12.0"), a candidate ("v0.12.0rc1") or a nightly build."""

    name: str
    commit: str
    kind: TagKind
    version: str


class Said(NamedTuple):
    """What a commit's message says beside its subject: whole commits, and numbers of issues."""

    reverts: tuple[str, ...] = ()
    picked_from: tuple[str, ...] = ()
    fixes: tuple[int, ...] = ()


def is_release_branch(name: str) -> bool:
    """Say whether releases are cut from a branch of this name: `releases/v0.12.0`, `release-v0.6.16`."""
    return _RELEASES.search(name) is not None


def tag(name: str, commit: str) -> Tag | None:
    """Read a tag's name; None for one that names no build. A version of another build (`+rocm`) is none of ours."""
    if _NIGHTLY.match(name):
        return Tag(name, commit, "nightly", "")
    found = _VERSION.fullmatch(name)
    if found is None:
        return None
    try:
        version = Version(found[1])
    except InvalidVersion:
        return None
    if version.local:
        return None
    if version.is_devrelease:
        return Tag(name, commit, "nightly", str(version))
    return Tag(name, commit, "candidate" if version.is_prerelease else "release", str(version))


_REVERTS: Final = re.compile(r"^\s*This reverts commit ([0-9a-f]{7,64})\b", re.MULTILINE)
_PICKED: Final = re.compile(r"cherry[ -]picked from commit ([0-9a-f]{7,64})\b", re.IGNORECASE)
_FIXES: Final = re.compile(
    r"\b(?:fix(?:e[sd])?|close[sd]?|resolve[sd]?)\s*:?\s+#(\d+)\b", re.IGNORECASE
)


def said(message: str) -> Said:
    """Read what a message says of other commits and issues, in the words that git and GitHub know."""
    return Said(
        tuple(dict.fromkeys(_REVERTS.findall(message))),
        tuple(dict.fromkeys(_PICKED.findall(message))),
        tuple(dict.fromkeys(int(number) for number in _FIXES.findall(message))),
    )


class History:
    """Commits in topological order, children first, with the branches and tags that are of concern.

    `main`: the main branch's newest commit. `branches`: release branches, name to newest commit. `said`: what
    messages say, by commit. `shallow`: the clone was cut, so what is not in it may be in the repository.
    """

    def __init__(
        self,
        commits: Iterable[Commit],
        *,
        main: str,
        branches: Mapping[str, str],
        tags: Sequence[Tag],
        said: Mapping[str, Said],
        shallow: bool = False,
    ) -> None:
        self.commits = {commit.sha: commit for commit in commits}
        self.main, self.branches, self.said, self.shallow = (
            main,
            dict(branches),
            dict(said),
            shallow,
        )
        self.tags = tuple(tags)
        self.order = {sha: place for place, sha in enumerate(self.commits)}
        self._after: dict[str, frozenset[str]] = {}

    def tagged(self, tags: Iterable[Tag]) -> History:
        """Return the same history with more tags; those of commits that it lacks tell nothing and are left out."""
        more = [each for each in tags if each.commit in self.commits]
        return History(
            self.commits.values(),
            main=self.main,
            branches=self.branches,
            tags=(*self.tags, *more),
            said=self.said,
            shallow=self.shallow,
        )

    @cached_property
    def mainline(self) -> frozenset[str]:
        """Every commit that the main branch has."""
        return self.behind([self.main])

    @cached_property
    def apart(self) -> tuple[str, ...]:
        """Commits that only release branches, or the tags of releases, have."""
        tips = [*self.branches.values(), *(each.commit for each in self.tags)]
        return tuple(sorted(self.behind(tips) - self.mainline, key=self.order.__getitem__))

    @cached_property
    def releases(self) -> dict[Version, Tag]:
        """Tags of releases in the order of their versions; of two names for one version the first."""
        found: dict[Version, Tag] = {}
        for each in self.tags:
            if each.kind == "release":
                found.setdefault(Version(each.version), each)
        return dict(sorted(found.items()))

    def behind(self, tips: Iterable[str]) -> frozenset[str]:
        """Return commits and all that they are made of."""
        found: set[str] = set()
        waiting = [tip for tip in tips if tip in self.commits]
        while waiting:
            sha = waiting.pop()
            if sha not in found:
                found.add(sha)
                waiting += [each for each in self.commits[sha].parents if each in self.commits]
        return frozenset(found)

    def after(self, sha: str) -> frozenset[str]:
        """Return a commit and all that contain it."""
        if sha not in self._after:
            found = {sha}
            waiting = [sha]
            while waiting:
                for child in self._children.get(waiting.pop(), ()):
                    if child not in found:
                        found.add(child)
                        waiting.append(child)
            self._after[sha] = frozenset(found)
        return self._after[sha]

    def whole(self, short: str) -> str | None:
        """Return the one commit that begins with `short`; None where none or several do."""
        if short in self.commits:
            return short
        fitting = [sha for sha in self.commits if sha.startswith(short)] if len(short) >= 7 else []  # noqa: PLR2004 - git's own shortest
        return fitting[0] if len(fitting) == 1 else None

    @cached_property
    def _children(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for commit in self.commits.values():
            for parent in commit.parents:
                found.setdefault(parent, []).append(commit.sha)
        return found
