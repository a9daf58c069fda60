"""A file of a release, replaced when its content changes."""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote

from reports.github.outcome import Outcome
from reports.github.posting import Asset
from reports.github.refusal import ConflictError, LostError, ask, refusal
from reports.github.request import Repository, Request, Send

_TRIES: Final = 3
_MISSING: Final = 404
_INVALID: Final = 422


class File(NamedTuple):
    """What is there: where new files go, and the file of that name (0: none) with its label."""

    upload: str
    id: int
    label: str
    url: str


def look(send: Send, repository: Repository, tag: str, file: str) -> File:
    """Find the release and its file. Raises a MatrixError where there is no such release."""
    path = repository.path("releases", "tags", tag)
    answer = ask(send, "asset", Request(method="GET", path=path))
    upload = answer.word("upload_url").partition("{")[0]
    for each in answer.document.get("assets") or ():
        if isinstance(each, dict) and each.get("name") == file:
            url = str(each.get("browser_download_url") or "")
            return File(upload, int(each.get("id") or 0), str(each.get("label") or ""), url)
    return File(upload, 0, "", "")


def settle(send: Send, posting: Asset, there: File) -> Outcome:
    """Let the release have the file. Raises a MatrixError where GitHub refuses."""
    label = f"NVFP4 matrix {posting.hash}"
    for _ in range(_TRIES):
        if there.label == label:
            return Outcome(posting.place, "unchanged", there.url)
        if there.id:
            _remove(send, posting.repository, there.id)
        query = f"name={quote(posting.file, safe='')}&label={quote(label, safe='')}"
        request = Request(
            method="POST", path=f"{there.upload}?{query}", content=posting.content.encode(),
            kind=posting.kind, again=False,
        )  # fmt: skip
        try:
            answer = send(request)
        except LostError:
            there = look(send, posting.repository, posting.tag, posting.file)
            continue
        if answer.status == _INVALID and b"already_exists" in answer.content:
            there = look(send, posting.repository, posting.tag, posting.file)
            continue
        if not answer.good:
            raise refusal("asset", request, answer)
        document = answer.document
        url = document.get("browser_download_url") if isinstance(document, dict) else ""
        return Outcome(posting.place, "changed" if there.id else "created", str(url or ""))
    raise ConflictError(f"{posting.place}: lost or overtaken {_TRIES} times; run it again")


def _remove(send: Send, repository: Repository, number: int) -> None:
    request = Request(method="DELETE", path=repository.path("releases", "assets", number))
    answer = send(request)
    if not answer.good and answer.status != _MISSING:
        raise refusal("asset", request, answer)
