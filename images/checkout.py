"""A commit as plain files, with its submodules, each at the commit that the one above names."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from images.git import Repository
from matrix.errors import OutsideError

_DEEPEST: Final = 5
"""Repositories inside repositories; FlashInfer's own have two."""

_MODULES: Final = "modules"
"""Where copies of submodules are kept: without history, so apart from those that pull requests are merged in."""


def laid_out(repository: Repository, commit: str, place: Path, depth: int = 0) -> None:
    """Write a commit's files into `place`. Raises OutsideError for a submodule that is outside or of this machine."""
    for inside in repository.laid_out(commit, place):
        below = place / inside.path
        if depth >= _DEEPEST or not below.resolve().is_relative_to(place.resolve()):
            raise OutsideError(
                f"{repository.url}: has a submodule at {inside.path!r}, too deep or outside"
            )
        folder = repository.folder if depth else repository.folder / _MODULES
        other = Repository(inside.url, folder)
        if other.local and not repository.local:
            raise OutsideError(f"{repository.url}: names a folder of this machine as its submodule")
        other.only(inside.commit)
        laid_out(other, inside.commit, below, depth + 1)
