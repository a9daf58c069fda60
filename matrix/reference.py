"""What the entries of the data files refer to, and which releases two of them share. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Literal, NamedTuple

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from matrix.capability import CapabilitiesFile
from matrix.defect import DefectsFile
from matrix.gate import GatesFile
from matrix.path import PathsFile
from matrix.rules import ANY_PACKAGE
from matrix.upstream import UpstreamFile

Kind = Literal["target", "family", "capability", "instruction", "package", "piece", "gate", "path"]


class Entry(NamedTuple):
    """One entry of a data file: the key that names it, its name, and which one of that name it is."""

    key: str
    name: str
    nth: int = 0


Use = tuple[Entry, Kind, str]
"""An entry, and what it names: of which kind, and the name."""


def entries(key: str, names: Iterable[str]) -> list[Entry]:
    """Return the entries of a file, those of one name numbered from 0."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        found.append(Entry(key, name, seen[name]))
        seen[name] += 1
    return found


def each(entry: Entry, kind: Kind, names: Iterable[str | None]) -> Iterator[Use]:
    """Say that an entry names each of `names`; None is no name."""
    return ((entry, kind, name) for name in names if name is not None)


def used_by_capabilities(held: CapabilitiesFile, pieces: Sequence[Entry]) -> Iterator[Use]:
    """Yield what `capabilities.yaml` names: families of targets, gates, and its own."""
    for instruction in held.instructions:
        yield from each(Entry("name", instruction.name), "family", instruction.families)
    for entry, piece in zip(pieces, held.pieces, strict=True):
        packages = (piece.package, *piece.libraries, *piece.needs)
        yield from each(entry, "package", (name for name in packages if name != ANY_PACKAGE))
        yield from each(entry, "capability", piece.capabilities)
        yield from each(entry, "family", piece.families or ())
        yield from each(entry, "instruction", [piece.instruction])
        yield from each(entry, "gate", [piece.gate])


def used_by_gates(
    held: GatesFile, gates: Sequence[Entry], externs: Sequence[Entry]
) -> Iterator[Use]:
    """Yield what `gates.yaml` names: packages, capabilities and pieces."""
    for entry, gate in zip(gates, held.gates, strict=True):
        yield entry, "package", gate.package
        yield from each(entry, "capability", gate.capabilities)
        if gate.predicate:
            yield from each(entry, "piece", [gate.predicate.needs_piece])
    for entry, extern in zip(externs, held.externs, strict=True):
        yield entry, "package", extern.package
        yield from each(entry, "piece", [extern.predicate.needs_piece])


def used_by_paths(held: PathsFile, paths: Sequence[Entry]) -> Iterator[Use]:
    """Yield what `paths.yaml` names: packages, capabilities, families, gates and pieces."""
    for entry, path in zip(paths, held.paths, strict=True):
        yield entry, "package", path.package
        yield entry, "capability", path.capability
        yield from each(entry, "gate", [path.gate])
        yield from each(entry, "family", path.families)
        yield from each(entry, "piece", path.pieces)


def used_by_defects(held: DefectsFile, defects: Sequence[Entry]) -> Iterator[Use]:
    """Yield what `defects.yaml` names: packages, targets, pieces and paths."""
    for entry, defect in zip(defects, held.defects, strict=True):
        yield entry, "package", defect.package
        yield from each(entry, "target", defect.targets)
        yield from each(entry, "piece", [defect.piece])
        yield from each(entry, "path", [defect.path])


def used_by_upstream(held: UpstreamFile, watches: Sequence[Entry]) -> Iterator[Use]:
    """Yield what `upstream.yaml` names: packages, capabilities and targets."""
    for one in held.repositories:
        yield Entry("repository", one.repository), "package", one.package
    for entry, watched in zip(watches, held.watched, strict=True):
        yield from each(entry, "capability", watched.capabilities)
        yield from each(entry, "target", watched.targets)


@cache
def specifiers(versions: str) -> SpecifierSet:
    """Read a range of releases. Raises packaging's InvalidSpecifier."""
    return SpecifierSet(versions)


def shared(one: str, other: str) -> str | None:
    """Return a release that two ranges both hold, None where there is none.

    Ranges that meet do so at a bound of theirs, right behind one, or at the least version of all. Exact
    for releases as they are numbered: between a bound and its ".0.0.1" none is looked for.
    """
    first, second = specifiers(one), specifiers(other)
    for version in dict.fromkeys((*_bounds(one), *_bounds(other))):
        if first.contains(version, prereleases=True) and second.contains(version, prereleases=True):
            return str(version)
    return None


@cache
def _bounds(versions: str) -> tuple[Version, ...]:
    """Return the versions at which a range can begin, and those that it names itself."""
    found: list[Version] = []
    for specifier in specifiers(versions):
        if specifier.operator == "<":
            continue  # the bound is not in the range
        bound = parsed(specifier.version.removesuffix(".*"))
        if bound:
            found += [
                bound,
                Version(f"{bound.epoch}!{bound.base_version.rpartition('!')[2]}.0.0.1"),
            ]
    return (*found, Version("0.dev0"))


def parsed(text: str) -> Version | None:
    """Read a version; None where it is none."""
    try:
        return Version(text)
    except InvalidVersion:
        return None
