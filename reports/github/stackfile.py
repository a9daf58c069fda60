"""Which line of stacks.yaml a stack comes from: where an annotation belongs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet

from matrix import configuration


def lines(text: str, stacks: Iterable[str]) -> Mapping[str, int]:
    """Give the line (from 1) of the entry that each of `stacks` comes from; none for those that have none.

    An entry is a name, or a range of releases: `vllm[b12x]==0.28.0` comes from `range: vllm>=0.11.1`.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return {}
    entries = list(_entries(root))
    found = {}
    for stack in stacks:
        line = next((line for line, said in entries if _of(stack, said)), None)
        if line is not None:
            found[stack] = line
    return found


def in_checkout(root: Path, stacks: Iterable[str]) -> tuple[str, Mapping[str, int]]:
    """Give the path of the stack file in the checkout at `root`, and the line of each stack.

    "" and no lines where the program does not run in a checkout of it: then there is no line to remark on.
    """
    root = root.resolve()
    file = (configuration.HERE / "stacks.yaml").resolve()
    if not file.is_relative_to(root) or not (root / ".git").exists():
        return "", {}
    return file.relative_to(root).as_posix(), lines(file.read_text(encoding="utf-8"), stacks)


def _entries(root: object) -> Iterator[tuple[int, str]]:
    """Yield the lines of entries with their name or range."""
    if not isinstance(root, yaml.MappingNode):
        return
    for _, listed in root.value:
        for entry in listed.value if isinstance(listed, yaml.SequenceNode) else ():
            for key, value in entry.value if isinstance(entry, yaml.MappingNode) else ():
                if key.value in ("name", "range") and isinstance(value, yaml.ScalarNode):
                    yield key.start_mark.line + 1, value.value


def _of(stack: str, said: str) -> bool:
    if stack == said:
        return True
    try:
        release, wanted = Requirement(stack), Requirement(said)
    except InvalidRequirement:
        return False
    pinned = [each.version for each in release.specifier if each.operator == "=="]
    held = wanted.specifier or SpecifierSet()
    return (
        release.name == wanted.name
        and len(pinned) == 1
        and held.contains(pinned[0], prereleases=True)
    )
