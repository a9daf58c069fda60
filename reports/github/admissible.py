"""What may stand in a path, a marker or a text of ours: everything that a user names is held against it."""

from __future__ import annotations

import re
from typing import Final

from matrix.errors import ConfigurationError

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._/]|-(?!-)){0,79}")
_COMMIT: Final = re.compile(r"[0-9a-fA-F]{40}|[0-9a-fA-F]{64}")
_BRANCH: Final = re.compile(
    r"(?!.*(?:\.\.|//|\.lock(?:/|$)))[A-Za-z0-9][A-Za-z0-9._/-]{0,199}(?<![./])"
)
_LINK: Final = re.compile(r"https?://[^\s<>\"`|\\]+")


def admit(*, commit: str | None, branch: str, link: str | None, name: str) -> None:
    """Refuse what GitHub would not take, or what could mean something else; no `commit`: none is needed.

    Raises ConfigurationError.
    """
    if commit is not None and not _COMMIT.fullmatch(commit):
        raise ConfigurationError(f"--commit {commit!r}: needed, as all 40 digits of it")
    if branch and not _BRANCH.fullmatch(branch):
        raise ConfigurationError(f"--branch {branch!r}: is no name of a branch")
    if link is not None and not _LINK.fullmatch(link):
        raise ConfigurationError(f"--link {link!r}: is no http address")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"--name {name!r}: letters, digits, '.', '_', '/' and single '-'")
