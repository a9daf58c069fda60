"""The verdict: what all evidence says of one cell. Pure; every sentence of the rule is tested by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from matrix.vocabulary import Answer, Reason, Verdict

Status = Literal["pass", "fallback", "slow", "fail", "skip", "error", "missing"]
"""What a probe found (design: closed list)."""

_EXECUTED: dict[str, Verdict] = {
    "pass": "works",
    "slow": "slow",
    "fallback": "fallback",
    "fail": "broken",
}
"""Statuses that settle a cell. An error, a skip or a missing result says nothing of the product."""


class PathState(NamedTuple):
    """One path on one target: `considered` is whether the library would think of it at all.

    `available` folds its pieces: yes, all can be had; no, one cannot, for `reason`; unknown otherwise.
    `fallback` is the reason that a path which is not native falls back. `on_request`: the library passes
    it over unless a switch asks for it.
    """

    path: str
    native: bool
    considered: Answer
    available: Answer
    reason: Reason = ""
    fallback: Reason = ""
    on_request: bool = False


class Judgement(NamedTuple):
    """A verdict and why it is not better; `path` is the one that decided ("" where none did)."""

    verdict: Verdict
    reason: Reason = ""
    path: str = ""


def verdict(
    paths: Sequence[PathState],
    *,
    declared: Answer,
    imports: Answer = "yes",
    blocked: Reason = "",
    selected: str | None = None,
    refused: bool = False,
    executed: Status | None = None,
    executed_reason: Reason = "",
) -> Judgement:
    """Fold paths, claims, selection and execution of one cell into its verdict.

    `paths` in the order of the data. `imports`: whether the package's modules can be loaded there, with
    `blocked` the reason where not. `selected`: the path that the library said it would choose ("" for one
    that the data does not know, None where it was not asked or said nothing); `refused`: it said that it
    serves no such layer. `executed`: what a probe found (None: never run). The rule, in order:
    1. What ran settles it: pass works, slow, fallback, fail broken.
    2. A stack whose imports do not resolve is broken.
    3. A refusal is broken where the package declares support, else unavailable. A selected path decides
       alone: native with every piece is likely, weight-only or emulated falls back; one that lacks a piece
       is broken where the package declares support, else unavailable; one that the data does not know, or
       of which a piece is undecided, is unknown.
    4. Not asked: any complete native path is likely; else any undecidable one makes it unknown; only
       incomplete ones are broken where the package declares support, else unavailable. Paths that are
       chosen on request alone do not count.
    5. No native path that the library would consider is unavailable.
    """
    if executed in _EXECUTED:
        return Judgement(_EXECUTED[executed], "" if executed == "pass" else executed_reason)
    if imports == "no":
        return Judgement("broken", blocked)
    if refused:
        return Judgement("broken" if declared == "yes" else "unavailable", "refused")
    if selected is not None:
        return _of_choice(paths, selected, declared, imports)
    native = [p for p in paths if p.native and p.considered != "no"]
    usual = [p for p in native if not p.on_request]
    if native and not usual:
        return Judgement("unavailable", "on_request", native[0].path)
    return _judge(usual, declared, imports, paths)


def _of_choice(
    paths: Sequence[PathState], selected: str, declared: Answer, imports: Answer
) -> Judgement:
    """Judge by the selected path alone. It is considered, whatever its gate was read to say."""
    chosen = next((path for path in paths if path.path == selected), None)
    if chosen is None:
        return Judgement("unknown", "unlisted_path", selected)
    if not chosen.native and chosen.available != "no":
        return Judgement("fallback", chosen.fallback, selected)
    return _judge([chosen._replace(considered="yes")], declared, imports)


def _judge(
    native: Sequence[PathState],
    declared: Answer,
    imports: Answer,
    paths: Sequence[PathState] = (),
) -> Judgement:
    complete = [path for path in native if path.available == "yes"]
    for path in complete:
        if path.considered == "yes":
            if imports == "unknown":
                return Judgement("unknown", "not_measured", path.path)
            return Judgement("likely", "", path.path)
    for path in native:
        if path.available == "unknown":
            return Judgement("unknown", path.reason or "not_measured", path.path)
    if complete:
        return Judgement("unknown", "not_asked", complete[0].path)
    if native:
        first = min(native, key=lambda path: path.considered != "yes")
        worst: Verdict = "broken" if declared == "yes" else "unavailable"
        return Judgement(worst, first.reason, first.path)
    refused = [path for path in paths if path.native]
    return Judgement("unavailable", "not_declared" if refused else "no_path")
