"""New pins that upstream's releases suggest: a stack by hand that lacks a watched change gets the release with it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from packaging.version import Version

from matrix import pin
from matrix.model import Model
from matrix.pin import Release, Source
from matrix.reference import parsed
from matrix.stack import WrittenStack
from matrix.tracking import Tracked

_SLUG: Final = re.compile(r"[^A-Za-z0-9]+")


class NewPin(Model, frozen=True, kw_only=True):
    """One pin of a stack by hand, and the release that brings the watched changes in `watches`."""

    stack: str
    package: str
    before: str
    after: str
    watches: tuple[str, ...]

    @property
    def branch(self) -> str:
        """Name the branch that it is proposed on: the same for the same pin, so that it is proposed once."""
        words = (_SLUG.sub("-", word).strip("-").lower() for word in (self.stack, self.package))
        version = re.sub(r"[^A-Za-z0-9]+", ".", self.after).strip(".")
        return "nvfp4-matrix/" + "-".join((*(word or "x" for word in words), version))[:150].rstrip(
            ".-"
        )

    @property
    def title(self) -> str:
        """Say it in one line, in which GitHub finds no reference."""
        brings = ", ".join(re.sub(r"[#@]", " ", watch) for watch in self.watches)
        return f"{self.stack}: {self.package} {self.after}, which has {brings}"[:200]


def new_pins(
    written: Sequence[WrittenStack], tracked: Sequence[Tracked], packages: Mapping[str, str]
) -> Iterator[NewPin]:
    """Yield the pins that a release with watched changes should replace.

    A release is replaced by the lowest later one with every change that it lacks, a commit with pull requests by one
    that has all of them. `packages`: what each repository releases.
    """
    for stack in written:
        for package, text in stack.pins.items():
            about = [one for one in tracked if packages.get(one.repository) == package and one.has]
            held = pin.read(text)
            match held:
                case Release(index="", version=version):
                    found = _later(version, about)
                case Source():
                    found = _instead(held, about)
                case _:  # an index of its own has its own releases
                    found = None
            if found:
                after, brings = found
                watches = tuple(one.watch for one in brings)
                yield NewPin(
                    stack=stack.name, package=package, before=text, after=after, watches=watches
                )


def _later(version: str, about: Sequence[Tracked]) -> tuple[str, list[Tracked]] | None:
    """Find the lowest later release with every change that a release lacks, or with most of them."""
    own = Version(version)
    lacking = [one for one in about if own not in map(Version, one.has)]
    choices = {release for one in lacking for release in one.has if Version(release) > own}
    return _best(choices, lacking)


def _instead(held: Source, about: Sequence[Tracked]) -> tuple[str, list[Tracked]] | None:
    """Find a release with every one of some pull requests: the lowest behind the tag they are on, else the newest."""
    wanted = [one for one in about if one.kind == "pull" and one.number in held.pulls]
    if not held.pulls or len(wanted) < len(held.pulls):
        return None
    choices = set.intersection(*(set(one.has) for one in wanted))
    on = parsed(held.ref.removeprefix("v"))
    if on is not None:
        return _best({release for release in choices if Version(release) > on}, wanted)
    return (max(choices, key=Version), wanted) if choices else None


def _best(choices: set[str], wanted: Sequence[Tracked]) -> tuple[str, list[Tracked]] | None:
    if not choices:
        return None
    after = min(choices, key=lambda each: (-sum(each in one.has for one in wanted), Version(each)))
    return after, [one for one in wanted if after in one.has]
