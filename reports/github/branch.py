"""The results branch: all files in one commit, by git trees; another's commit in between is built upon."""

from __future__ import annotations

import re
from base64 import b64decode
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import msgspec

from matrix.errors import OutsideError
from reports.github import pages
from reports.github.outcome import Outcome
from reports.github.posting import Branch
from reports.github.refusal import ConflictError, ask, refusal
from reports.github.request import Answer, Repository, Request, Send

_TRIES: Final = 3
_MISSING: Final = 404
_INVALID: Final = 422
_TAKEN: Final = (409, _INVALID)
_RACED = re.compile(r"fast.?forward|already exists|conflict", re.IGNORECASE)
"""What GitHub says where somebody else was quicker; a branch that is protected is refused with other words."""


class Tip(NamedTuple):
    """The newest commit of the branch, its tree, and what state.json says; no commit: no such branch yet."""

    commit: str
    tree: str
    standing: pages.Standing


class _Tree(msgspec.Struct):
    sha: str


class _Inner(msgspec.Struct):
    tree: _Tree


class _Commit(msgspec.Struct):
    sha: str
    commit: _Inner


class _Found(msgspec.Struct):
    """What is read of a branch as GitHub describes it."""

    commit: _Commit


NOTHING: Final = Tip("", "", pages.Standing())


def look(send: Send, repository: Repository, branch: str) -> Tip:
    """Find the branch and what was posted there last."""
    asked = Request(method="GET", path=repository.path("branches", branch))
    answer = send(asked)
    if answer.status == _MISSING:
        # A repository that the token may not see answers so, too: the first write will tell.
        return NOTHING
    try:
        found = msgspec.json.decode(_good(asked, answer).content, type=_Found)
    except msgspec.DecodeError as error:
        words = f"GitHub answers to GET {asked.path} with something else than a branch ({error})"
        raise OutsideError(words) from None
    commit, tree = found.commit.sha, found.commit.commit.tree.sha
    asked = Request(method="GET", path=repository.path("contents", pages.STATE, ref=commit))
    answer = send(asked)
    if answer.status == _MISSING:
        return Tip(commit, tree, pages.Standing())
    return Tip(commit, tree, _standing(_good(asked, answer).document))


def settle(send: Send, posting: Branch, tip: Tip) -> Outcome:
    """Let the branch hold `posting`'s files. Raises a MatrixError where GitHub refuses."""
    for _ in range(_TRIES):
        if tip.standing.hash == posting.hash:
            return Outcome(posting.place, "unchanged")
        if tip.standing.at > posting.at:
            return Outcome(posting.place, "newer")
        try:
            commit(send, posting, tip)
        except ConflictError:
            tip = look(send, posting.repository, posting.branch)
            continue
        return Outcome(posting.place, "changed" if tip.commit else "created")
    raise ConflictError(f"{posting.place}: others were quicker {_TRIES} times; run it again")


def commit(send: Send, posting: Branch, tip: Tip) -> None:
    """Add one commit that has `posting`'s files, and no longer those of the tip's standing. Raises ConflictError."""
    at = posting.repository.path
    body = {
        "message": posting.message,
        "tree": _tree(send, posting, tip),
        "parents": [tip.commit] if tip.commit else [],
    }
    request = Request(method="POST", path=at("git", "commits"), body=body)
    made = ask(send, "branch", request).word("sha")
    if tip.commit:
        path = at("git", "refs", "heads") + f"/{quote(posting.branch)}"
        request = Request(method="PATCH", path=path, body={"sha": made, "force": False})
    else:
        body = {"ref": f"refs/heads/{posting.branch}", "sha": made}
        request = Request(method="POST", path=at("git", "refs"), body=body)
    answer = send(request)
    if answer.status in _TAKEN and _RACED.search(answer.message):
        raise ConflictError(f"{posting.place}: {answer.message}")
    _good(request, answer)


def _tree(send: Send, posting: Branch, tip: Tip) -> str:
    """Make the tree, without the files that are no longer made. Returns its name."""
    entry = {"mode": "100644", "type": "blob"}
    made = [{"path": path, **entry, "content": text} for path, text in posting.files.items()]
    gone = sorted(set(tip.standing.files) - set(posting.files))
    removed = [{"path": path, **entry, "sha": None} for path in gone]
    for tree in ([*made, *removed], made):
        body: dict[str, Any] = {"tree": tree} | ({"base_tree": tip.tree} if tip.tree else {})
        request = Request(method="POST", path=posting.repository.path("git", "trees"), body=body)
        answer = send(request)
        # Somebody removed one by hand: then it cannot be removed again, and may stay.
        if not (removed and answer.status == _INVALID):
            break
    return _good(request, answer).word("sha")


def _standing(document: Any) -> pages.Standing:
    content = document.get("content") if isinstance(document, dict) else None
    try:
        return pages.read(b64decode(content)) if isinstance(content, str) else pages.Standing()
    except ValueError:
        return pages.Standing()


def _good(request: Request, answer: Answer) -> Answer:
    if not answer.good:
        raise refusal("branch", request, answer)
    return answer
