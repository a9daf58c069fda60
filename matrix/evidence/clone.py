"""A clone of an upstream repository: opened where the user has one, else made and kept in a cache; read into a history."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

from matrix.errors import ConfigurationError, NotFoundError, OutsideError
from matrix.evidence.git import CLONING, Git, RefusedError, check_url
from matrix.history import Commit, History, Said, Tag, is_release_branch, said, tag

_MAINS: Final = ("main", "master")
_NAMED: Final = re.compile(r"[:/]([A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+?)(?:\.git)?/?$")
_REFS: Final = "%(objectname)%00%(objecttype)%00%(*objectname)%00%(*objecttype)%00%(refname)"
_LOG: Final = "--format=%H%x00%P%x00%ct%x00%s"
_FULL: Final = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_TELLING: Final = (
    "^[[:space:]]*This reverts commit [0-9a-f]{7}",
    "cherry[ -]picked from commit [0-9a-f]{7}",
)


class Clone:
    """One repository on this disk. Nothing in it is changed, and nothing of its settings is run."""

    def __init__(self, folder: Path, *, network: bool = False, local: bool = False) -> None:
        """Open a clone. Raises NotFoundError where there is none, OutsideError where git refuses it."""
        self.folder = folder
        self._git = Git(folder, network=network, local=local)
        if not folder.is_dir():
            raise NotFoundError(f"{folder}: no such folder; --clone names a git repository")
        try:
            told = self._git.text("rev-parse", "--is-bare-repository", "--is-shallow-repository")
        except RefusedError as error:
            raise NotFoundError(f"{folder}: is no git repository ({error})") from error
        self.bare, self.shallow = (word == "true" for word in told.split())

    @property
    def repositories(self) -> tuple[str, ...]:
        """Owner and name of the repositories that its remotes are, by their URLs."""
        told = self._git.perhaps("config", "--null", "--get-regexp", r"^remote\..*\.url$")
        urls = [entry.partition("\n")[2] for entry in told.split("\0")]
        return tuple(dict.fromkeys(found[1] for url in urls if (found := _NAMED.search(url))))

    def history(
        self, repository: str, issues: Sequence[int] = (), builds: Sequence[str] = ()
    ) -> History:
        """Read commits, branches and tags. `issues`: those whose fixes are looked for.

        `builds`: commits, whole or cut short, that something was built of; those that are not here are left out.

        Raises OutsideError where git refuses, or where there is nothing to read.
        """
        try:
            heads, tags = self._refs(repository)
            main = self._main(heads)
            branches = {
                name: tip for name, tip in heads.items() if is_release_branch(name) and tip != main
            }
            tips = [main, *branches.values(), *(each.commit for each in tags), *self._there(builds)]
            return History(
                self._commits(tips),
                main=main,
                branches=branches,
                tags=tags,
                said=self._said(tips, issues),
                shallow=self.shallow,
            )
        except RefusedError as error:
            raise OutsideError(f"{self.folder}: git: {error}") from error

    def alike(self, brought: Sequence[str], others: Sequence[str]) -> dict[str, str]:
        """Return those of `others` with the patch id of one of `brought`, and of which.

        Only commits that change the same files are compared, so that a partial clone need not bring more.
        Raises RefusedError where their contents are not there.
        """
        if not brought or not others:
            return {}
        files = self._git.paths([*brought, *others])
        wanted = {files[sha] for sha in brought if files.get(sha)}
        candidates = [sha for sha in others if files.get(sha) in wanted]
        if not candidates:
            return {}
        ids = self._git.patches([*brought, *candidates])
        same = {ids[sha]: sha for sha in brought if sha in ids}
        return {sha: same[ids[sha]] for sha in candidates if ids.get(sha) in same}

    def _refs(self, repository: str) -> tuple[dict[str, str], tuple[Tag, ...]]:
        """Return upstream's branches and tags of builds; a working clone's own branches are not upstream's."""
        heads: dict[str, dict[str, str]] = {}
        tags: list[Tag] = []
        told = self._git.text(
            "for-each-ref", f"--format={_REFS}", "refs/heads", "refs/remotes", "refs/tags"
        )
        remote = self._remote(repository)
        for line in told.splitlines():
            name_of, kind, peeled, peeled_kind, ref = line.split("\0")
            commit = name_of if kind == "commit" else peeled if peeled_kind == "commit" else ""
            if not commit:
                continue
            if ref.startswith("refs/tags/"):
                found = tag(ref.removeprefix("refs/tags/"), commit)
                tags += [found] if found else []
            elif ref.startswith("refs/heads/"):
                heads.setdefault("", {})[ref.removeprefix("refs/heads/")] = commit
            elif remote and ref.startswith(f"refs/remotes/{remote}/"):
                heads.setdefault(remote, {})[ref.removeprefix(f"refs/remotes/{remote}/")] = commit
        theirs = heads.get(remote) if remote and not self.bare else None
        return theirs or heads.get("", {}), tuple(tags)

    def _remote(self, repository: str) -> str:
        """Name the remote that is this repository, else origin, else the only one."""
        told = self._git.perhaps("config", "--null", "--get-regexp", r"^remote\..*\.url$")
        urls = dict(entry.split("\n", 1) for entry in told.split("\0") if "\n" in entry)
        names = {key.removeprefix("remote.").removesuffix(".url"): url for key, url in urls.items()}
        for name, url in names.items():
            if (found := _NAMED.search(url)) and found[1].lower() == repository.lower():
                return name
        return "origin" if "origin" in names else next(iter(names), "")

    def _main(self, heads: Mapping[str, str]) -> str:
        """Return the newest commit of the main branch. Raises OutsideError without one."""
        at = "HEAD" if self.bare else "refs/remotes/origin/HEAD"
        own = self._git.perhaps("symbolic-ref", "--quiet", "--short", at).removeprefix("origin/")
        for name in (*((own,) if self.bare and own in heads else ()), *_MAINS, own):
            if name in heads:
                return heads[name]
        raise OutsideError(f"{self.folder}: has no branch main or master to read")

    def _there(self, commits: Sequence[str]) -> Iterator[str]:
        """Yield the whole names of the commits that are here."""
        if commits:
            told = self._git.text(
                *("cat-file", "--batch-check=%(objectname) %(objecttype)"),
                told="".join(f"{commit}^{{commit}}\n" for commit in commits),
            )
            for line in told.splitlines():
                name, _, kind = line.partition(" ")
                if kind == "commit":
                    yield name

    def _commits(self, tips: Sequence[str]) -> Iterator[Commit]:
        told = self._git.text("log", "--topo-order", _LOG, "--stdin", told=_lines(tips))
        for line in told.split("\n"):
            fields = line.split("\0")
            if len(fields) == 4 and _FULL.fullmatch(fields[0]):  # noqa: PLR2004 - those of _LOG
                sha, parents, time, subject = fields
                yield Commit(sha, tuple(parents.split()), int(time), subject)

    def _said(self, tips: Sequence[str], issues: Sequence[int]) -> dict[str, Said]:
        """Read the messages that speak of other commits, or of these issues."""
        wanted = (*_TELLING, *(rf"#{number}([^0-9]|$)" for number in issues))
        told = self._git.text(
            *("log", "--extended-regexp", "--regexp-ignore-case", "--format=%H%x00%B%x00%x00"),
            *(f"--grep={each}" for each in wanted),
            "--stdin",
            told=_lines(tips),
        )
        found: dict[str, Said] = {}
        for record in told.split("\0\0"):
            sha, _, message = record.strip("\n").partition("\0")
            if _FULL.fullmatch(sha):
                found[sha] = said(message)
        return found


