"""Trying a pull request that no release has: a stack with one package built from its commit and the request. Pure."""

from __future__ import annotations

import re
from typing import Final

from matrix import pin
from matrix.configuration import Configuration
from matrix.document import nearest
from matrix.errors import ConfigurationError
from matrix.namedstack import NamedStack
from matrix.pin import Release, Source
from matrix.stack import Stack, WrittenStack

_ASKED: Final = re.compile(
    r"(?:https://github\.com/)?([A-Za-z0-9._/-]+?)(?:#|/pull/)([1-9]\d{0,8})", re.ASCII
)


def asked(text: str, configuration: Configuration) -> tuple[str, int]:
    """Read `vllm#35947`, `vllm-project/vllm#35947` or the pull request's URL as package and number.

    Raises ConfigurationError for what is none, and for a package that nothing says how to build.
    """
    found = _ASKED.fullmatch(text.strip())
    if found is None:
        raise ConfigurationError(f"{text[:80]!r} is no pull request, such as vllm#35947")
    names: dict[str, str] = {}
    for one in configuration.repositories:
        slug = re.sub(r"\.git$", "", one.repository).split("/")[-2:]
        names |= {one.package: one.package, slug[-1]: one.package, "/".join(slug): one.package}
    if found[1] not in names:
        raise ConfigurationError(
            f"nothing says how to build {found[1]!r} from source{nearest(found[1], list(names))}"
        )
    return names[found[1]], int(found[2])


def patched(
    named: NamedStack, resolved: Stack, package: str, number: int, *, without_extras: Stack
) -> WrittenStack:
    """Return a stack by hand that has the request on top of what `named` pins.

    A package that is pinned to a commit gets one request more, a release becomes the tag that it was cut from.
    `resolved`: the stack on a machine, for what it does not pin itself; what its extras bring is pinned, for a stack by
    hand has none. Raises ConfigurationError where the stack has
    no such package, or the request already.
    """
    text = named.pins.get(package) or resolved.version(package)
    if not text:
        raise ConfigurationError(
            f"{named.name} has no {package}, so that there is nothing to patch"
        )
    held = pin.read(text)
    match held:
        case Source(pulls=pulls) if number in pulls:
            raise ConfigurationError(f"{named.name} has #{number} of {package} already")
        case Source(ref=ref, pulls=pulls):
            made = Source(ref=ref, pulls=(*pulls, number))
        case Release(version=version):
            made = Source(ref=f"v{version}", pulls=(number,))
    brought = {one.package: one.version for one in resolved.pins if one.version and named.extras}
    brought = {name: v for name, v in brought.items() if without_extras.version(name) != v}
    pins = {
        name: f"{v} @ {named.indexes[name]}" if name in named.indexes else v
        for name, v in {**named.pins, **brought}.items()
    }
    return WrittenStack(
        name=re.sub(r"[^A-Za-z0-9.]+", "-", f"{named.name}-with-{package}-{number}").strip("-"),
        pins={**pins, package: pin.written(made)},
        repositories=dict(named.repositories),
        note=f"{named.name} with pull request {number} of {package}.",
    )
