"""What a source's CMake does with a list of architectures, read from its text: which ones it keeps for its FP4 kernels. Pure.

Source of the form: vllm-project/vllm, `CMakeLists.txt` (`CUDA_SUPPORTED_ARCHS` by version of CUDA, and a call of
`cuda_archs_loose_intersection` for each group of kernels) and `cmake/utils.cmake`, which that function is in; as they
are in the source releases 0.10.2 to 0.33.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Final, NamedTuple

from packaging.version import Version

_COMMENT: Final = re.compile(r'("(?:[^"\\]|\\.)*")|#[^\n]*')
_COMMAND: Final = re.compile(r'\b([A-Za-z_]\w*)\s*\(((?:[^()"]|"(?:[^"\\]|\\.)*"|\([^()]*\))*)\)')
_SUPPORTED: Final = re.compile(r'\s*CUDA_SUPPORTED_ARCHS\s+"([^"]*)"\s*')
_INTERSECTION: Final = re.compile(r'\s*(\w*FP4\w*)\s+"([^"]*)"\s+"\$\{CUDA_ARCHS\}"\s*')
_COMPARISON: Final = re.compile(
    r"\$?\{?CMAKE_CUDA_COMPILER_VERSION\}?\s+VERSION_(GREATER_EQUAL|GREATER|LESS_EQUAL|LESS)\s+([0-9.]+)"
)
_LARGEST: Final = 4 << 20
"""Characters; vLLM's largest has 75,000."""


class Condition(NamedTuple):
    """The text of an `if`, and whether it has to hold or not."""

    text: str
    holds: bool


class Listed(NamedTuple):
    """A list of architectures and the conditions under which it is the one. `name`: the variable, of an FP4 group."""

    archs: tuple[str, ...]
    under: tuple[Condition, ...]
    name: str = ""


class Rules(NamedTuple):
    """What a source does with architectures.

    `supported`, `groups`: the lists as they stand. `floors`: by variable, what guards the group's kernels.
    `families`: the function tries other suffixes and the family. `first`: exact matches are made before those.
    `clears`: an exact match takes all suffixes of the same number with it. `keeps_f`: an `f` of the list asked for is seen.
    """

    supported: tuple[Listed, ...]
    groups: tuple[Listed, ...]
    floors: dict[str, tuple[str, ...]]
    families: bool
    first: bool
    clears: bool
    keeps_f: bool


def rules(lists: str, functions: str) -> Rules | None:
    """Read `CMakeLists.txt` and `cmake/utils.cmake`; None for a source that has no such lists."""
    supported: list[Listed] = []
    groups: list[Listed] = []
    floors: dict[str, list[str]] = {}
    for command, argument, under in _commands(lists[:_LARGEST]):
        if command == "set" and (found := _SUPPORTED.fullmatch(argument)):
            supported.append(Listed(_archs(found[1]), under))
        elif command == "cuda_archs_loose_intersection" and (
            found := _INTERSECTION.fullmatch(argument)
        ):
            groups.append(Listed(_archs(found[2]), under, found[1]))
        elif command == "if":
            for each in groups:
                if re.search(rf"\b{each.name}\b", argument):
                    floors.setdefault(each.name, []).append(argument)
    if not supported or not groups:
        return None
    return Rules(
        supported=tuple(supported),
        groups=tuple(groups),
        floors={name: tuple(texts) for name, texts in floors.items()},
        families='"${_base}a" IN_LIST' in functions,
        first='"${_base}" IN_LIST _TGT_CUDA_ARCHS' in functions,
        clears='"${_base}a" "${_base}f")' in functions,
        keeps_f="arch=compute_\\([0-9]+[af]?\\)" in functions,
    )


def kept(rule: Rules, cuda: str, asked: tuple[str, ...]) -> tuple[str, ...]:
    """Return the architectures ("12.0f") that the FP4 kernels are compiled for, of those asked for ("12.0", "12.1+PTX")."""
    wanted: list[str] = []
    for each in asked:
        name = each.removesuffix("+PTX")
        wanted.append(name if rule.keeps_f else name.removesuffix("f"))
    supported = next((s.archs for s in rule.supported if _hold(s.under, cuda)), ())
    archs = intersection(rule, supported, tuple(sorted(dict.fromkeys(wanted), key=_natural)))
    found: list[str] = []
    for group in rule.groups:
        guards = rule.floors.get(group.name, ())
        if _hold(group.under, cuda) and all(_holds(text, cuda) for text in guards):
            found += intersection(rule, group.archs, archs)
    return tuple(dict.fromkeys(found))


def intersection(rule: Rules, source: tuple[str, ...], target: tuple[str, ...]) -> tuple[str, ...]:
    """Do what `cuda_archs_loose_intersection` of the source does; PTX of a group's own list is left out."""
    match = _Match(rule, source, target)
    match.suffixed()
    if rule.families:
        match.kept()
    match.below()
    return tuple(dict.fromkeys(match.found))


