"""The `git` program, run on a clone: one place that starts it, with nobody to be asked and nothing of the clone obeyed.

A clone is read: no hook, pager, filter, external diff or signature check of its settings is run, replacements of
objects are not believed, and without `network` no transport is spoken, not even to complete a partial clone.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matrix.errors import ConfigurationError, OutsideError, ToolError

_SETTINGS: Final = (
    *("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.pager=cat", "core.quotePath=true"),
    *("log.showSignature=false", "log.mailmap=false", "i18n.logOutputEncoding=UTF-8"),
    *(
        "submodule.recurse=false",
        "fetch.recurseSubmodules=false",
        "gc.auto=0",
        "maintenance.auto=0",
    ),
    *("protocol.allow=never", "color.ui=never"),
)
_SPOKEN: Final = ("protocol.https.allow=always", "protocol.ssh.allow=always")
_READING: Final = {"GIT_NO_REPLACE_OBJECTS": "1", "GIT_OPTIONAL_LOCKS": "0"}
_NETWORK: Final = (
    *("GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "GIT_ASKPASS"),
    *("GIT_SSL_CAINFO", "GIT_SSL_CAPATH"),
)
"""Of git's own variables, those that say how the network is reached."""

_WRITER: Final = {
    "GIT_AUTHOR_NAME": "nvfp4-matrix",
    "GIT_AUTHOR_EMAIL": "nvfp4-matrix@localhost",
    "GIT_COMMITTER_NAME": "nvfp4-matrix",
    "GIT_COMMITTER_EMAIL": "nvfp4-matrix@localhost",
}
SECONDS: Final = 600.0
"""How long git may take to read; `CLONING` to bring a repository's history over the network."""
CLONING: Final = 3600.0


class RefusedError(Exception):
    """Git ended with an error; the message is its own first line, without logins."""


class Git:
    """Git on one folder. `local`: a remote of it is a folder too, which may be spoken to beside the network.

    `within`: the folder may lie in the working tree of a repository, instead of being one.
    """

    def __init__(
        self, folder: Path, *, network: bool = False, local: bool = False, within: bool = False
    ) -> None:
        self.folder = folder
        self._within = within
        self._spoken = (
            *(_SPOKEN if network else ()),
            *(("protocol.file.allow=always",) if network and local else ()),
        )

    def text(
        self,
        *arguments: str,
        told: str = "",
        more: Mapping[str, str] | None = None,
        seconds: float = SECONDS,
    ) -> str:
        """Return what git prints; `told` is its standard input.

        Raises RefusedError where it ends with an error, ToolError where there is no git, OutsideError where it
        takes too long.
        """
        place = ("-C", str(self.folder)) if self.folder.is_dir() else ()
        mine = {**_READING, "GIT_NO_LAZY_FETCH": "0" if self._spoken else "1"}
        if not self._within:
            # A folder inside another repository's working tree is not that repository.
            mine["GIT_CEILING_DIRECTORIES"] = str(self.folder.absolute().parent)
        settings = [word for each in (*_SETTINGS, *self._spoken) for word in ("-c", each)]
        try:
            done = subprocess.run(  # noqa: S603 - no shell; what is not ours follows --end-of-options or stdin
                ["git", "--no-pager", *place, *settings, *arguments],  # noqa: S607 - the user's own git
                env={**surroundings(), **mine, **(more or {})},
                input=told.encode(errors="surrogateescape"),
                capture_output=True,
                check=False,
                timeout=seconds,
            )
        except FileNotFoundError as error:
            raise ToolError(
                "git is not installed; install it to read upstream's history"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise OutsideError(
                f"git gave no answer within {seconds:.0f} s: {self.folder}"
            ) from error
        except OSError as error:
            raise OutsideError(f"git cannot be run: {error.strerror}") from error
        if done.returncode:
            raise RefusedError(complaint(done.stderr.decode(errors="replace")))
        return done.stdout.decode(errors="replace")

    def perhaps(self, *arguments: str) -> str:
        """Return what git prints, without the end of its line; "" where it ends with an error."""
        try:
            return self.text(*arguments).strip()
        except RefusedError:
            return ""

    def paths(self, commits: Sequence[str]) -> dict[str, frozenset[str]]:
        """Return which files each commit changes, by its trees alone: a partial clone has those."""
        raw = self.text(
            *("diff-tree", "--stdin", "-r", "--raw", "--root", "--no-renames", "--no-ext-diff"),
            told="".join(f"{commit}\n" for commit in commits),
        )
        found: dict[str, set[str]] = {}
        at = ""
        for line in raw.splitlines():
            if line.startswith(":"):
                found[at].add(line.partition("\t")[2])
            elif line:
                found.setdefault(at := line, set())
        return {commit: frozenset(files) for commit, files in found.items()}

    def patches(self, commits: Sequence[str]) -> dict[str, str]:
        """Return each commit's patch id (git-patch-id, stable): equal for the same change at another place.

        Needs the contents of the files that they change. A commit without a change has none.
        """
        if not commits:
            return {}
        changes = self.text(
            *(
                "diff-tree",
                "--stdin",
                "-p",
                "--root",
                "--no-renames",
                "--no-ext-diff",
                "--no-textconv",
            ),
            told="".join(f"{commit}\n" for commit in commits),
        )
        told = self.text("patch-id", "--stable", told=changes)
        pairs = (line.split() for line in told.splitlines())
        return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}  # noqa: PLR2004 - id and commit


def writer() -> dict[str, str]:
    """Return who a commit of this program is by."""
    return dict(_WRITER)


def blob(text: str) -> str:
    """Return git's name of a file's content."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def check_url(url: str) -> bool:
    """Say whether a repository's URL is a folder (or file://) of this machine.

    Raises ConfigurationError for what git must not be given: another transport, an option, a login in it.
    """
    if re.fullmatch(r"(?:file://)?/[^\x00-\x1f]+", url):
        return True
    if re.fullmatch(r"https://[A-Za-z0-9.-]+(?::\d{1,5})?/[A-Za-z0-9._~/+-]+", url, re.ASCII):
        return False
    if re.fullmatch(r"ssh://(?:[A-Za-z0-9_.-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*(?::\d{1,5})?/[A-Za-z0-9._~/+-]+", url, re.ASCII):  # fmt: skip
        return False
    raise ConfigurationError(
        f"{complaint(url)[:100]!r} is no repository's URL: https://host/path without a login, ssh://, or a folder"
    )


def complaint(said: str) -> str:
    """Return the first thing that git calls an error, on one line and without logins."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))]
    first = (errors or lines or ["it said nothing"])[0]
    first = "".join(each if each.isprintable() else " " for each in first)
    first = re.sub(r"^(?:fatal|error): ", "", first)
    return re.sub(r"://[^/@\s]*@", "://", first)[:300]


def surroundings() -> dict[str, str]:
    """Return the environment without what would change where git looks, what it runs, or whom it asks."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _NETWORK
    }
    return inherited | {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
