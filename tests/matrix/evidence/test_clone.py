from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from matrix.errors import ConfigurationError, NotFoundError, OutsideError
from matrix.evidence.clone import Clone, cached, split
from matrix.evidence.git import Git, RefusedError
from matrix.history import History
from matrix.landing import Event, branches_of, by_issue, by_pull, entered, followed, ranges

FIX = {"kernel.cu": "a\nfixed\nc\n"}


class Repo:
    """A real repository, whose commits are an hour apart."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.clock = 1_700_000_000
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("Begin", {"kernel.cu": "a\nb\nc\n"})

    def git(self, *arguments: str, told: str = "") -> str:
        self.clock += 3600
        when = f"{self.clock} +0000"
        named = {"NAME": "x", "EMAIL": "x@localhost", "DATE": when}
        env = {
            **os.environ,
            **{
                f"GIT_{who}_{key}": value
                for who in ("AUTHOR", "COMMITTER")
                for key, value in named.items()
            },
            "GIT_CONFIG_GLOBAL": os.devnull,
        }
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            env=env, input=told, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self, message: str, files: Mapping[str, str] | None = None) -> str:
        for name, content in (files or {f"notes/{self.clock}": message}).items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.git("add", "--all")
        self.git(
            "commit", "--quiet", "--allow-empty", "--cleanup=verbatim", "-F", "-", told=message
        )
        return self.git("rev-parse", "HEAD")

    def pick(self, commit: str, message: str = "", *, trailer: bool = False) -> str:
        self.git("cherry-pick", *(("-x",) if trailer else ()), commit)
        if message:
            self.git("commit", "--quiet", "--amend", "-F", "-", told=message)
        return self.git("rev-parse", "HEAD")

    def revert(self, commit: str) -> str:
        self.git("revert", "--no-edit", commit)
        return self.git("rev-parse", "HEAD")

    def on(self, branch: str, at: str = "") -> None:
        if at:
            self.git("checkout", "--quiet", "-b", branch, at)
        else:
            self.git("checkout", "--quiet", branch)

    def tag(self, name: str, *, annotated: bool = False) -> None:
        self.git("tag", *(("-a", "-m", name) if annotated else ()), name)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "upstream")


def found(repo: Repo, number: int = 7) -> tuple[History, list[Event]]:
    clone = Clone(repo.folder)
    history = clone.history("owner/name")
    return history, followed(history, tuple(by_pull(history, number)), clone.alike)


def told(repo: Repo, number: int = 7) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    history, events = found(repo, number)
    return [(event.how, event.by) for event in events], ranges(entered(history, events))


def test_a_squash_is_in_the_releases_that_are_cut_after_it(repo: Repo) -> None:
    repo.tag("v0.1.0")
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.tag("v0.2.0rc1")
    repo.commit("Another (#8)")
    repo.tag("v0.2.0", annotated=True)
    repo.tag("v0.2.0.post1")
    history, events = found(repo)
    assert [(event.commit.sha, event.how, event.by) for event in events] == [
        (merged, "merged", "subject")
    ]
    assert entered(history, events) == {"0.1.0": False, "0.2.0": True, "0.2.0.post1": True}


def test_a_pick_by_its_subject_counts_though_its_patch_differs(repo: Repo) -> None:
    base = repo.git("rev-parse", "HEAD")
    repo.commit("Keep the suffix (#7)", FIX)
    repo.on("releases/v0.1.1", base)
    repo.commit("Keep the suffix (#7)", {"kernel.cu": "a\nb, another way\nc\n"})
    repo.tag("v0.1.1")
    assert told(repo) == ([("picked", "subject"), ("merged", "subject")], ("0.1.1 and later",))


def test_a_pick_under_another_subject_counts_by_its_patch(repo: Repo) -> None:
    base = repo.git("rev-parse", "HEAD")
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.on("release-v0.1.1", base)
    repo.commit("Unlike, of the same file", {"kernel.cu": "a\nunlike\nc\n"})
    repo.git("revert", "--no-edit", "HEAD")
    repo.commit("Unlike, of another file", {"other.cu": "fixed\n"})
    repo.pick(merged, "Hotfix for customers")
    repo.tag("v0.1.1")
    history, events = found(repo)
    assert [(event.how, event.by) for event in events] == [
        ("picked", "patch"),
        ("merged", "subject"),
    ]
    assert [branches_of(history, event) for event in events] == [("release-v0.1.1",), ()]
    assert entered(history, events) == {"0.1.1": True}


def test_a_pick_that_says_so_counts_though_subject_and_patch_differ(repo: Repo) -> None:
    base = repo.git("rev-parse", "HEAD")
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.on("release/0.1", base)
    repo.commit(
        f"Backport\n\n(cherry picked from commit {merged})", {"kernel.cu": "a\nby hand\nc\n"}
    )
    repo.tag("v0.1.1")
    assert told(repo) == ([("picked", "message"), ("merged", "subject")], ("0.1.1 and later",))


def test_what_was_reverted_is_not_in_what_is_cut_after_that(repo: Repo) -> None:
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.tag("v0.1.0")
    repo.revert(merged)
    repo.tag("v0.2.0")
    assert told(repo) == ([("reverted", "subject"), ("merged", "subject")], ("0.1.0",))


def test_a_revert_of_another_subject_is_known_by_its_message(repo: Repo) -> None:
    merged = repo.commit("Keep the suffix (#7)", FIX)
    taken = repo.commit(
        f"Take it out for now (#9)\n\nThis reverts commit {merged}.", {"kernel.cu": "a\nb\nc\n"}
    )
    repo.tag("v0.1.0")
    repo.commit(f"And in again (#10)\n\nThis reverts commit {taken}.", FIX)
    repo.tag("v0.2.0")
    assert told(repo) == (
        [("reapplied", "message"), ("reverted", "message"), ("merged", "subject")],
        ("0.2.0 and later",),
    )  # fmt: skip


def test_a_revert_on_a_release_branch_is_of_that_branch_alone(repo: Repo) -> None:
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.on("release-v0.1", merged)
    repo.commit("revert: #7 and #5 (too early)", {"kernel.cu": "a\nb\nc\n"})
    repo.tag("v0.1.0")
    repo.on("main")
    repo.commit("Go on")
    repo.tag("v0.2.0")
    how, releases = told(repo)
    assert sorted(how) == [("merged", "subject"), ("reverted", "subject")]
    assert releases == ("0.2.0 and later",)


def test_a_branch_of_somebody_in_a_working_clone_is_not_upstreams(
    repo: Repo, tmp_path: Path
) -> None:
    repo.git("clone", "--quiet", str(repo.folder), str(tmp_path / "mine"))
    mine = Repo.__new__(Repo)
    mine.folder, mine.clock = tmp_path / "mine", repo.clock
    mine.commit("My own squash (#7)", FIX)
    assert told(mine) == ([], ())
    assert told(repo) == ([], ())


def test_a_hostile_name_of_a_branch_is_a_name(repo: Repo, tmp_path: Path) -> None:
    hostile = f"release-1/$(touch${{IFS}}{tmp_path.name}-pwned);--upload-pack=x"
    base = repo.git("rev-parse", "HEAD")
    repo.commit("Keep the suffix (#7)", FIX)
    repo.git("update-ref", f"refs/heads/{hostile}", base)
    repo.git("update-ref", "refs/tags/-v0.9.0", base)
    repo.git("symbolic-ref", "HEAD", f"refs/heads/{hostile}")
    repo.git("reset", "--quiet", "--hard")
    repo.commit("Keep the suffix (#7)", FIX)
    history, events = found(repo)
    assert sorted(event.how for event in events) == ["merged", "picked"]
    assert next(branches_of(history, event) for event in events if event.how == "picked") == (
        hostile,
    )
    assert "0.9.0" not in entered(history, events)


def test_settings_hooks_and_replacements_of_a_clone_are_not_obeyed(
    repo: Repo, tmp_path: Path
) -> None:
    """A clone may come from anywhere: reading it runs nothing that it says, and believes no replaced object."""
    trap = tmp_path / "trap"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    script.chmod(0o755)
    base = repo.git("rev-parse", "HEAD")
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.on("release-v0.1.1", base)
    repo.pick(merged, "Hotfix")
    other = repo.commit("Another", {"kernel.cu": "a\nother\nc\n"})
    repo.git("replace", merged, other)
    for key in (
        "diff.external",
        "core.pager",
        "core.fsmonitor",
        "core.sshCommand",
        "gpg.program",
        "diff.x.textconv",
        "diff.x.command",
    ):
        repo.git("config", key, str(script))
    repo.git("config", "log.showSignature", "true")
    (repo.folder / ".git" / "info" / "attributes").write_text("*.cu diff=x\n")
    assert [how for how, _ in told(repo)[0]] == ["picked", "merged"]
    assert not trap.exists()


def test_an_issue_is_fixed_by_the_commit_that_says_so(repo: Repo) -> None:
    repo.tag("v0.1.0")
    repo.commit("Pad the scales (#8)\n\nFixes #70, see #7.", FIX)
    repo.tag("v0.2.0")
    history = Clone(repo.folder).history("owner/name", [7, 70])
    assert not list(by_issue(history, 7))
    assert entered(history, list(by_issue(history, 70))) == {"0.1.0": False, "0.2.0": True}


def test_a_shallow_clone_says_that_it_is(repo: Repo, tmp_path: Path) -> None:
    repo.commit("Keep the suffix (#7)", FIX)
    repo.commit("Go on")
    repo.git("clone", "--quiet", "--depth=1", f"file://{repo.folder}", str(tmp_path / "shallow"))
    clone = Clone(tmp_path / "shallow")
    history = clone.history("owner/name")
    assert clone.shallow
    assert history.shallow
    assert not list(by_pull(history, 7))


def test_what_is_no_repository_is_one_line(repo: Repo, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such folder"):
        Clone(tmp_path / "nowhere")
    (repo.folder / "inside").mkdir()
    for folder in (tmp_path, repo.folder / "inside"):  # not the repository that it lies in, either
        with pytest.raises(NotFoundError, match="is no git repository") as caught:
            Clone(folder)
        assert "\n" not in str(caught.value)


def test_a_repository_without_a_main_branch_is_one_line(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path / "empty")], check=True)
    with pytest.raises(OutsideError, match="no branch main or master"):
        Clone(tmp_path / "empty").history("owner/name")


def served(repo: Repo) -> str:
    repo.git("config", "uploadpack.allowFilter", "true")
    repo.git("config", "uploadpack.allowAnySHA1InWant", "true")
    return f"file://{repo.folder}"


def test_a_kept_clone_has_history_and_is_brought_up_to_date(repo: Repo, tmp_path: Path) -> None:
    """Without contents of files: a pick by its patch is found by fetching what is compared, and no more."""
    url = served(repo)
    base = repo.git("rev-parse", "HEAD")
    clone, complaint = cached("owner/name", url, tmp_path / "cache")
    assert complaint == ""
    assert not list(by_pull(clone.history("owner/name"), 7))
    unread = repo.commit("Large", {"large.bin": "large" * 1000})
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.on("release-v0.1.1", base)
    repo.pick(merged, "Hotfix")
    repo.tag("v0.1.1")
    clone, complaint = cached("owner/name", url, tmp_path / "cache")
    assert complaint == ""
    blob = repo.git("rev-parse", f"{unread}:large.bin")
    history = clone.history("owner/name")
    events = followed(history, tuple(by_pull(history, 7)), clone.alike)
    assert [(event.how, event.by) for event in events] == [
        ("picked", "patch"),
        ("merged", "subject"),
    ]
    have = subprocess.run(
        ["git", "-C", str(clone.folder), "rev-list", "--objects", "--all", "--missing=print"],
        env={**os.environ, "GIT_NO_LAZY_FETCH": "1"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert f"?{blob}" in have
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["owner+name.git"]


def test_a_kept_clone_whose_remote_is_gone_is_read_as_it_was(repo: Repo, tmp_path: Path) -> None:
    repo.commit("Keep the suffix (#7)", FIX)
    url = served(repo)
    cached("owner/name", url, tmp_path / "cache")
    repo.folder.rename(tmp_path / "moved")
    clone, complaint = cached("owner/name", url, tmp_path / "cache")
    assert "owner/name: not brought up to date: " in complaint
    assert "\n" not in complaint
    assert list(by_pull(clone.history("owner/name"), 7))


def test_a_remote_that_is_not_there_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutsideError, match="cannot be cloned") as caught:
        cached("owner/name", f"file://{tmp_path}/nowhere", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").iterdir())


def test_without_the_network_a_partial_clone_is_not_completed(repo: Repo, tmp_path: Path) -> None:
    url = served(repo)
    base = repo.git("rev-parse", "HEAD")
    merged = repo.commit("Keep the suffix (#7)", FIX)
    repo.on("release-v0.1.1", base)
    picked = repo.pick(merged, "Hotfix")
    kept, _ = cached("owner/name", url, tmp_path / "cache")
    alone = Clone(kept.folder)
    with pytest.raises(RefusedError):
        alone.alike([merged], [picked])


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch x",
        "https://user:secret@host/owner/name",
        "http://host/owner/name",
        "git://host/owner/name",
        "https://host/owner name",
        "relative/path",
        "ssh://-oProxyCommand=x/owner/name",
        "https://host/a\nb",
    ],
)
def test_an_url_that_git_must_not_be_given_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is no repository's URL") as caught:
        cached("owner/name", url, tmp_path)
    assert "\n" not in str(caught.value)


def test_a_clone_is_named_by_path_or_by_repository_and_path() -> None:
    assert split("/a/b") == ("", Path("/a/b"))
    assert split("owner/name=/a=b") == ("owner/name", Path("/a=b"))
    assert split("/a=b") == ("", Path("/a=b"))
    with pytest.raises(ConfigurationError):
        split("owner/name=")


@pytest.mark.parametrize(
    "url",
    [
        "https://github.com/Owner/Name.git",
        "git@github.com:Owner/Name",
        "ssh://git@github.com/Owner/Name/",
    ],
)
def test_a_clone_says_which_repository_it_is_of(repo: Repo, url: str) -> None:
    repo.git("remote", "add", "origin", url)
    assert Clone(repo.folder).repositories == ("Owner/Name",)


def test_how_the_network_is_reached_is_the_users_and_where_git_looks_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that opens TLS is trusted by a file that `GIT_SSL_CAINFO` names."""
    stand_in = tmp_path / "git"
    stand_in.write_text('#!/bin/sh\necho "$GIT_SSL_CAINFO,$GIT_SSL_CAPATH,$GIT_DIR"\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name, value in (("CAINFO", "/ca.pem"), ("CAPATH", "/ca")):
        monkeypatch.setenv(f"GIT_SSL_{name}", value)
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    assert Git(tmp_path).text("version") == "/ca.pem,/ca,\n"