class _Match:
    """One call of the function, step by step. `theirs` are those asked for that nothing was found for yet."""

    def __init__(self, rule: Rules, source: tuple[str, ...], target: tuple[str, ...]) -> None:
        mine = list(dict.fromkeys(each.removesuffix("+PTX") for each in source))
        self.rule = rule
        self.asked = target
        self.theirs = list(target)
        self.special = [each for each in mine if each[-1] in "af"]
        self.plain = sorted((each for each in mine if each[-1] not in "af"), key=_order)
        self.found: list[str] = []

    def suffixed(self) -> None:
        """Match what the source has with a suffix: the same number plainly, else with another suffix, else its family."""
        waiting = self.special
        if self.rule.first:
            waiting = [each for each in self.special if not self._exactly(each, self.theirs)]
        for each in waiting:
            if self.rule.first or not self._exactly(each, self.asked):
                self._loosely(each)

    def _exactly(self, each: str, archs: Sequence[str]) -> bool:
        base = each[:-1]
        if base not in archs:
            return False
        self.found.append(each)
        _drop(self.theirs, base, *((f"{base}a", f"{base}f") if self.rule.clears else ()))
        return True

    def _loosely(self, each: str) -> None:
        if not self.rule.families:
            return
        base = each[:-1]
        family = [other for other in self.theirs if _major(other) == _major(base)]
        others = [f"{base}a", f"{base}f", *(family if each.endswith("f") else ())]
        other = next((other for other in others if other in self.theirs), None)
        if other is not None:
            self.found.append(other)
            _drop(self.theirs, other)

    def kept(self) -> None:
        """Keep a suffix that was asked for where the source has the number without one."""
        for other in list(self.theirs):
            base = other[:-1]
            if other[-1] in "af" and base in self.plain:
                self.found.append(other)
                _drop(self.theirs, other)
                if not self.rule.clears or base not in self.theirs:
                    _drop(self.plain, base)

    def below(self) -> None:
        """Take for each that is left the highest of the same major version that is not higher."""
        for other in self.theirs:
            lower = [
                each
                for each in self.plain
                if _order(each) <= _order(other) and _major(each) == _major(other)
            ]
            self.found += lower[-1:]


def _commands(text: str) -> Iterator[tuple[str, str, tuple[Condition, ...]]]:
    """Yield each command, its argument and the conditions that it stands under."""
    blocks: list[list[Condition]] = []
    for found in _COMMAND.finditer(_COMMENT.sub(lambda m: m[1] or "", text)):
        name, argument = found[1].lower(), " ".join(found[2].split())
        if name == "if":
            yield name, argument, tuple(c for block in blocks for c in block)
            blocks.append([Condition(argument, holds=True)])
        elif name in ("elseif", "else") and blocks:
            last = blocks[-1].pop()
            blocks[-1].append(Condition(last.text, holds=False))
            if name == "elseif":
                blocks[-1].append(Condition(argument, holds=True))
            else:
                blocks[-1].append(Condition("TRUE", holds=True))
        elif name == "endif" and blocks:
            blocks.pop()
        else:
            yield name, argument, tuple(c for block in blocks for c in block)


def _hold(under: tuple[Condition, ...], cuda: str) -> bool:
    return all(
        _holds(condition.text, cuda) is condition.holds
        for condition in under
        if _is_told(condition)
    )


@cache
def _is_told(condition: Condition) -> bool:
    """Say whether a condition is about CUDA's version: of any other the branch that is read is the one that counts."""
    return _COMPARISON.search(condition.text) is not None


@cache
def _holds(text: str, cuda: str) -> bool:
    """Say whether the comparisons with CUDA's version in a condition hold; what else stands beside them is taken to."""
    here = Version(cuda)
    results = {
        "GREATER_EQUAL": lambda bound: here >= bound,
        "GREATER": lambda bound: here > bound,
        "LESS_EQUAL": lambda bound: here <= bound,
        "LESS": lambda bound: here < bound,
    }
    return all(results[word](Version(bound)) for word, bound in _COMPARISON.findall(text))


def _archs(text: str) -> tuple[str, ...]:
    return tuple(
        each for each in text.split(";") if re.fullmatch(r"[0-9]{1,2}\.[0-9][af]?(\+PTX)?", each)
    )


def _order(arch: str) -> tuple[int, int]:
    major, minor = arch.rstrip("af").split(".")
    return int(major), int(minor)


def _natural(arch: str) -> tuple[tuple[int, int], str]:
    return _order(arch), arch


def _major(arch: str) -> str:
    return arch.partition(".")[0]


def _drop(archs: list[str], *names: str) -> None:
    archs[:] = [each for each in archs if each not in names]
