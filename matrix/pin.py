"""What a package of a stack is held at: a release, a release of an index of its own, or a commit with pull requests. Pure.

As text: `0.33.0`; `0.33.1rc1.dev7+gabc1234 @ https://host/index`; `@main`, `@v0.33.0 + #35947 + #36001`.
"""

from __future__ import annotations

import re
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from matrix.model import Model

_REF: Final = re.compile(
    r"(?!.*(?:\.\.|//|/\.|\.lock(?:/|\Z)|[./]\Z))[A-Za-z0-9_][A-Za-z0-9._/+-]{0,199}", re.ASCII
)
"""What git itself takes as a branch's name, less whatever an option, a shell or a revision's operator begins with."""

_PULLS: Final = re.compile(r"(?:\s*\+\s*#[1-9][0-9]{0,8})*", re.ASCII)
_SOURCE: Final = re.compile(r"@(?P<ref>[^\s#]+?)(?P<pulls>(?:\s*\+\s*#[^\s+]*)*)", re.ASCII)
_INDEX: Final = re.compile(
    r"https?://[A-Za-z0-9.-]+(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~%+/-]*)?", re.ASCII
)
_ASKED: Final = re.compile(
    r"(?P<package>[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)(?P<extras>\[[^\]]*\])?\s*(?P<pin>@\S.*|==.*\S\s+@\s+\S+)"
)


class Release(Model, frozen=True, kw_only=True):
    """A published version; `index` is where alone it is published, "" for the indexes that pip knows."""

    version: str
    index: str = ""


class Source(Model, frozen=True, kw_only=True):
    """A commit, branch or tag of the package's repository, and pull requests that are merged onto it in order."""

    ref: str
    pulls: tuple[int, ...] = ()


Held = Release | Source


def read(text: str) -> Held:
    """Read a pin. Raises ValueError, which says what is wrong with it."""
    if text.startswith("@"):
        return _source(text)
    version, at, index = (part.strip() for part in text.partition(" @ "))
    try:
        Version(version)
    except InvalidVersion:
        raise ValueError(
            f"{text!r} is no version, no 'VERSION @ https://index' and no '@commit + #pull'"
        ) from None
    if at and not _INDEX.fullmatch(index):
        raise ValueError(f"{index!r} is no index: an https URL without a login is wanted")
    return Release(version=version, index=index)


def written(held: Held) -> str:
    """Return a pin as `read` takes it."""
    if isinstance(held, Release):
        return f"{held.version} @ {held.index}" if held.index else held.version
    return "".join((f"@{held.ref}", *(f" + #{number}" for number in held.pulls)))


def asked(text: str) -> tuple[str, tuple[str, ...], Held] | None:
    """Read `vllm@main + #35947`, `vllm[extra]@v0.33.0` or `vllm==X @ https://index` as package, extras and pin.

    None where the text has neither form, and so names a stack. Raises ValueError for a pin that is none.
    """
    found = _ASKED.fullmatch(text.strip())
    if found is None:
        return None
    try:
        extras = Requirement(f"x{found['extras'] or ''}").extras
    except InvalidRequirement:
        raise ValueError(f"{found['extras']} are no extras") from None
    held = read(found["pin"].removeprefix("=="))
    return canonicalize_name(found["package"]), tuple(sorted(extras)), held


def is_ref(text: str) -> bool:
    """Say whether this can be the name of a branch or tag, or a commit, and nothing else to git or a shell."""
    return _REF.fullmatch(text) is not None


def _source(text: str) -> Source:
    found = _SOURCE.fullmatch(text)
    ref = found["ref"] if found else text[1:].split("#", maxsplit=1)[0].strip()
    if not is_ref(ref):
        raise ValueError(f"{ref[:80]!r} is no name of a branch, tag or commit")
    if found is None or not _PULLS.fullmatch(found["pulls"]):
        raise ValueError(f"{text[:80]!r} does not read as '@commit + #123 + #456'")
    pulls = tuple(int(number) for number in re.findall(r"#(\d+)", found["pulls"]))
    if len(set(pulls)) < len(pulls):
        raise ValueError(f"{text[:80]!r} names a pull request twice")
    return Source(ref=ref, pulls=pulls)
