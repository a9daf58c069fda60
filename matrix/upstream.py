"""What is watched upstream, as `upstream.yaml` states it: changes, and what they should change here."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from matrix.model import Model

Repository = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+$")]
"""Owner and name, as GitHub has them."""

Kind = Literal["pull", "issue", "commit"]


class WatchedRepository(Model, frozen=True, kw_only=True):
    """A repository whose history is read. `package`: the distribution that it releases.

    `url`: where it is cloned from, "" for GitHub.
    """

    repository: Repository
    package: str
    url: str = ""

    @property
    def remote(self) -> str:
        """Return where it is cloned from."""
        return self.url or f"https://github.com/{self.repository}.git"


class Watched(Model, frozen=True, kw_only=True):
    """A change that is waited for, and the capabilities and targets whose evidence it should change.

    A pull request or issue has a `number`, a commit its hash. `title`: in our own words. Which state it is in is
    never stated here: it is computed, or unknown.
    """

    watch: Annotated[str, Meta(pattern=r"^[a-z0-9._-]+[#@][0-9a-f]+$")]
    repository: Repository
    kind: Kind = "pull"
    number: Annotated[int, Meta(ge=0)] = 0
    commit: Annotated[str, Meta(pattern=r"^([0-9a-f]{7,40})?$")] = ""
    title: str
    capabilities: tuple[str, ...]
    targets: tuple[str, ...]
    source: Annotated[str, Meta(pattern=r"^https://")]
    note: str = ""

    @property
    def is_named(self) -> bool:
        """Say whether it has the one name that its kind has: a number, or a commit."""
        of_commit = self.kind == "commit"
        return bool(self.commit) == of_commit and bool(self.number) != of_commit


class UpstreamFile(Model, frozen=True, kw_only=True):
    """The content of `upstream.yaml`."""

    repositories: tuple[WatchedRepository, ...]
    watched: tuple[Watched, ...]

    def package_of(self, repository: str) -> str:
        """Give the distribution that a watched repository releases."""
        return next(one.package for one in self.repositories if one.repository == repository)
