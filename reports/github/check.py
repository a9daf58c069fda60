"""The check run of a commit: made once for a content, its annotations in batches."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from reports.github.outcome import Outcome
from reports.github.posting import ANNOTATIONS, Check
from reports.github.refusal import LostError, ask
from reports.github.request import Repository, Request, Send

_TRIES: Final = 3


class Run(NamedTuple):
    """The newest check run of a name on a commit. `annotated`: how many annotations it has."""

    id: int
    hash: str
    at: str
    done: bool
    annotated: int
    url: str


def look(send: Send, repository: Repository, commit: str, name: str) -> Run | None:
    """Find the newest check run of that name."""
    path = repository.path("commits", commit, "check-runs", check_name=name, filter="latest")
    document = ask(send, "check", Request(method="GET", path=path)).document
    listed = document.get("check_runs") if isinstance(document, dict) else None
    runs = [each for each in listed or () if isinstance(each, dict) and each.get("name") == name]
    newest = max(runs, key=lambda each: each.get("id", 0), default=None)
    return None if newest is None else _read(newest)


def settle(send: Send, posting: Check, there: Run | None) -> Outcome:
    """Let the commit's newest check run of that name say what `posting` says.

    A run cannot lose annotations, so that another content is another run; one that was left half-way, of the
    same content, is gone on with. Raises a MatrixError where GitHub refuses.
    """
    for _ in range(_TRIES):
        if there and there.hash != posting.hash and there.at > posting.at:
            return Outcome(posting.place, "newer", there.url)
        if there and there.hash == posting.hash:
            if there.done:
                return Outcome(posting.place, "unchanged", there.url)
            return _go_on(send, posting, there)
        try:
            answer = ask(send, "check", _first(posting))
        except LostError:
            there = look(send, posting.repository, posting.commit, posting.name)
            continue
        made = _read(answer.document or {})
        made = made._replace(annotated=min(ANNOTATIONS, len(posting.annotations)))
        what = (
            _go_on(send, posting, made)
            if not made.done
            else Outcome(posting.place, "created", made.url)
        )
        return what._replace(what="changed" if there else "created")
    raise LostError(f"{posting.place}: no answer came in {_TRIES} attempts")


def _first(posting: Check) -> Request:
    body: dict[str, Any] = {
        "name": posting.name,
        "head_sha": posting.commit,
        "external_id": f"{posting.hash} {posting.at}",
        "output": _output(posting, 0),
    }
    if posting.link:
        body["details_url"] = posting.link
    body |= _end(posting, ANNOTATIONS)
    path = posting.repository.path("check-runs")
    return Request(method="POST", path=path, body=body, again=False)


def _go_on(send: Send, posting: Check, run: Run) -> Outcome:
    """Send the annotations that are left, the conclusion with the last of them."""
    at = run.annotated
    while True:
        body = {"output": _output(posting, at), **_end(posting, at + ANNOTATIONS)}
        path = posting.repository.path("check-runs", run.id)
        # Annotations are added at each request: an answer that was lost is looked for by the next run.
        ask(send, "check", Request(method="PATCH", path=path, body=body, again=False))
        at += ANNOTATIONS
        if at >= len(posting.annotations):
            return Outcome(posting.place, "changed", run.url)


def _output(posting: Check, at: int) -> dict[str, Any]:
    some = posting.annotations[at : at + ANNOTATIONS]
    output: dict[str, Any] = {
        "title": posting.title, "summary": posting.summary, "text": posting.text,
    }  # fmt: skip
    return output | ({"annotations": msgspec.to_builtins(some)} if some else {})


def _end(posting: Check, sent: int) -> dict[str, str]:
    """Conclude once all annotations are sent."""
    if sent < len(posting.annotations):
        return {"status": "in_progress"}
    return {"status": "completed", "conclusion": posting.conclusion}


def _read(run: dict[str, Any]) -> Run:
    hash_, _, at = str(run.get("external_id") or "").partition(" ")
    output = run.get("output")
    count = output.get("annotations_count") if isinstance(output, dict) else 0
    url = run.get("html_url")
    return Run(
        id=int(run.get("id") or 0),
        hash=hash_,
        at=at,
        done=run.get("status") == "completed",
        annotated=count if isinstance(count, int) else 0,
        url=url if isinstance(url, str) else "",
    )