def cached(repository: str, url: str, folder: Path | None = None) -> tuple[Clone, str]:
    """Return the kept clone of a repository, made or brought up to date, and why it could not be ("" where it was).

    It holds history and no contents of files; those are fetched as they are compared. Raises OutsideError where
    there is none yet and none can be made, ConfigurationError for no URL.
    """
    local = check_url(url)
    place = (folder or cache()) / f"{repository.replace('/', '+')}.git"
    if (place / "HEAD").is_file():
        try:
            _update(Git(place, network=True, local=local), url)
        except (RefusedError, OutsideError) as error:
            return Clone(
                place, network=True, local=local
            ), f"{repository}: not brought up to date: {error}"
        return Clone(place, network=True, local=local), ""
    part: Path | None = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = Path(mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        Git(part, network=True, local=local).text(
            *("clone", "--quiet", "--bare", "--filter=blob:none", "--template="),
            *("--end-of-options", url, str(part)),
            seconds=CLONING,
        )
        part.rename(place)  # whole or not at all; where another one was faster, theirs is as good
    except RefusedError as error:
        raise OutsideError(
            f"{repository}: cannot be cloned: {error}; --clone PATH reads one that you have"
        ) from error
    except OSError as error:
        if not (place / "HEAD").is_file():
            raise OutsideError(f"{place}: {error.strerror}") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
    return Clone(place, network=True, local=local), ""


def cache() -> Path:
    """Return where clones are kept: XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return home / "nvfp4-matrix" / "clones"


def split(text: str) -> tuple[str, Path]:
    """Part `OWNER/NAME=PATH`, or PATH alone. Raises ConfigurationError for no path."""
    name, equals, path = text.partition("=")
    if equals and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+", name):
        text = path
    else:
        name = ""
    if not text:
        raise ConfigurationError("--clone takes PATH, or OWNER/NAME=PATH")
    return name, Path(text)


def _update(git: Git, url: str) -> None:
    git.text(
        *(
            "fetch",
            "--quiet",
            "--prune",
            "--force",
            "--tags",
            "--filter=blob:none",
            "--no-write-fetch-head",
        ),
        *(
            "--end-of-options",
            "origin" if git.perhaps("config", "remote.origin.url") == url else url,
        ),
        *("+refs/heads/*:refs/heads/*",),
        seconds=CLONING,
    )


def _lines(tips: Sequence[str]) -> str:
    return "".join(f"{tip}\n" for tip in dict.fromkeys(tips))
