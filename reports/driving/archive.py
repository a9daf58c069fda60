"""Results on a branch, from where the next run reads them: files and lines are added, none is changed or removed."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from typing import Final

from matrix.errors import OutsideError
from matrix.evidence.git import blob
from reports.github.branch import commit, look
from reports.github.pages import Standing
from reports.github.posting import Branch
from reports.github.refusal import ConflictError, ask
from reports.github.request import Repository, Request, Send

FOLDER: Final = "results"
"""Where results lie on the branch."""

_TRIES: Final = 3
_MOST: Final = 16_000_000
"""Characters of one commit's files: a request of GitHub's may have 40 MB, and JSON may double them."""


def archive(send: Send, repository: Repository, branch: str, files: Mapping[str, str]) -> int:
    """Let `branch` have `files`, by name; return how many it had not. Raises a MatrixError where GitHub refuses."""
    added = 0
    for _ in range(_TRIES):
        tip = look(send, repository, branch)
        there = _there(send, repository, tip.tree)
        new = dict(_new(send, repository, there, files))
        if not new:
            return added
        part = dict(_fitting(new))
        posting = Branch(
            repository=repository,
            name=FOLDER,
            hash="",
            at="",
            branch=branch,
            message=f"Results of {len(part)} runs",
            files={f"{FOLDER}/{name}": text for name, text in part.items()},
        )
        try:
            # Without what stands there: files of ours that are not among these stay.
            commit(send, posting, tip._replace(standing=Standing()))
        except ConflictError:
            continue
        added += len(part)
        if len(part) == len(new):
            return added
        return added + archive(send, repository, branch, files)
    raise OutsideError(f"the branch {branch}: others were quicker {_TRIES} times; run it again")


def _new(
    send: Send, repository: Repository, there: Mapping[str, str], files: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """Yield the files that the branch has not, or not so: then with the lines that it has, which another run put there."""
    for name, text in files.items():
        sha, made = there.get(name), text
        if sha == blob(text):
            continue
        if sha is not None:
            lines = f"{_content(send, repository, sha)}\n{text}".split("\n")
            made = "".join(f"{line}\n" for line in dict.fromkeys(lines) if line)
        if sha != blob(made):
            yield name, made


def _content(send: Send, repository: Repository, sha: str) -> str:
    """Read a file of the branch."""
    path = repository.path("git", "blobs", sha)
    try:
        content = b64decode(ask(send, "branch", Request(method="GET", path=path)).word("content"))
        return content.decode()
    except ValueError as error:
        raise OutsideError(
            f"GitHub answers to GET {path} with something else than results"
        ) from error


def _there(send: Send, repository: Repository, tree: str) -> dict[str, str]:
    """Name the results that the branch has, each with its git hash."""
    if not tree:
        return {}
    path = repository.path("git", "trees", tree, recursive=1)
    document = ask(send, "branch", Request(method="GET", path=path)).document
    if not isinstance(document, dict) or document.get("truncated"):
        raise OutsideError("the branch has more files than GitHub lists: begin another one")
    prefix = f"{FOLDER}/"
    return {
        each["path"].removeprefix(prefix): each["sha"]
        for each in document.get("tree", ())
        if each.get("type") == "blob" and each["path"].startswith(prefix)
    }


def _fitting(files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield files until they are as much as one commit takes; one at least."""
    size = 0
    for name, text in files.items():
        size += len(text)
        if size > _MOST and size > len(text):
            return
        yield name, text
