"""What was published of a repository beside its tags: nightly wheels and images, by the names that say their commit. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple

from packaging.version import InvalidVersion, Version

from matrix.errors import ConfigurationError

_COMMIT: Final = re.compile(r"(?:\+g|nightly-|[-.]g|\b)([0-9a-f]{7,40})(?![0-9A-Za-z])")
_GIVEN: Final = re.compile(r"[0-9a-f]{7,40}")
_TAGGED: Final = re.compile(r":v?(\d+(?:\.\d+)+[A-Za-z0-9.]*)")
_LONGEST: Final = 300


class Build(NamedTuple):
    """One build: `commit` and `version` are what its name says, "" where it says none."""

    name: str
    kind: Literal["nightly", "image"]
    commit: str
    version: str = ""


def builds(lines: Iterable[str], file: str) -> Iterator[Build]:
    """Read a list of builds, the oldest first: `NAME [COMMIT]` a line, `#` opens a comment.

    A name with `:` is an image. Raises ConfigurationError for a line whose build nothing ties to a commit.
    """
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, given = words[0][:_LONGEST], words[1:]
        kind: Literal["nightly", "image"] = "image" if ":" in name or "/" in name else "nightly"
        if given and not (len(given) == 1 and _GIVEN.fullmatch(given[0])):
            raise ConfigurationError(f"{file}:{number}: a line is NAME, or NAME and a commit")
        found = _COMMIT.search(name)
        commit = given[0] if given else found[1] if found else ""
        version = "" if commit else _version(name)
        if not commit and not version:
            raise ConfigurationError(
                f"{file}:{number}: {name[:80]!r} does not tell a commit; write it behind the name"
            )
        yield Build(name, kind, commit, version)


def _version(name: str) -> str:
    """Return the release that an image is tagged with."""
    found = _TAGGED.search(name)
    try:
        return str(Version(found[1])) if found else ""
    except InvalidVersion:
        return ""
