"""Proposals as pull requests, and the state of upstream's: what is asked of GitHub's REST API, whoever carries it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol
from urllib.parse import quote

from matrix.errors import ConfigurationError, MatrixError, OutsideError
from matrix.evidence.git import blob, writer
from matrix.tracking import State
from reports.proposal import Proposal
from reports.text import plain

_GONE: Final = 404
_REFUSED: Final = (401, 403, _GONE)
_GOOD: Final = range(200, 300)


Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


class Ask(Protocol):
    """Carries one request to the API: method, path with query, body; and returns status and document."""

    def __call__(
        self, method: Method, path: str, body: Mapping[str, Any] | None = None, /
    ) -> tuple[int, Any]:
        """Raise OutsideError where no answer came."""


class Threads:
    """Whether upstream's pull requests and issues are open (`matrix.watching.States`)."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask

    def state(self, repository: str, number: int) -> State | None:
        """Return the state that GitHub has; None where there is no such thread or the answer is another one."""
        status, found = self._ask("GET", f"/repos/{repository}/issues/{number}")
        if status not in _GOOD or not isinstance(found, dict):
            return None
        pull = found.get("pull_request")
        if isinstance(pull, dict) and pull.get("merged_at"):
            return "merged"
        match found.get("state"):
            case "open":
                return "open"
            case "closed":
                return "closed"
        return None


class PullRequests:
    """Makes of a proposal one branch and one pull request of `repository` onto `base` (`reports.proposal.Proposer`)."""

    def __init__(self, ask: Ask, repository: str, base: str) -> None:
        self._ask = ask
        self._owner = repository.partition("/")[0]
        self._root = f"/repos/{repository}"
        self._base = base

    def propose(self, proposal: Proposal) -> str:
        """Let there be that branch and pull request, and say where; asked twice it changes nothing.

        One that somebody closed is not opened again. Raises ConfigurationError where the files on `base` are not those
        that the proposal was made from, the branch has somebody else's commit, or the token may not; OutsideError where
        GitHub fails.
        """
        found = self._pulls(proposal.branch)
        shut = [pull for pull in found if pull.get("state") != "open"]
        if shut and len(shut) == len(found):
            return f"{shut[0].get('html_url', '')} was closed, and is not opened again"
        tip = self._get("branches", self._base)["commit"]
        self._check(proposal, tip["sha"])
        self._push(proposal, tip["sha"], tip["commit"]["tree"]["sha"])
        wanted = {"title": proposal.title, "body": proposal.body}
        standing = next((pull for pull in found if pull.get("state") == "open"), None)
        if standing is None:
            made = self._send(
                "POST", "pulls", body={**wanted, "head": proposal.branch, "base": self._base}
            )
            return str(made.get("html_url", ""))
        if any(standing.get(name) != text for name, text in wanted.items()):
            self._send("PATCH", "pulls", str(standing["number"]), body=wanted)
        return str(standing.get("html_url", ""))

    def _pulls(self, branch: str) -> list[dict[str, Any]]:
        path = f"{self._root}/pulls?state=all&head={quote(f'{self._owner}:{branch}', safe='')}"
        status, found = self._ask("GET", path)
        if status not in _GOOD or not isinstance(found, list):
            raise _error("GET", path, status, found)
        return [pull for pull in found if isinstance(pull, dict)]

    def _check(self, proposal: Proposal, commit: str) -> None:
        """Refuse to write over what the base has and the checkout had not."""
        for path in proposal.files:
            own = proposal.before.get(path)
            status, found = self._ask("GET", f"{self._root}/contents/{quote(path)}?ref={commit}")
            there = found.get("sha") if status in _GOOD and isinstance(found, dict) else None
            if status not in _GOOD and status != _GONE:
                raise _error("GET", path, status, found)
            if there != (None if own is None else blob(own)):
                raise ConfigurationError(
                    f"{plain(path)}: {self._base} has another one than the checkout: bring it up to date"
                )

    def _push(self, proposal: Proposal, base: str, tree: str) -> None:
        entries = [
            {"path": path, "mode": "100644", "type": "blob", "content": content}
            for path, content in proposal.files.items()
        ]
        made = self._send("POST", "git", "trees", body={"base_tree": tree, "tree": entries})["sha"]
        ref = f"{self._root}/git/ref/heads/{quote(proposal.branch)}"
        status, found = self._ask("GET", ref)
        there = found["object"]["sha"] if status in _GOOD else ""
        if there:
            standing = self._get("git", "commits", there)
            if standing["author"]["email"] != writer()["GIT_AUTHOR_EMAIL"]:
                raise ConfigurationError(
                    f"{proposal.branch}: that branch has a commit of somebody else's"
                )
            if standing["tree"]["sha"] == made and [
                each["sha"] for each in standing["parents"]
            ] == [base]:
                return
        author = {"name": writer()["GIT_AUTHOR_NAME"], "email": writer()["GIT_AUTHOR_EMAIL"]}
        message = f"{proposal.title}\n\n{proposal.body}"
        body = {"message": message, "tree": made, "parents": [base], "author": author}
        commit = self._send("POST", "git", "commits", body=body)["sha"]
        if there:
            self._send(
                "PATCH",
                "git",
                "refs",
                "heads",
                proposal.branch,
                body={"sha": commit, "force": True},
            )
        else:
            self._send(
                "POST", "git", "refs", body={"ref": f"refs/heads/{proposal.branch}", "sha": commit}
            )

    def _get(self, *parts: str) -> dict[str, Any]:
        return self._send("GET", *parts)

    def _send(
        self, method: Method, *parts: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        path = "/".join((self._root, *(quote(part) for part in parts)))
        status, found = self._ask(method, path, body)
        if status not in _GOOD or not isinstance(found, dict):
            raise _error(method, path, status, found)
        return found


def _error(method: str, path: str, status: int, found: Any) -> MatrixError:
    """Say what GitHub refused; of a token that may not, which permissions it lacks."""
    said = found.get("message", "") if isinstance(found, dict) else ""
    told = plain(f"GitHub answers {status} ({said}) to {method} {path}", limit=300)
    if status in _REFUSED:
        return ConfigurationError(
            f"{told}: the token needs Contents: write and Pull requests: write of this repository"
        )
    return OutsideError(told)
