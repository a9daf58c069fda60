"""Where a change landed: its commits on the main branch and on release branches, and what took it out again. Pure.

A squashed pull request's subject ends in `(#NNNNN)`, on main and where it was cherry-picked; a pick under another
subject has the same patch id, or its message says what it was picked from. Ancestry alone tells none of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from matrix.history import Commit, History, Tag

How = Literal["merged", "picked", "reverted", "reapplied"]
By = Literal["subject", "patch", "message"]

_OWN: Final = re.compile(r"\(#(\d+)\)\s*$")
_NUMBERS: Final = re.compile(r"#(\d+)\b")
_REVERT: Final = re.compile(r"^(?:\[[^\]]*\]\s*)*revert\b", re.IGNORECASE)
_NESTED: Final = re.compile(r'(?:revert|reapply)\s+["\u201c]', re.IGNORECASE)
_AGAIN: Final = re.compile(r"\b(?:re-?apply|re-?land)(?:s|ed|ing)?\b", re.IGNORECASE)
_PICK: Final = re.compile(
    r"\bcherry[- ]?pick(?:s|ed|ing)?\b|\bback-?port(?:s|ed|ing)?\b", re.IGNORECASE
)
_MERGE: Final = re.compile(r"Merge pull request #(\d+) from ")
_PLAIN_REVERT: Final = re.compile(r"\b(?:PR|pull(?: request)?)\s+#?(\d+)\b", re.IGNORECASE)


class Event(NamedTuple):
    """One commit that brings a change, or takes it away. `by`: what says so."""

    commit: Commit
    how: How
    by: By

    @property
    def brings(self) -> bool:
        """Say whether the change is there behind this commit."""
        return self.how != "reverted"


Alike = Callable[[Sequence[str], Sequence[str]], Mapping[str, str]]
"""Of two lists of commits: those of the second that make the same change as one of the first, and as which."""


def own_number(subject: str) -> int | None:
    """Return the pull request that a squashed or merge commit is, by its subject."""
    found = _OWN.search(subject) or _MERGE.match(subject)
    return int(found[1]) if found else None


def by_pull(history: History, number: int) -> Iterator[Event]:
    """Yield what subjects say of a pull request."""
    for commit in history.commits.values():
        if f"#{number}" not in commit.subject and not _REVERT.match(commit.subject):
            continue
        how = _how(commit.subject, number, on_main=commit.sha in history.mainline)
        if how:
            yield Event(commit, how, "subject")


def by_commit(history: History, start: str) -> Iterator[Event]:
    """Yield the commit that begins with `start`."""
    whole = history.whole(start)
    if whole:
        yield Event(history.commits[whole], _place(history, whole), "subject")


def by_issue(history: History, number: int) -> Iterator[Event]:
    """Yield the commits that say that they fix an issue."""
    for sha, told in history.said.items():
        if number in told.fixes and sha in history.commits:
            yield Event(history.commits[sha], _place(history, sha), "message")


def followed(history: History, found: Sequence[Event], alike: Alike | None = None) -> list[Event]:
    """Add to what brings a change its picks by patch id, and what messages revert or were picked from; newest first."""
    events = {event.commit.sha: event for event in found}
    if alike is not None and (brought := [sha for sha, event in events.items() if event.brings]):
        others = [sha for sha in history.apart if sha not in events]
        for sha in alike(brought, others):
            events[sha] = Event(history.commits[sha], "picked", "patch")
    telling = [sha for sha in history.said if sha in history.order]
    telling.sort(
        key=history.order.__getitem__, reverse=True
    )  # a message names what is older than it
    for sha in telling:
        if sha in events:
            continue
        told = history.said[sha]
        for taken in _named(events, told.reverts):
            how: How = "reverted" if taken.brings else "reapplied"
            events[sha] = Event(history.commits[sha], how, "message")
        for taken in _named(events, told.picked_from):
            how = _place(history, sha) if taken.brings else "reverted"
            events.setdefault(sha, Event(history.commits[sha], how, "message"))
    return sorted(events.values(), key=lambda event: history.order[event.commit.sha])


def holds(history: History, events: Sequence[Event], tip: str) -> bool:
    """Say whether the change is in what `tip` is: of the events that it contains the newest one brings it."""
    for event in events:
        if tip in history.after(event.commit.sha):
            return event.brings
    return False


def entered(history: History, events: Sequence[Event]) -> dict[str, bool]:
    """Say of each release in the order of versions whether it has the change."""
    return {
        str(version): holds(history, events, tag.commit)
        for version, tag in history.releases.items()
    }


def ranges(has: Mapping[str, bool]) -> tuple[str, ...]:
    """Fold releases that have the change into ranges: "0.11.2", "0.12.1 to 0.12.3", "0.13.0 and later"."""
    found: list[list[str]] = []
    before = False
    for version, there in has.items():
        if there and before:
            found[-1].append(version)
        elif there:
            found.append([version])
        before = there
    told = [each[0] if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in found]
    if found and before:
        told[-1] = f"{found[-1][0]} and later"
    return tuple(told)


def first_nightly(history: History, events: Sequence[Event]) -> Tag | None:
    """Return the oldest nightly that has the change."""
    has = [
        each
        for each in history.tags
        if each.kind == "nightly" and holds(history, events, each.commit)
    ]
    return min(has, key=lambda each: (history.commits[each.commit].time, each.name), default=None)


def branches_of(history: History, event: Event) -> tuple[str, ...]:
    """Name the release branches that contain a commit which the main branch has not."""
    if event.commit.sha in history.mainline:
        return ()
    after = history.after(event.commit.sha)
    return tuple(name for name, tip in history.branches.items() if tip in after)


def _named(events: Mapping[str, Event], commits: Sequence[str]) -> list[Event]:
    """Pick the events whose commits are named, whole or cut short."""
    return [event for sha, event in events.items() if any(sha.startswith(one) for one in commits)]


def _place(history: History, sha: str) -> How:
    return "merged" if sha in history.mainline else "picked"


def _how(subject: str, number: int, *, on_main: bool) -> How | None:  # noqa: PLR0911 - one arm a form of subject
    """Tell what a commit of this subject does with a pull request; None where it does nothing with it."""
    if own_number(subject) == number:
        return "merged" if on_main else "picked"
    about = {int(each) for each in _NUMBERS.findall(subject)} - {own_number(subject)}
    if _REVERT.match(subject):
        about |= {int(each) for each in _PLAIN_REVERT.findall(subject)}
        if number not in about:
            return None
        # Revert "Revert "X (#1)" (#2)" (#3): what is taken back twice is there again.
        words = _NESTED.findall(subject)
        taken = sum(1 for word in words if word.lower().startswith("revert"))
        return "reapplied" if taken and taken % 2 == 0 else "reverted"
    if number not in about:
        return None
    if _AGAIN.search(subject):
        return "reapplied"
    if _PICK.search(subject) and not on_main:
        return "picked"
    return None
