"""What a user wants posted, and the postings that this makes of a report. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from matrix.cell import Report
from matrix.model import Model
from reports.github import content, pages
from reports.github.annotate import remarks
from reports.github.change import changes
from reports.github.content import Told
from reports.github.posting import Asset, Branch, Check, Comment, Posting, Status
from reports.github.request import Repository
from reports.github.required import Required
from reports.github.state import Packed, fingerprint, pack, state, unpack

Kind = Literal["branch", "check", "status", "comment", "asset"]
ORDER: Final[tuple[Kind, ...]] = ("branch", "check", "status", "comment", "asset")
"""What others link to goes first."""

NOWHERE: Final = Repository(owner="", name="")
"""Where a summary alone is posted: nothing of it goes to a repository."""

ASSET: Final = "nvfp4-matrix.html"


class Wish(Model, frozen=True, kw_only=True):
    """Where to post, and what goes into every text. Empty: not there.

    `number`: of an issue or pull request. `lines`: stack → line of the stack file at `stack_file`.
    """

    repository: Repository
    name: str
    commit: str = ""
    check: bool = False
    status: bool = False
    number: int | None = None
    branch: str = ""
    tag: str = ""
    link: str | None = None
    headline: tuple[str, ...] = ("gemm", "moe")
    stack_file: str = ""
    lines: Mapping[str, int] = {}

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Give what is wanted, in the order in which it is posted."""
        wanted: dict[Kind, bool] = {
            "branch": bool(self.branch),
            "check": self.check,
            "status": self.status,
            "comment": self.number is not None,
            "asset": bool(self.tag),
        }
        return tuple(kind for kind in ORDER if wanted[kind])


class Matter(Model, frozen=True, kw_only=True):
    """What there is to tell: everything, and of it what a text shows; `page` draws the first as HTML."""

    whole: Report
    brief: Report
    required: Required


class Before(Model, frozen=True, kw_only=True):
    """What was posted last, by the branch and by the comment; `unread`: that could not be found out."""

    branch: Packed | None = None
    comment: Packed | None = None
    unread: bool = False


def tell(wish: Wish, matter: Matter, before: Packed | None, *, unread: bool = False) -> Told:
    """Compare with what was posted last, and gather what a text is made of."""
    found = changes(unpack(before), state(matter.brief)) if before else ()
    return Told(
        report=matter.brief,
        required=matter.required,
        changes=found,
        compared=(before.generated or "the last post") if before else "" if wish.kinds else None,
        link=wish.link,
        headline=wish.headline,
        unread=unread and before is None,
    )


def postings(
    wish: Wish, matter: Matter, before: Before, page: Callable[[], str]
) -> Iterator[tuple[Kind, Posting]]:
    """Make the postings that are wished for. A comment is compared with itself, all else with the branch."""
    said = tell(wish, matter, before.branch or before.comment, unread=before.unread)
    replied = tell(wish, matter, before.comment or before.branch, unread=before.unread)
    drawn = page() if wish.branch or wish.tag else ""
    for kind in wish.kinds:
        yield kind, _posting(kind, wish, matter, replied if kind == "comment" else said, drawn)


def narrow(report: Report, capabilities: Sequence[str], targets: Sequence[str]) -> Report:
    """Take of a report only what is about the named capabilities and targets."""
    return msgspec.structs.replace(
        report,
        targets=tuple(target for target in report.targets if target.name in targets),
        cells=tuple(
            cell
            for cell in report.cells
            if cell.capability in capabilities and cell.target in targets
        ),
        contradictions=tuple(
            one
            for one in report.contradictions
            if one.capability in capabilities and one.target in targets
        ),
    )


def _posting(kind: Kind, wish: Wish, matter: Matter, told: Told, page: str) -> Posting:
    at = matter.whole.generated
    if kind in ("branch", "asset"):
        return _files(kind, wish, matter, told, page)
    hash_ = content.identity(told)
    common: Any = {"repository": wish.repository, "name": wish.name, "hash": hash_, "at": at}
    if kind == "comment":
        packed = pack(state(matter.brief), at)
        body = content.comment(told, wish.name, packed)
        return Comment(**common, number=wish.number or 0, body=body)
    conclusion = matter.required.conclusion
    if kind == "status":
        return Status(
            **common,
            commit=wish.commit,
            state="failure" if conclusion == "failure" else "success",
            description=content.description(told),
            link=wish.link or "",
        )
    title, summary, text = content.check(told)
    found = remarks(matter.required, told.changes, path=wish.stack_file, lines=wish.lines)
    return Check(
        **common,
        commit=wish.commit,
        conclusion=conclusion,
        title=title,
        summary=summary,
        text=text,
        link=wish.link or "",
        annotations=found if wish.stack_file else (),
    )


def _files(kind: Kind, wish: Wish, matter: Matter, told: Told, page: str) -> Posting:
    whole, at = matter.whole, matter.whole.generated
    undated = msgspec.structs.replace(whole, generated="")
    hash_ = fingerprint((msgspec.json.encode(undated),))
    common: Any = {"repository": wish.repository, "name": wish.name, "hash": hash_, "at": at}
    if kind == "asset":
        return Asset(**common, tag=wish.tag, file=ASSET, kind="text/html", content=page)
    made = pages.files(whole, page=page, hash_=hash_, state=pack(state(whole), at))
    # A commit's message makes references, too: it holds counts, and a name that is checked.
    message = f"NVFP4 matrix: {content.title(told)}"
    return Branch(**common, branch=wish.branch, message=message, files=made)
