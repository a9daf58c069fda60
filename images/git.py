"""Repositories of others: commits are found, brought here, merged, and laid out as plain files."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from images.alone import alone
from images.gitprogram import run, shown
from matrix.document import nearest
from matrix.errors import ConfigurationError, NotFoundError, OutsideError, ToolError
from matrix.evidence.git import complaint
from matrix.pin import is_ref

_URL: Final = re.compile(
    r"(?:https://|ssh://(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?)[A-Za-z0-9][A-Za-z0-9:._~%/+-]*", re.ASCII
)
"""Without a login: it would stand in a lock; git asks its own helpers for one."""
_SCP: Final = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9._~/+-]+", re.ASCII
)
_SHA: Final = re.compile(r"[0-9a-f]{7,64}", re.ASCII)
_USAGE: Final = 129
"""What git ends with where it does not know an option."""

_FULL: Final = 40
"""Hex digits of a whole commit."""


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
        self.local = Path(url).is_absolute()
        if not self.local and not (_URL.fullmatch(url) or _SCP.fullmatch(url)):
            raise ConfigurationError(
                f"{shown(url)!r}: is no repository: name https://… without a login, ssh://…, user@host:path or an absolute folder"
            )
        if self.local and not Path(url).is_dir():
            raise ConfigurationError(f"{shown(url)}: no such folder with a git repository")
        self.folder = folder
        self._folder = folder / f"{hashlib.sha256(url.encode()).hexdigest()[:20]}.git"

    def commit(self, ref: str) -> str:
        """Return the commit that a branch, tag or (short) commit is now, and have it here.

        Raises NotFoundError with the nearest names where there is none.
        """
        if not is_ref(ref):
            raise ConfigurationError(f"{shown(ref)!r}: is no name of a branch, tag or commit")
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
            f"{shown(self.url)} has no branch, tag or commit {ref!r}{nearest(ref, known[-2000:])[:200]}"
        )

    def pull(self, number: int) -> str:
        """Return the commit that a pull request ends in now. Raises NotFoundError without one."""
        name = f"refs/pull/{number}/head"
        found = self._names(name).get(name)
        if found is None:
            raise NotFoundError(f"{shown(self.url)} has no pull request #{number}")
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

    def only(self, commit: str) -> None:
        """Bring one commit without its history, where it is not here."""
        if not self.has(commit):
            self._fetched(commit, "--depth=1", "--no-tags")

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
                    f"{shown(self.url)}: #{number} conflicts with {commit[:12]} in {told}; choose a commit that it "
                    "applies to, or leave it out"
                )
            if done.returncode == _USAGE:
                raise ToolError("git is too old to merge pull requests: 2.38 or newer is needed")
            if done.returncode:
                raise ToolError(
                    f"git cannot merge #{number} of {shown(self.url)}: {complaint(done.stderr)}"
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
        stated = folder / ".gitmodules"
        if not commits or stated.is_symlink() or not stated.is_file():
            return
        told = self._git("config", "--file", str(stated), "--null", "--list")
        entries = dict(line.split("\n", 1) for line in told.split("\0") if "\n" in line)
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
        # History without contents: those are brought as files are laid out or merged.
        more = ("--filter=blob:none", "--tags", "--force")
        self._fetched(f"+{wanted}" if wanted else "+refs/heads/*:refs/heads/*", *more)

    def _fetched(self, spec: str, *more: str) -> None:
        with alone(
            self._folder.with_suffix(".fetching"), lambda _: None
        ):  # names are locked while they are set
            self._git("fetch", "--quiet", *more, "--end-of-options", self.url, spec, asks=True)

    def _parsed(self, commit: str, ref: str) -> str:
        found = self._perhaps("rev-parse", "--verify", "--end-of-options", f"{commit}^{{commit}}")
        if found is None:
            raise NotFoundError(
                f"{shown(self.url)} has no branch, tag or commit {ref!r}; known commits are whole or 7 digits and more"
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
            hint = (
                f"; git ls-remote {shown(self.url)} tells whether it can be reached" if asks else ""
            )
            raise OutsideError(f"git: {shown(self.url)}: {complaint(done.stderr)}{hint}")
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
        return run(whole, local=self.local, asks=asks, told=told, more=more or {})

    def _made(self) -> None:
        """Make the bare copy; what it lacks it may ask the repository for."""
        if (self._folder / "HEAD").is_file():
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        done = run(("init", "--quiet", "--bare", "--template=", "--", str(self._folder)))
        for name, value in (
            ("remote.origin.url", self.url),
            ("remote.origin.promisor", "true"),
            ("remote.origin.partialCloneFilter", "blob:none"),
            ("extensions.partialClone", "origin"),
        ):
            done = (
                done
                if done.returncode
                else run((f"--git-dir={self._folder}", "config", name, value))
            )
        if done.returncode:
            raise OutsideError(f"git: {self._folder}: {complaint(done.stderr)}")
