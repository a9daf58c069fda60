"""What was published of a repository beside its tags: releases, nightly wheels and images, by the commit that they are of. Pure."""

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


Kind = Literal["release", "nightly", "image"]


class Build(NamedTuple):
    """One build: `commit` and `version` are what its name says, "" where it says none."""

    name: str
    kind: Kind
    commit: str
    version: str = ""


def builds(lines: Iterable[str], file: str) -> Iterator[Build]:
    """Read a list of builds, the oldest first: `NAME [COMMIT]` a line, `#` opens a comment.

    A name with `:` is an image, `PACKAGE==VERSION` a release. Raises ConfigurationError for a line whose build nothing ties to a commit.
    """
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        name, given = words[0][:_LONGEST], words[1:]
        kind = _kind(name)
        if given and not (len(given) == 1 and _GIVEN.fullmatch(given[0])):
            raise ConfigurationError(f"{file}:{number}: a line is NAME, or NAME and a commit")
        found = _COMMIT.search(name)
        commit = given[0] if given else found[1] if found else ""
        if kind == "release":
            version = _parsed(name.partition("==")[2])
            commit = given[0] if given and version else ""
        else:
            version = "" if commit else _version(name)
        if not commit and (kind == "release" or not version):
            raise ConfigurationError(
                f"{file}:{number}: {name[:80]!r} does not tell a commit; write it behind the name"
            )
        yield Build(name, kind, commit, version)


def _kind(name: str) -> Kind:
    if "==" in name:
        return "release"
    return "image" if ":" in name or "/" in name else "nightly"


def _version(name: str) -> str:
    """Return the release that an image is tagged with."""
    found = _TAGGED.search(name)
    return _parsed(found[1]) if found else ""


def _parsed(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        return ""
