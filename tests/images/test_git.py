"""The git program on repositories that are made on the spot."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from images.checkout import laid_out
from images.git import Repository
from matrix.errors import ConfigurationError, NotFoundError, OutsideError


class Upstream:
    """A repository of somebody else's, with pull requests where GitHub has them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self("init", "--quiet", "--initial-branch=main")

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=someone", "-c", "user.email=someone@x", *arguments],
            cwd=self.folder,
            env={**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str], message: str = "more") -> str:
        for name, text in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "-m", message)
        return self("rev-parse", "HEAD")

    def pull(self, number: int, files: Mapping[str, str], base: str = "main") -> str:
        self("checkout", "--quiet", "--detach", base)
        made = self.commit(files, f"pull {number}")
        self("update-ref", f"refs/pull/{number}/head", made)
        self("checkout", "--quiet", "main")
        return made


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    made = Upstream(tmp_path / "upstream")
    made.commit({"a.txt": "one\n", "b.txt": "b\n"})
    made("tag", "-a", "v1.0", "-m", "1.0")
    made.commit({"a.txt": "two\n"})
    return made


@pytest.fixture
def repository(upstream: Upstream, tmp_path: Path) -> Repository:
    return Repository(str(upstream.folder), tmp_path / "kept")


def test_a_branch_a_tag_and_a_commit_are_commits(
    upstream: Upstream, repository: Repository
) -> None:
    head = upstream("rev-parse", "HEAD")
    assert repository.commit("main") == head
    assert repository.commit("v1.0") == upstream("rev-parse", "v1.0^{commit}")
    assert repository.commit(head) == head
    assert repository.commit(head[:9]) == head


def test_a_branch_that_moved_is_found_where_it_is_now(
    upstream: Upstream, repository: Repository
) -> None:
    before = repository.commit("main")
    upstream("commit", "--quiet", "--amend", "--allow-empty", "-m", "rewritten")
    assert repository.commit("main") == upstream("rev-parse", "HEAD") != before


def test_the_same_commits_merge_into_the_same_commit(
    upstream: Upstream, repository: Repository, tmp_path: Path
) -> None:
    pulls = {7: upstream.pull(7, {"c.txt": "seven\n"}), 9: upstream.pull(9, {"b.txt": "nine\n"})}
    head = repository.commit("main")
    assert {number: repository.pull(number) for number in pulls} == pulls
    merged = repository.merged(head, pulls)
    repository.laid_out(merged, tmp_path / "out")
    texts = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert texts == {"a.txt": "two\n", "b.txt": "nine\n", "c.txt": "seven\n"}
    elsewhere = Repository(str(upstream.folder), tmp_path / "elsewhere")
    elsewhere.have((head, *pulls.values()))
    assert elsewhere.merged(head, pulls) == merged
    assert elsewhere.tree(merged) == repository.tree(merged)


def test_a_conflict_names_its_files(upstream: Upstream, repository: Repository) -> None:
    pulls = {
        7: upstream.pull(7, {"a.txt": "seven\n", "b.txt": "seven\n", "c.txt": "seven\n"}),
        9: upstream.pull(9, {"a.txt": "nine\n", "b.txt": "nine\n"}),
    }
    for number in pulls:
        repository.pull(number)
    with pytest.raises(
        ConfigurationError, match=r"#9 conflicts with [0-9a-f]{12} in a.txt, b.txt;"
    ):
        repository.merged(repository.commit("main"), pulls)


