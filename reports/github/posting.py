"""Postings: what is to stand on GitHub in the end, whatever stands there now. Kept as they are if they fail."""

from __future__ import annotations

from typing import Final, Literal

from matrix.model import Model
from reports.github.request import Repository

State = Literal["success", "failure"]


class Annotation(Model, frozen=True, kw_only=True):
    """A remark on a line of a file, in the words of GitHub's API."""

    path: str
    start_line: int
    end_line: int
    annotation_level: Literal["notice", "warning", "failure"]
    message: str
    title: str


class _Posting(Model, frozen=True, kw_only=True):
    """`name` tells the matrices of one repository apart; `hash` their contents; `at` is when it was true."""

    repository: Repository
    name: str
    hash: str
    at: str


class Comment(_Posting, frozen=True, kw_only=True, tag="comment"):
    """One comment on an issue or a pull request. `body` opens with the hidden marker."""

    number: int
    body: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"the comment on #{self.number}"


class Check(_Posting, frozen=True, kw_only=True, tag="check"):
    """A check run on a commit."""

    commit: str
    conclusion: Literal["success", "failure", "neutral"]
    title: str
    summary: str
    text: str
    link: str = ""
    annotations: tuple[Annotation, ...] = ()

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"the check on {self.commit[:12]}"


class Status(_Posting, frozen=True, kw_only=True, tag="status"):
    """A commit status: for tokens that cannot create check runs."""

    commit: str
    state: State
    description: str
    link: str = ""

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"the status of {self.commit[:12]}"


class Branch(_Posting, frozen=True, kw_only=True, tag="branch"):
    """Files on a branch, in one commit; other files of the branch stay. `files` must hold state.json."""

    branch: str
    message: str
    files: dict[str, str]

    @property
    def place(self) -> str:
        """Where they stand."""
        return f"the branch {self.branch}"


class Asset(_Posting, frozen=True, kw_only=True, tag="asset"):
    """A file of a release that exists."""

    tag: str
    file: str
    kind: str
    content: str

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.file} of release {self.tag}"


Posting = Comment | Check | Status | Branch | Asset

DESCRIPTION: Final = 140
"""Characters of a commit status's description (GitHub's API, "Create a commit status")."""
ANNOTATIONS: Final = 50
"""Annotations that one request may hold."""
FIELD: Final = 65_535
"""Characters of a check run's summary, and of its text."""
COMMENT: Final = 65_536
"""Characters of a comment."""
SUMMARY: Final = 1024 * 1024
"""Bytes of a step's summary."""
