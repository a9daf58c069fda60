"""What became of a watched change: its state, the first builds that have it, its picks, and the stacks with it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec
from packaging.version import InvalidVersion, Version

from matrix.build import Build
from matrix.effect import Change
from matrix.history import History
from matrix.landing import (
    Alike,
    By,
    Event,
    How,
    branches_of,
    by_commit,
    by_issue,
    by_pull,
    entered,
    first_nightly,
    followed,
    holds,
    ranges,
)
from matrix.model import Model
from matrix.upstream import Kind, Repository, Watched

State = Literal["merged", "reverted", "fixed", "open", "closed", "unknown"]
"""`fixed` is an issue's: a commit that says so is on the main branch. `open` and `closed` no clone tells."""

Evidence = Literal["changed", "unchanged", "not_measured", "not_released", "unknown"]
"""`not_measured`: no wheel before or after it was read. `not_released`: no release has it."""

UNKNOWN: Final = "unknown"
NONE: Final = "none"


class Landed(Model, frozen=True, kw_only=True):
    """One commit of a change. `branches`: the release branches that have it where the main branch has not."""

    commit: str
    how: How
    by: By
    day: str
    subject: str
    branches: tuple[str, ...] = ()


class Tracked(Model, frozen=True, kw_only=True):
    """A watched change and what was computed of it.

    `state` is of the main branch where a clone was read. `merged`: the commit that brought it first. `first_release`,
    `first_nightly`, `first_image`: a name, "none" where none has it, "unknown" where nothing tells. Releases are ordered
    by version, nightlies by time; `at_latest`: releases are published right before the first of which nothing is known.
    `releases`: ranges of all that have it, and `has` one by one. `picks`: commits beside the main branch that bring it. `stacks`: ours, by whether they have it. `before`, `after`: what the evidence was compared of.
    """

    watch: str
    repository: Repository
    kind: Kind
    number: int
    title: str
    source: str
    capabilities: tuple[str, ...]
    targets: tuple[str, ...]
    state: State
    merged: str = ""
    merged_day: str = ""
    first_release: str = UNKNOWN
    at_latest: bool = False
    first_nightly: str = UNKNOWN
    first_image: str = UNKNOWN
    releases: tuple[str, ...] = ()
    has: tuple[str, ...] = ()
    picks: int = 0
    landed: tuple[Landed, ...] = ()
    stacks: dict[Literal["yes", "no", "unknown"], tuple[str, ...]] = {}  # noqa: RUF012 - msgspec copies an empty default
    evidence: Evidence = "unknown"
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()


def events_of(watched: Watched, history: History, alike: Alike | None) -> list[Event]:
    """Find the commits of a watched change, newest first."""
    match watched.kind:
        case "pull":
            found = by_pull(history, watched.number)
        case "issue":
            found = by_issue(history, watched.number)
        case "commit":
            found = by_commit(history, watched.commit)
    return followed(history, tuple(found), alike)


def untold(watched: Watched, note: str = "", state: State = "unknown") -> Tracked:
    """Return a change of which nothing is computed yet, and why."""
    return Tracked(
        watch=watched.watch,
        repository=watched.repository,
        kind=watched.kind,
        number=watched.number,
        title=watched.title,
        source=watched.source,
        capabilities=watched.capabilities,
        targets=watched.targets,
        state=state,
        notes=(note,) if note else (),
    )


