"""The `git` program as images are made with it: with nothing of the surroundings, and nothing fetched is obeyed.

Clones of upstream are read by `matrix.evidence.git`, which obeys the user's settings of the network and no clone's.

No hooks, no filters, no helpers of submodules; only https and ssh are spoken, and a folder is read where the user
named one.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from matrix.errors import OutsideError, ToolError
from matrix.evidence.git import surroundings, writer

_SAFE: Final = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.attributesFile="),
    *("-c", "protocol.allow=never", "-c", "protocol.https.allow=always"),
    *("-c", "protocol.ssh.allow=always", "-c", "submodule.recurse=false"),
    *("-c", "fetch.recurseSubmodules=false", "-c", "gc.auto=0", "-c", "advice.detachedHead=false"),
)
_FIXED: Final = {
    **writer(),
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
}
"""Who merges and when, so that the same commits merge into the same commit."""

_MINUTES: Final = 60


def run(
    arguments: tuple[str, ...],
    *,
    local: bool = False,
    asks: bool = False,
    told: str = "",
    more: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run git with nothing of the surroundings that could change what it does, and nobody to be asked.

    What it does with files it does without the user's settings, which may name filters to be run on them.
    """
    mine = {**_FIXED, "GIT_ATTR_NOSYSTEM": "1"}
    if not asks:
        mine |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    allowed = ("-c", "protocol.file.allow=always") if local else ()
    try:
        return subprocess.run(  # noqa: S603 - git, with what was matched whole against a pattern
            ["git", *_SAFE, *allowed, *arguments],  # noqa: S607 - the user's own
            env={**surroundings(), **mine, **(more or {})},
            input=told,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            check=False,
            timeout=_MINUTES * 60,
        )
    except FileNotFoundError as error:
        raise ToolError("git is not installed; a commit needs it") from error
    except subprocess.TimeoutExpired as error:
        raise OutsideError(f"git gave no answer within {_MINUTES} minutes") from error


def shown(url: str) -> str:
    """Return a URL without its login, cut short."""
    parts = urlsplit(url) if "://" in url else None
    clean = (
        url.replace(f"{parts.netloc.rpartition('@')[0]}@", "", 1)
        if parts and "@" in parts.netloc
        else url
    )
    return "".join(character for character in clean if character.isprintable())[:120]
