"""Which permission each feature needs, and what a refusal means in one line. docs/publish.md has the same table."""

from __future__ import annotations

from typing import Final, Literal

from matrix.errors import ConfigurationError, MatrixError, OutsideError
from reports.github.request import Answer, Request, Send
from reports.text import plain

Feature = Literal["comment", "check", "status", "branch", "asset", "label", "stacks", "runners"]

NEEDED: Final[dict[Feature, tuple[str, str]]] = {
    "comment": ("Issues and Pull requests: write", "issues: write, pull-requests: write"),
    "check": ("Checks: write, of an app or a job's own token", "checks: write"),
    "status": ("Commit statuses: write", "statuses: write"),
    "branch": ("Contents: write", "contents: write"),
    "asset": ("Contents: write", "contents: write"),
    "label": ("Pull requests: write", "pull-requests: write"),
    "stacks": ("Contents: read", "contents: read"),
    "runners": ("Administration: read", "none: a job's own token cannot have it"),
}
"""As a fine-grained token or an app calls it, and as `permissions:` of a workflow does."""


class RefusedError(ConfigurationError):
    """GitHub will not do it as it is asked: token, permission, or a name that is not there.

    `later`: with another token it would.
    """

    def __init__(self, words: str, *, later: bool = False) -> None:
        super().__init__(words)
        self.later = later


class ConflictError(OutsideError):
    """Somebody else was quicker: look again, then decide again."""


class LostError(OutsideError):
    """No answer came to a request that may have been carried out: look before asking again."""


def ask(send: Send, feature: Feature, request: Request) -> Answer:
    """Send a request that must succeed. Raises what a refusal means."""
    answer = send(request)
    if not answer.good:
        raise refusal(feature, request, answer)
    return answer


def refusal(  # noqa: PLR0911 - one arm an answer
    feature: Feature, request: Request, answer: Answer
) -> MatrixError:
    """Say what an answer that says no means, and what to do."""
    asked = f"{request.method} {plain(request.path, limit=200)}"
    said = plain(answer.message, limit=200)
    told = f"GitHub answers {answer.status}{f' ({said})' if said else ''} to {asked}"
    by_token, by_job = NEEDED[feature]
    accepted = plain(answer.headers.get("x-accepted-github-permissions", ""), limit=200)
    named = f"{by_token} (in a workflow, permissions: {by_job})" + (
        f"; GitHub accepts {accepted}" if accepted else ""
    )
    if feature == "check":
        named += "; --status does without it"
    match answer.status:
        case 401:
            return RefusedError(f"{told}: the token is wrong, expired or revoked", later=True)
        case 403:
            return RefusedError(f"{told}: the token lacks the permission {named}", later=True)
        case 404:
            return RefusedError(
                f"{told}: it does not exist, or is private and the token lacks the permission {named}"
            )
        case 410:
            return RefusedError(f"{told}: it is switched off or was removed")
        case 301 | 302 | 307 | 308:
            moved = "the repository has another name now; give that one with --repository"
            return RefusedError(f"{told}: {moved}")
        case 409 if "empty" in said.lower():
            return RefusedError(f"{told}: push a first commit to the repository")
        case 409:
            return ConflictError(f"{told}: somebody else was quicker; run it again")
        case 422:
            return RefusedError(f"{told}: is the commit, branch or number one of this repository?")
        case _:
            return OutsideError(f"{told}; what was to be posted is kept, run it again later")
