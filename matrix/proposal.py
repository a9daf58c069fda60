"""Stacks that somebody proposes, in a file of the form of `stacks.yaml` that may be anybody's. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from matrix import pin
from matrix.document import loads, nearest
from matrix.errors import ConfigurationError
from matrix.result import unfit_name
from matrix.stack import StacksFile, WrittenStack

LARGEST: Final = 1 << 20
"""Characters of such a file; ours has a thousandth."""


def proposal(
    text: str, name: str, *, ours: Collection[WrittenStack], packages: Collection[str]
) -> tuple[WrittenStack, ...]:
    """Return the stacks by hand that a file has and we have not, or not so; `name` stands for it in complaints.

    Raises ConfigurationError where one of them is no stack.
    """
    if len(text) > LARGEST:
        raise ConfigurationError(f"{name}: is larger than a file of stacks can be")
    known = {(stack.name, tuple(stack.pins.items())) for stack in ours}
    found = [
        stack
        for stack in loads(text, StacksFile, name).written
        if (stack.name, tuple(stack.pins.items())) not in known
    ]
    for stack in found:
        _check(stack, name, packages)
    if len({stack.name for stack in found}) < len(found):
        raise ConfigurationError(f"{name}: a name stands twice")
    return tuple(found)


def changed(before: StacksFile, now: StacksFile) -> tuple[str, ...]:
    """Name the stacks by hand that are new, or pin otherwise than before; the order of pins counts, the first leads."""
    known = {(stack.name, tuple(stack.pins.items())) for stack in before.written}
    return tuple(
        stack.name for stack in now.written if (stack.name, tuple(stack.pins.items())) not in known
    )


def _check(stack: WrittenStack, name: str, packages: Collection[str]) -> None:
    """Refuse what is no stack by hand."""
    if (fault := unfit_name(stack.name)) or "==" in stack.name or ";" in stack.name:
        raise ConfigurationError(
            f"{name}: {stack.name!r} is no name for a stack by hand: "
            f"{fault or 'it has == or ; in it'}"
        )
    if not stack.pins:
        raise ConfigurationError(f"{name}: {stack.name!r} pins nothing")
    if stack.repositories:
        raise ConfigurationError(
            f"{name}: {stack.name!r} names a repository: a proposal takes sources from where we take them"
        )
    for package, text in stack.pins.items():
        if package not in packages:
            close = nearest(package, sorted(packages))
            raise ConfigurationError(f"{name}: {stack.name!r}: unknown package {package!r}{close}")
        try:
            held = pin.read(text)
        except ValueError as error:
            raise ConfigurationError(f"{name}: {stack.name!r} pins {package}: {error}") from error
        if isinstance(held, pin.Release) and held.index:
            raise ConfigurationError(
                f"{name}: {stack.name!r} names an index: a proposal takes packages from where we take them"
            )