def tracked(
    watched: Watched,
    history: History,
    events: Sequence[Event],
    *,
    builds: Sequence[Build] = (),
    published: Collection[str] = (),
    said: State | None = None,
) -> Tracked:
    """Compute what a history tells of a change.

    `published`: releases that the index has; where some are newer than the newest tag, that no tag has the change says
    nothing. `said`: the state that somebody was asked for.
    """
    releases = entered(history, events)
    nightly = first_nightly(history, events)
    nightlies = any(tag.kind == "nightly" for tag in history.tags)
    built = [build for build in builds if _in(build, history, events)]
    image = next((build.name for build in built if build.kind == "image"), None)
    name = nightly.name if nightly else next((b.name for b in built if b.kind == "nightly"), None)
    there = [version for version, has in releases.items() if has]
    brought = [event for event in events if event.how == "merged"] or [
        e for e in events if e.brings
    ]
    notes = []
    if history.shallow:
        notes.append("the clone is shallow: what is older than it is not known")
    newer = untagged(history, published)
    between = _between(releases, there[0], published) if there else []
    if between:
        notes.append(
            f"{len(between)} published releases before {there[0]} have no tag here: it may be in one of them, and what "
            "changed may be of any"
        )
    state = _state(watched, history, events, said)
    merged = brought[-1].commit if brought else None
    whole = not history.shallow
    return msgspec.structs.replace(
        untold(watched, state=state),
        merged=merged.sha if merged else "",
        merged_day=_day(merged.time) if merged else "",
        at_latest=bool(between),
        first_release=there[0] if there else _absent(known=bool(events) and whole and not newer),
        first_nightly=name
        or _absent(known=bool(events) and whole and (nightlies or _any(builds, "nightly"))),
        first_image=image or _absent(known=bool(events) and whole and _any(builds, "image")),
        releases=ranges(releases),
        has=tuple(there),
        picks=sum(1 for event in events if event.how == "picked"),
        landed=tuple(
            Landed(
                commit=event.commit.sha,
                how=event.how,
                by=event.by,
                day=_day(event.commit.time),
                subject=event.commit.subject,
                branches=branches_of(history, event),
            )
            for event in events
        ),
        notes=tuple(notes),
    )


def untagged(history: History, published: Iterable[str]) -> int:
    """Count the published releases that are newer than the newest tag."""
    newest = max(history.releases, default=Version("0"))
    found = map(Version, published)
    return sum(1 for version in found if version > newest and not version.is_prerelease)


def has(
    version: str, releases: Mapping[str, bool], number: int = 0
) -> Literal["yes", "no", "unknown"]:
    """Say whether a pin has the change: a release by its tag, a commit with pull requests where it names this one."""
    if version.startswith("@"):
        asked = [part.strip() for part in version.split("+")[1:]]
        return "yes" if number and f"#{number}" in asked else "unknown"
    try:
        wanted = Version(version)
    except InvalidVersion:
        return "unknown"
    for release, is_in in releases.items():
        if release == version or Version(release) == wanted:
            return "yes" if is_in else "no"
    return "unknown"


def _between(releases: Mapping[str, bool], first: str, published: Iterable[str]) -> list[Version]:
    """Return published releases without a tag that lie right before the first one that has a change."""
    known = [Version(version) for version in releases]
    before = [version for version in known if version < Version(first)]
    lowest = max(before, default=Version("0"))
    found = (version for version in map(Version, published) if version not in known)
    return [
        version
        for version in found
        if lowest < version < Version(first) and not version.is_prerelease
    ]


def _state(
    watched: Watched, history: History, events: Sequence[Event], said: State | None
) -> State:
    """Tell the state on the main branch, else on any release branch, else what was said."""
    if holds(history, events, history.main):
        return "fixed" if watched.kind == "issue" else "merged"
    if any(event.commit.sha in history.mainline for event in events):
        return "reverted"
    if any(event.brings for event in events):  # merged into a release branch alone
        return "fixed" if watched.kind == "issue" else "merged"
    return said or "unknown"


def _in(build: Build, history: History, events: Sequence[Event]) -> bool:
    if build.commit and (whole := history.whole(build.commit)):
        return holds(history, events, whole)
    tag = next((t for t in history.tags if t.version and t.version == build.version), None)
    return tag is not None and holds(history, events, tag.commit)


def _any(builds: Sequence[Build], kind: str) -> bool:
    return any(build.kind == kind for build in builds)


def _absent(*, known: bool) -> str:
    return NONE if known else UNKNOWN


def _day(time: int) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d}"
