"""What changed between two posts: regressed, fixed, newly missing, still broken. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

from reports.github.state import Key, Seen, State

Kind = Literal["regressed", "missing", "fixed", "other", "new", "still"]
KINDS: Final[tuple[Kind, ...]] = ("regressed", "missing", "fixed", "still", "new", "other")
"""In the order in which a reader needs them."""

WORDS: Final[dict[Kind, str]] = {
    "regressed": "regressed",
    "missing": "newly missing",
    "fixed": "fixed",
    "still": "still broken",
    "new": "new",
    "other": "changed otherwise",
}

_RANK: Final = {"works": 0, "likely": 0, "slow": 1, "fallback": 1, "broken": 2, "unavailable": 2}
"""`unknown` has none: it is neither better nor worse, it is evidence that is not there."""

_RAN: Final = frozenset({"pass", "fallback", "slow", "fail"})


class Change(NamedTuple):
    """One cell that is worth a word; no `before`: it is new, no `after`: it is gone."""

    kind: Kind
    key: Key
    before: Seen | None
    after: Seen | None


def changes(before: State, after: State) -> tuple[Change, ...]:
    """Compare two states; of `before` only the columns count that `after` has, too.

    So that a post about fewer targets or capabilities than the one before does not call the rest missing.
    """
    columns = {key[1:] for key in after}
    found = [
        Change(kind, key, before.get(key), seen)
        for key, seen in after.items()
        if (kind := _kind(before.get(key), seen))
    ]
    found += [
        Change("missing", key, seen, None)
        for key, seen in before.items()
        if key not in after and key[1:] in columns
    ]
    return tuple(found)


def counts(found: Sequence[Change]) -> Mapping[Kind, int]:
    """Count changes by kind, in the order of KINDS; kinds without any are left out."""
    counted = Counter(change.kind for change in found)
    return {kind: counted[kind] for kind in KINDS if counted[kind]}


def _kind(before: Seen | None, after: Seen) -> Kind | None:
    if before is None:
        return "new"
    if before == after:
        return "still" if after.verdict == "broken" else None
    was, now = _RANK.get(before.verdict), _RANK.get(after.verdict)
    if was is not None and now is not None and was != now:
        return "regressed" if now > was else "fixed"
    if (was is not None and now is None) or (
        before.executed in _RAN and after.executed not in _RAN
    ):
        return "missing"
    return "still" if before.verdict == after.verdict == "broken" else "other"