@pytest.mark.parametrize(
    ("ref", "said"),
    [
        ("mian", "has no branch, tag or commit 'mian'; did you mean main"),
        ("abcdef0", "has no branch, tag or commit 'abcdef0'"),
        ("v1", "did you mean v1.0"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_near_ones(
    repository: Repository, ref: str, said: str
) -> None:
    with pytest.raises(NotFoundError, match=said):
        repository.commit(ref)


def test_a_pull_request_that_is_not_there_is_told(repository: Repository) -> None:
    with pytest.raises(NotFoundError, match="has no pull request #404"):
        repository.pull(404)


@pytest.mark.parametrize(
    "ref", ["--upload-pack=touch x", "-x", "$(touch x)", "main\n", "a b", "main~1"]
)
def test_a_name_that_git_would_obey_is_refused(
    repository: Repository, ref: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a branch"):
        repository.commit(ref)
    assert not list(tmp_path.rglob("x"))


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c 'touch x'",
        "file:///etc",
        "--upload-pack=touch x",
        "-x",
        "http://host/x",
        "relative/folder",
        "git://host/x",
        "https://host/a b",
        "https://user:token@host/x",
        "ssh://-oProxyCommand=touch/x y",
        "/no/such/folder",
    ],
)
def test_what_is_no_repository_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"is no repository|no such folder"):
        Repository(url, tmp_path)


def test_neither_hooks_nor_filters_of_a_repository_are_run(
    upstream: Upstream, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "ran"
    settings = tmp_path / "gitconfig"
    settings.write_text(f'[filter "evil"]\n\tsmudge = touch {mark}; cat\n\tclean = cat\n')
    for hook in ("post-checkout", "post-upload-pack", "reference-transaction"):
        file = upstream.folder / ".git" / "hooks" / hook
        file.write_text(f"#!/bin/sh\ntouch {mark}\n")
        file.chmod(0o755)
    upstream("config", "core.hooksPath", "/dev/null")
    upstream.commit({".gitattributes": "*.txt filter=evil\n"})
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".gitconfig").write_text(settings.read_text())
    repository.laid_out(repository.commit("main"), tmp_path / "out")
    assert (tmp_path / "out" / "a.txt").read_text() == "two\n"
    assert not mark.exists()


def test_a_submodule_is_at_the_commit_that_the_commit_names(
    upstream: Upstream, repository: Repository, tmp_path: Path
) -> None:
    other = Upstream(tmp_path / "other")
    pinned = other.commit({"inner.txt": "pinned\n"})
    upstream(
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "--quiet",
        "../other",
        "3rdparty/other",
    )
    upstream("commit", "--quiet", "-m", "with a submodule")
    other.commit({"inner.txt": "later\n"})
    (found,) = repository.laid_out(repository.commit("main"), tmp_path / "out")
    assert found == ("3rdparty/other", str(tmp_path / "other"), pinned)
    laid_out(repository, repository.commit("main"), tmp_path / "whole")
    assert (tmp_path / "whole" / "3rdparty" / "other" / "inner.txt").read_text() == "pinned\n"
    assert not list((tmp_path / "whole").rglob(".git"))


def test_a_repository_elsewhere_cannot_name_a_folder_of_this_machine(
    upstream: Upstream, repository: Repository, tmp_path: Path
) -> None:
    other = Upstream(tmp_path / "secret")
    other.commit({"secret.txt": "secret\n"})
    add = ("submodule", "add", "--quiet", str(other.folder), "x")
    upstream("-c", "protocol.file.allow=always", *add)
    upstream("commit", "--quiet", "-m", "with a submodule")
    commit = repository.commit("main")
    repository.local = False  # as if it had come from elsewhere
    with pytest.raises(OutsideError, match="names a folder of this machine"):
        laid_out(repository, commit, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("secret.txt"))


def test_a_folder_that_is_no_repository_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(OutsideError, match="does not appear to be a git repository"):
        Repository(str(tmp_path / "empty"), tmp_path / "kept").commit("main")


def test_the_nearest_version_is_described(upstream: Upstream, repository: Repository) -> None:
    assert repository.described(repository.commit("main")) == ("v1.0", 1)
    bare = Upstream(upstream.folder.parent / "bare")
    commit = bare.commit({"x": "y"})
    other = Repository(str(bare.folder), upstream.folder.parent / "kept")
    other.commit("main")
    assert other.described(commit) == ("", 1)


def test_contents_are_brought_as_they_are_needed(upstream: Upstream, tmp_path: Path) -> None:
    """As a host of many repositories has it: history first, contents only of what is laid out or merged."""
    upstream("config", "uploadpack.allowFilter", "true")
    upstream("config", "uploadpack.allowAnySHA1InWant", "true")
    old = upstream.commit({"old.txt": "long gone\n"})
    (upstream.folder / "old.txt").unlink()
    upstream.commit({"c.txt": "c\n"})
    pulls = {7: upstream.pull(7, {"d.txt": "d\n"})}
    url = f"{upstream.folder}"
    partial = Repository(url, tmp_path / "partial")
    head = partial.commit("main")
    partial.pull(7)
    partial.laid_out(partial.merged(head, pulls), tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {
        "a.txt",
        "b.txt",
        "c.txt",
        "d.txt",
    }
    (kept,) = (tmp_path / "partial").glob("*.git")
    listed = [
        "git",
        f"--git-dir={kept}",
        "rev-list",
        "--objects",
        "--missing=print",
        f"{old}^{{tree}}",
    ]
    said = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    assert said.count("?") == 1
