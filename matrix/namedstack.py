"""Stacks by name, and choosing among them by name or range."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from packaging.requirements import InvalidRequirement, Requirement

from matrix import pin
from matrix.compiled import in_range
from matrix.document import nearest
from matrix.errors import ConfigurationError
from matrix.pin import Release, Source
from matrix.stack import WrittenStack


@dataclass(frozen=True)
class NamedStack:
    """A stack by name, before it is resolved on a machine. The first pin leads.

    `pins`: a version each, or "@main + #7" for what is built from its source. `indexes`: of those that only an index
    of their own has. `repositories`: of those built from source that come from elsewhere than usual.
    """

    name: str
    pins: dict[str, str]
    extras: tuple[str, ...] = ()
    note: str = ""
    indexes: Mapping[str, str] = field(default_factory=dict)
    repositories: Mapping[str, str] = field(default_factory=dict)

    @property
    def lead(self) -> tuple[str, str]:
        """Package and version of the leading pin."""
        return next(iter(self.pins.items()))

    @property
    def sources(self) -> dict[str, Source]:
        """What is built from its source, by package."""
        held = {name: pin.read(text) for name, text in self.pins.items() if text.startswith("@")}
        return {name: source for name, source in held.items() if isinstance(source, Source)}


def by_hand(written: WrittenStack) -> NamedStack:
    """Return a stack that somebody wrote. Raises ConfigurationError for a pin that is none."""
    pins: dict[str, str] = {}
    indexes: dict[str, str] = {}
    for package, text in written.pins.items():
        try:
            held = pin.read(text)
        except ValueError as error:
            raise ConfigurationError(f"stack {written.name!r} pins {package}: {error}") from error
        pins[package] = held.version if isinstance(held, Release) else pin.written(held)
        if isinstance(held, Release) and held.index:
            indexes[package] = held.index
    return NamedStack(written.name, pins, (), written.note, indexes, written.repositories)


def by_pin(text: str) -> NamedStack | None:
    """Return the stack that a pin alone asks for (`vllm@main + #35947`); None where it is no pin but a name.

    Raises ConfigurationError for a pin that is none.
    """
    try:
        found = pin.asked(text)
    except ValueError as error:
        raise ConfigurationError(f"{text[:100]!r}: {error}") from error
    if found is None:
        return None
    package, extras, held = found
    more = f"[{','.join(extras)}]" if extras else ""
    if isinstance(held, Source):
        name = f"{package}{more}{pin.written(held)}"
        return NamedStack(name, {package: pin.written(held)}, extras)
    name = f"{package}{more}=={held.version}"
    return NamedStack(name, {package: held.version}, extras, indexes={package: held.index})


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


def found(name: str, stacks: Sequence[NamedStack], *, or_pin: bool = False) -> NamedStack:
    """Return the stack of a name; `or_pin`: or one of a pin alone, such as `vllm@main`.

    Raises ConfigurationError for neither, with the nearest right name.
    """
    for stack in stacks:
        if stack.name == name:
            return stack
    if or_pin and (pinned := by_pin(name)):
        return pinned
    raise ConfigurationError(
        f"unknown stack {name!r}{nearest(name, [stack.name for stack in stacks])}"
    )


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
