"""Stacks by name, and choosing among them by name or range."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement

from matrix.compiled import in_range
from matrix.document import nearest
from matrix.errors import ConfigurationError


@dataclass(frozen=True)
class NamedStack:
    """A stack by name, before it is resolved on a machine. The first pin leads."""

    name: str
    pins: dict[str, str]
    extras: tuple[str, ...] = ()
    note: str = ""

    @property
    def lead(self) -> tuple[str, str]:
        """Package and version of the leading pin."""
        return next(iter(self.pins.items()))


def chosen(
    asked: Sequence[str], stacks: Sequence[NamedStack], others: Collection[str] = ()
) -> list[NamedStack]:
    """Pick stacks by name or by a range (`vllm>=0.20`), in their order; all where none is asked for.

    `others` are names that are known elsewhere: they pick none. Raises ConfigurationError for what names
    neither.
    """
    if not asked:
        return list(stacks)
    names = {stack.name: stack for stack in stacks}
    found: set[str] = set()
    for text in asked:
        if text in others:
            continue
        fitting = [names[text]] if text in names else list(_in_range(text, stacks))
        if not fitting:
            newest = f"; the newest is {stacks[0].name}" if stacks else ""
            told = nearest(text, [*names, *others]) if "==" in text else newest
            raise ConfigurationError(f"unknown stack {text!r}{told}")
        found |= {stack.name for stack in fitting}
    return [stack for stack in stacks if stack.name in found]


def _in_range(text: str, stacks: Sequence[NamedStack]) -> Iterator[NamedStack]:
    """Pick stacks by a requirement (`vllm>=0.20`); extras must be the same."""
    try:
        wanted = Requirement(text)
    except InvalidRequirement:
        return
    if not wanted.specifier:
        return
    for stack in stacks:
        package, version = stack.lead
        written = not stack.name.startswith(package) or "==" not in stack.name
        same = package == wanted.name and set(stack.extras) == wanted.extras and not written
        if same and in_range(version, str(wanted.specifier)):
            yield stack
