"""The `git` program, and the only place that runs it: commits are found, merged and laid out as plain files.

What comes from a repository is never run and never obeyed: no hooks, no filters, no helper of its submodules; only
https and ssh are spoken, and a folder is read where the user named one.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from matrix.document import nearest
from matrix.errors import ConfigurationError, NotFoundError, OutsideError, ToolError
from matrix.pin import is_ref

_URL: Final = re.compile(r"(?:https|ssh)://[A-Za-z0-9@:._~%/+-]+", re.ASCII)
_SCP: Final = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9._~/+-]+", re.ASCII
)
_SHA: Final = re.compile(r"[0-9a-f]{7,64}", re.ASCII)
_FULL: Final = 40
"""Hex digits of a whole commit."""

_SAFE: Final = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.attributesFile="),
    *("-c", "protocol.allow=never", "-c", "protocol.https.allow=always"),
    *("-c", "protocol.ssh.allow=always", "-c", "submodule.recurse=false"),
    *("-c", "fetch.recurseSubmodules=false", "-c", "gc.auto=0", "-c", "advice.detachedHead=false"),
)
_FIXED: Final = {
    "GIT_AUTHOR_NAME": "nvfp4-matrix",
    "GIT_AUTHOR_EMAIL": "nvfp4-matrix@localhost",
    "GIT_AUTHOR_DATE": "2000-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "nvfp4-matrix",
    "GIT_COMMITTER_EMAIL": "nvfp4-matrix@localhost",
    "GIT_COMMITTER_DATE": "2000-01-01T00:00:00Z",
}
"""Who merges and when, so that the same commits merge into the same commit."""

_MINUTES: Final = 60
_KEPT: Final = ("GIT_SSH", "GIT_SSH_COMMAND", "GIT_PROXY_COMMAND", "GIT_ASKPASS")


class Submodule(NamedTuple):
    """A repository inside another one, at the commit that the other one names."""

    path: str
    url: str
    commit: str


class Repository:
    """A repository of others, of which a bare copy is kept below `folder`: history, and contents as they are needed."""

    def __init__(self, url: str, folder: Path) -> None:
        """Take a URL or an absolute folder. Raises ConfigurationError for what is neither."""
        self.url = url
        self._local = Path(url).is_absolute()
        if not self._local and not (_URL.fullmatch(url) or _SCP.fullmatch(url)):
            raise ConfigurationError(
                f"{_shown(url)!r}: is no repository: name https://…, ssh://…, user@host:path or an absolute folder"
            )
        if self._local and not Path(url).is_dir():
            raise ConfigurationError(f"{_shown(url)}: no such folder with a git repository")
        self.folder = folder
        self._folder = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:20]}.git"

    def commit(self, ref: str) -> str:
        """Return the commit that a branch, tag or (short) commit is now, and have it here.

        Raises NotFoundError with the nearest names where there is none.
        """
        if not is_ref(ref):
            raise ConfigurationError(f"{_shown(ref)!r}: is no name of a branch, tag or commit")
        names = self._names()
        for name in (f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}", ref):
            if name in names:
                self._fetch(names[name] if name == ref else name.removesuffix("^{}"))
                return self._parsed(names[name], ref)
        if _SHA.fullmatch(ref):
            self._fetch(ref if len(ref) == _FULL else "")
            return self._parsed(ref, ref)
        known = [
            name.split("/", 2)[2]
            for name in names
            if name.startswith(("refs/heads/", "refs/tags/"))
        ]
        known = [name for name in known if not name.endswith("^{}")]
        raise NotFoundError(
            f"{_shown(self.url)} has no branch, tag or commit {ref!r}{nearest(ref, known[-2000:])[:200]}"
        )

    def pull(self, number: int) -> str:
        """Return the commit that a pull request ends in now. Raises NotFoundError without one."""
        name = f"refs/pull/{number}/head"
        found = self._names(name).get(name)
        if found is None:
            raise NotFoundError(f"{_shown(self.url)} has no pull request #{number}")
        self._fetch(name)
        return found

    def has(self, commit: str) -> bool:
        """Say whether a commit is here, without asking the repository."""
        return self._perhaps("cat-file", "-e", f"{commit}^{{commit}}") is not None

    def have(self, commits: Iterable[str]) -> None:
        """Bring commits that a lock names, where they are not here."""
        for commit in commits:
            if not self.has(commit):
                self._fetch(commit)

    def text(self, commit: str, path: str) -> str:
        """Return a file of a commit, "" where it has none of that name."""
        return self._perhaps("show", "--end-of-options", f"{commit}:{path}") or ""

    def merged(self, commit: str, pulls: Mapping[int, str]) -> str:
        """Return the commit in which pull requests are merged onto `commit`, in order: always the same one.

        Raises ConfigurationError that names the files in which one conflicts with what it is merged onto.
        """
        for number, head in pulls.items():
            base = self._perhaps("merge-base", commit, head)
            for each in (commit, head, *((base.strip(),) if base else ())):
                self._complete(each)
            done = self._run(
                "merge-tree", "--write-tree", "--name-only", "-z", "--no-messages", commit, head
            )
            tree, *files = done.stdout.rstrip("\0").split("\0")
            if done.returncode == 1:
                told = ", ".join(dict.fromkeys(files[:8])) + (" …" if len(files) > 8 else "")  # noqa: PLR2004 - of a line
                raise ConfigurationError(
                    f"{_shown(self.url)}: #{number} conflicts with {commit[:12]} in {told}; choose a commit that it "
                    "applies to, or leave it out"
                )
            if done.returncode:
                raise ToolError(
                    f"git cannot merge #{number} of {_shown(self.url)}: {_told(done.stderr)}"
                )
            parents = ("-p", commit, "-p", head)
            commit = self._git("commit-tree", tree, *parents, "-m", f"Merge #{number}").strip()
        return commit

    def tree(self, commit: str) -> str:
        """Return the hash of a commit's files."""
        return self._git("rev-parse", "--verify", "--end-of-options", f"{commit}^{{tree}}").strip()

    def described(self, commit: str) -> tuple[str, int]:
        """Return the nearest tag of a version before a commit and how many commits lie between; "" without one."""
        said = self._perhaps("describe", "--tags", "--match", "v[0-9]*", "--long", commit)
        if said is None:
            return "", int(self._git("rev-list", "--count", commit).strip())
        name, count, _ = said.strip().rsplit("-", 2)
        return name, int(count)

    def laid_out(self, commit: str, folder: Path) -> tuple[Submodule, ...]:
        """Write a commit's files into `folder`, without a repository; return the submodules that it names."""
        folder.mkdir(parents=True, exist_ok=True)
        self._complete(commit)
        index = {"GIT_INDEX_FILE": str(folder.parent / f".{folder.name}.index")}
        place = f"--work-tree={folder}"
        self._git(place, "read-tree", commit, more=index)
        self._git(place, "checkout-index", "--all", "--force", more=index)
        Path(index["GIT_INDEX_FILE"]).unlink(missing_ok=True)
        return tuple(self._submodules(commit, folder))

    def _submodules(self, commit: str, folder: Path) -> Iterator[Submodule]:
        listed = self._git("ls-tree", "-r", "-z", commit).split("\0")
        commits = {
            line.partition("\t")[2]: line.split()[2]
            for line in listed
            if line.startswith("160000 ")
        }
        if not commits or not (folder / ".gitmodules").is_file():
            return
        stated = self._git("config", "--file", str(folder / ".gitmodules"), "--null", "--list")
        entries = dict(line.split("\n", 1) for line in stated.split("\0") if "\n" in line)
        for name, path in entries.items():
            if name.endswith(".path") and path in commits:
                url = entries.get(f"{name.removesuffix('.path')}.url", "")
                yield Submodule(path, self._absolute(url), commits[path])

    def _absolute(self, url: str) -> str:
        """Return a submodule's URL; `../other` is beside this repository."""
        if not url.startswith(("./", "../")):
            return url
        base = self.url.rstrip("/")
        while url.startswith(("./", "../")):
            step, url = url.split("/", 1)
            base = base.rpartition("/")[0] if step == ".." else base
        return f"{base}/{url}"

    def _complete(self, commit: str) -> None:
        """Bring the contents of a commit's files that are not here, in one go.

        Left to itself git brings them while it writes files, which it does here without the user's settings.
        """
        listed = self._git(
            "rev-list", "--objects", "--no-object-names", "--missing=print", f"{commit}^{{tree}}"
        )
        lacking = [line[1:] for line in listed.splitlines() if line.startswith("?")]
        if lacking:
            more = ("--no-tags", "--no-write-fetch-head", "--filter=blob:none", "--stdin")
            self._git(
                "fetch",
                "--quiet",
                *more,
                "--end-of-options",
                self.url,
                asks=True,
                told="\n".join(lacking),
            )

    def _names(self, pattern: str = "") -> dict[str, str]:
        """Ask the repository for its names: refs, and what they are."""
        wanted = [pattern] if pattern else []
        said = self._git("ls-remote", "--quiet", "--end-of-options", self.url, *wanted, asks=True)
        pairs = (line.split("\t", 1) for line in said.splitlines() if "\t" in line)
        return {name: commit for commit, name in pairs}

    def _fetch(self, wanted: str) -> None:
        """Bring a name or whole commit with its history, or every branch where it is ""."""
        specs = (f"+{wanted}",) if wanted else ("+refs/heads/*:refs/heads/*",)
        # History without contents: those are brought as files are laid out or merged.
        more = ("--filter=blob:none", "--tags", "--force")
        self._git("fetch", "--quiet", *more, "--end-of-options", self.url, *specs, asks=True)

    def _parsed(self, commit: str, ref: str) -> str:
        found = self._perhaps("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
        if found is None:
            raise NotFoundError(
                f"{_shown(self.url)} has no branch, tag or commit {ref!r}; known commits are whole or 7 digits and more"
            )
        return found.strip()

    def _git(
        self,
        *arguments: str,
        asks: bool = False,
        told: str = "",
        more: Mapping[str, str] | None = None,
    ) -> str:
        """Return what git printed. Raises OutsideError where it fails."""
        done = self._run(*arguments, asks=asks, told=told, more=more)
        if done.returncode:
            raise OutsideError(f"git: {_shown(self.url)}: {_told(done.stderr)}")
        return done.stdout

    def _perhaps(self, *arguments: str) -> str | None:
        """Return what git printed, None where it fails."""
        done = self._run(*arguments)
        return None if done.returncode else done.stdout

    def _run(
        self,
        *arguments: str,
        asks: bool = False,
        told: str = "",
        more: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run git on the copy. `asks`: the repository is asked, with the user's own settings (proxy, login)."""
        self._made()
        whole = (f"--git-dir={self._folder}", *arguments)
        return _ran(whole, local=self._local, asks=asks, told=told, more=more or {})

    def _made(self) -> None:
        """Make the bare copy; what it lacks it may ask the repository for."""
        if (self._folder / "HEAD").is_file():
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        done = _ran(("init", "--quiet", "--bare", "--template=", "--", str(self._folder)))
        for name, value in (
            ("remote.origin.url", self.url),
            ("remote.origin.promisor", "true"),
            ("remote.origin.partialCloneFilter", "blob:none"),
            ("extensions.partialClone", "origin"),
        ):
            done = (
                done
                if done.returncode
                else _ran((f"--git-dir={self._folder}", "config", name, value))
            )
        if done.returncode:
            raise OutsideError(f"git: {self._folder}: {_told(done.stderr)}")


def _ran(
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
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name in _KEPT
    }
    mine = {**_FIXED, "GIT_TERMINAL_PROMPT": "0", "GIT_ATTR_NOSYSTEM": "1", "LC_ALL": "C"}
    if not asks:
        mine |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    allowed = ("-c", "protocol.file.allow=always") if local else ()
    try:
        return subprocess.run(  # noqa: S603 - git, with what was matched whole against a pattern
            ["git", *_SAFE, *allowed, *arguments],  # noqa: S607 - the user's own
            env={**inherited, **mine, **(more or {})},
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


def _told(said: str) -> str:
    """Return the first thing that git calls an error, without logins."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    told = (
        [line for line in lines if line.startswith(("fatal:", "error:"))]
        or lines
        or ["it said nothing"]
    )
    return re.sub(r"://[^/@\s]*@", "://", told[0])[:300]


def _shown(url: str) -> str:
    """Return a URL without its login, cut short."""
    parts = urlsplit(url) if "://" in url else None
    clean = (
        url.replace(f"{parts.netloc.rpartition('@')[0]}@", "", 1)
        if parts and "@" in parts.netloc
        else url
    )
    return "".join(character for character in clean if character.isprintable())[:120]
