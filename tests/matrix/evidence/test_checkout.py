from __future__ import annotations

from pathlib import Path

import pytest

from matrix.errors import ConfigurationError, NotFoundError
from matrix.evidence.checkout import Checkout
from tests.matrix.evidence.test_clone import Repo


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "mine")
    made.commit("Stacks", {"matrix/stacks.yaml": "old\n", "matrix/other.yaml": "other\n"})
    return made


def test_a_branch_gets_the_files_and_nothing_else_is_touched(repo: Repo, tmp_path: Path) -> None:
    hook = repo.folder / ".git" / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hooked\n")
    hook.chmod(0o755)
    (repo.folder / "matrix" / "stacks.yaml").write_text("unfinished\n")
    (repo.folder / "new").write_text("not added\n")
    head = repo.git("rev-parse", "HEAD")
    (tmp_path / "hooked").unlink(missing_ok=True)
    checkout = Checkout(repo.folder / "matrix")
    assert checkout.read("matrix/stacks.yaml") == "old\n"
    made = checkout.commit(
        "pins/x", {"matrix/stacks.yaml": "new\n", "locks/a.txt": "a\n"}, "Title\n\n# body"
    )
    assert not (tmp_path / "hooked").exists()
    assert made == repo.git("rev-parse", "pins/x")
    assert (
        repo.git("log", "-1", "--format=%P %an%n%B", "pins/x")
        == f"{head} nvfp4-matrix\nTitle\n\n# body"
    )
    assert repo.git("diff", "--name-only", "HEAD", "pins/x").split() == [
        "locks/a.txt",
        "matrix/stacks.yaml",
    ]
    assert repo.git("show", "pins/x:matrix/stacks.yaml") == "new"
    assert repo.git("rev-parse", "HEAD") == head
    assert repo.git("status", "--short") == "M matrix/stacks.yaml\n?? new"


def test_asked_twice_it_stands_and_asked_for_more_it_is_made_anew(repo: Repo) -> None:
    first = Checkout(repo.folder).commit("pins/x", {"a": "a\n"}, "One")
    assert Checkout(repo.folder).commit("pins/x", {"a": "a\n"}, "One") is None
    second = Checkout(repo.folder).commit("pins/x", {"a": "b\n"}, "Two")
    assert first != second
    assert repo.git("rev-parse", "pins/x") == second
    assert repo.git("rev-list", "--count", "HEAD..pins/x") == "1"


def test_a_branch_of_somebody_else_is_left_alone(repo: Repo) -> None:
    Checkout(repo.folder).commit("pins/x", {"a": "a\n"}, "One")
    repo.on("pins/x")
    with pytest.raises(ConfigurationError, match="is checked out"):
        Checkout(repo.folder).commit("pins/x", {"a": "b\n"}, "Two")
    mine = repo.commit("By hand", {"a": "c\n"})
    repo.on("main")
    with pytest.raises(ConfigurationError, match="has commits of somebody else's"):
        Checkout(repo.folder).commit("pins/x", {"a": "b\n"}, "Two")
    assert repo.git("rev-parse", "pins/x") == mine


@pytest.mark.parametrize("branch", ["a..b", "-x y", "", "a.lock", "@{-1}"])
def test_a_name_that_git_refuses_is_one_line(repo: Repo, branch: str) -> None:
    with pytest.raises(ConfigurationError, match="is no name of a branch"):
        Checkout(repo.folder).commit(branch, {"a": "a\n"}, "One")


def test_what_is_no_checkout_is_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NotFoundError):
            Checkout(folder)


def test_a_folder_of_the_checked_out_commit_is_listed(repo: Repo) -> None:
    checkout = Checkout(repo.folder)
    assert checkout.names("matrix") == ("other.yaml", "stacks.yaml")
    assert checkout.names("nowhere") == ()
    assert checkout.read("nowhere") is None
