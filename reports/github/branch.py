"""The results branch: all files in one commit, by git trees; another's commit in between is built upon."""

from __future__ import annotations

from base64 import b64decode
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from reports.github import pages
from reports.github.outcome import Outcome
from reports.github.posting import Branch
from reports.github.refusal import ConflictError, ask, refusal
from reports.github.request import Answer, Repository, Request, Send

_TRIES: Final = 3
_MISSING: Final = 404
_TAKEN: Final = (409, 422)


class Tip(NamedTuple):
    """The newest commit of the branch, its tree, and what state.json says; no commit: no such branch yet."""

    commit: str
    tree: str
    standing: pages.Standing


NOTHING: Final = Tip("", "", pages.Standing())


def look(send: Send, repository: Repository, branch: str) -> Tip:
    """Find the branch and what was posted there last."""
    asked = Request(method="GET", path=repository.path("branches", branch))
    answer = send(asked)
    if answer.status == _MISSING:
        # A repository that the token may not see answers so, too: the first write will tell.
        return NOTHING
    document = _good(asked, answer).document or {}
    commit = str(document["commit"]["sha"])
    tree = str(document["commit"]["commit"]["tree"]["sha"])
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
    entry = {"mode": "100644", "type": "blob"}
    tree: list[dict[str, Any]] = [
        {"path": path, **entry, "content": content} for path, content in posting.files.items()
    ]
    gone = set(tip.standing.files) - set(posting.files)
    tree += [{"path": path, **entry, "sha": None} for path in sorted(gone)]
    body: dict[str, Any] = {"tree": tree}
    if tip.tree:
        body["base_tree"] = tip.tree
    made = ask(send, "branch", Request(method="POST", path=at("git", "trees"), body=body)).document
    body = {
        "message": posting.message,
        "tree": made["sha"],
        "parents": [tip.commit] if tip.commit else [],
    }
    made = ask(
        send, "branch", Request(method="POST", path=at("git", "commits"), body=body)
    ).document
    if tip.commit:
        path = at("git", "refs", "heads") + f"/{quote(posting.branch)}"
        request = Request(method="PATCH", path=path, body={"sha": made["sha"], "force": False})
    else:
        body = {"ref": f"refs/heads/{posting.branch}", "sha": made["sha"]}
        request = Request(method="POST", path=at("git", "refs"), body=body)
    answer = send(request)
    if answer.status in _TAKEN and "empty" not in answer.message.lower():
        raise ConflictError(f"{posting.place}: {answer.message}")
    _good(request, answer)


def _standing(document: Any) -> pages.Standing:
    content = document.get("content") if isinstance(document, dict) else None
    return pages.read(b64decode(content)) if isinstance(content, str) else pages.Standing()


def _good(request: Request, answer: Answer) -> Answer:
    if not answer.good:
        raise refusal("branch", request, answer)
    return answer
