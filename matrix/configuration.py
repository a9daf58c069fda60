"""Everything that the data files say, read once and checked against each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import NoReturn

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier

from matrix import pin
from matrix.capability import CapabilitiesFile
from matrix.defect import DefectsFile
from matrix.document import load, nearest
from matrix.errors import ConfigurationError
from matrix.gate import GatesFile
from matrix.path import PathsFile
from matrix.reference import (
    Entry,
    Kind,
    Use,
    each,
    entries,
    shared,
    specifiers,
    used_by_capabilities,
    used_by_defects,
    used_by_gates,
    used_by_paths,
    used_by_upstream,
)
from matrix.repository import RepositoriesFile, Upstream
from matrix.stack import StacksFile
from matrix.target import Target, TargetsFile
from matrix.upstream import UpstreamFile

HERE = Path(__file__).parent


class _Files:
    """The data files of one folder, each read when it is first asked for and not yet checked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def targets(self) -> TargetsFile:
        return load(self.folder / "targets.yaml", TargetsFile)

    @cached_property
    def capabilities(self) -> CapabilitiesFile:
        return load(self.folder / "capabilities.yaml", CapabilitiesFile)

    @cached_property
    def gates(self) -> GatesFile:
        return load(self.folder / "gates.yaml", GatesFile)

    @cached_property
    def paths(self) -> PathsFile:
        return load(self.folder / "paths.yaml", PathsFile)

    def names(self, kind: Kind) -> list[str]:  # noqa: PLR0911 - one arm a kind
        """Give the names of a kind, in the order of their file."""
        match kind:
            case "target":
                return [target.name for target in self.targets.targets]
            case "family":
                return [target.family for target in self.targets.targets]
            case "capability":
                return [capability.name for capability in self.capabilities.capabilities]
            case "instruction":
                return [instruction.name for instruction in self.capabilities.instructions]
            case "package":
                return [rule.package for rule in self.capabilities.packages]
            case "piece":
                return [piece.piece for piece in self.capabilities.pieces]
            case "gate":
                return [gate.gate for gate in self.gates.gates]
            case "path":
                return [path.path for path in self.paths.paths]


class Configuration:
    """The data files of one folder, each read and checked when it is first asked for.

    A name that one file uses of another must be there, ranges of releases must be PEP 440's, and two
    entries of one name and package must not hold for the same release. Every property raises
    ConfigurationError, which names file and line.
    """

    def __init__(self, folder: Path = HERE) -> None:
        self._folder = folder
        self._files = _Files(folder)
        self._names: dict[Kind, frozenset[str]] = {}

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Every target, in the order of the file."""
        self._distinct("targets.yaml", "name", self._files.names("target"))
        return self._files.targets.targets

    @cached_property
    def capabilities(self) -> CapabilitiesFile:
        """Capabilities, instructions, packages and pieces."""
        held, file = self._files.capabilities, "capabilities.yaml"
        self._distinct(file, "name", self._files.names("capability"))
        self._distinct(file, "name", self._files.names("instruction"))
        self._distinct(file, "package", self._files.names("package"))
        pieces = entries("piece", self._files.names("piece"))
        self._known(file, used_by_capabilities(held, pieces))
        rules = entries("package", self._files.names("package"))
        self._ranges(file, rules, [(r.package, r.versions) for r in held.packages])
        self._apart(file, pieces, [(p.package, p.versions) for p in held.pieces])
        for entry, piece in zip(pieces, held.pieces, strict=True):
            families = (piece.families or {}).values()
            for pattern in (piece.symbol, piece.exclude, piece.objects, piece.cubin, *families):
                if pattern and not _compiles(pattern):
                    self._fail(
                        file, entry, f"has {pattern!r}, which is no regular expression", pattern
                    )
        return held

    @cached_property
    def gates(self) -> GatesFile:
        """Where each claim is read."""
        held, file = self._files.gates, "gates.yaml"
        gates = entries("gate", self._files.names("gate"))
        externs = entries("call", [extern.call for extern in held.externs])
        self._known(file, used_by_gates(held, gates, externs))
        for entry, gate in zip(gates, held.gates, strict=True):
            if (gate.python is None) == (gate.predicate is None):
                self._fail(file, entry, "has to say one of python and predicate")
        self._apart(file, gates, [(g.package, g.versions) for g in held.gates])
        self._ranges(file, externs, [(e.package, e.versions) for e in held.externs])
        return held

    @cached_property
    def paths(self) -> PathsFile:
        """Kernel classes and their pieces."""
        held, file = self._files.paths, "paths.yaml"
        paths = entries("path", self._files.names("path"))
        self._known(file, used_by_paths(held, paths))
        self._apart(file, paths, [(p.package, p.versions) for p in held.paths])
        return held

    @cached_property
    def defects(self) -> DefectsFile:
        """Known failures that static reading cannot see."""
        file = "defects.yaml"
        held = load(self._folder / file, DefectsFile)
        names = [defect.defect for defect in held.defects]
        self._distinct(file, "defect", names)
        defects = entries("defect", names)
        self._known(file, used_by_defects(held, defects))
        for entry, defect in zip(defects, held.defects, strict=True):
            if (defect.piece is None) == (defect.path is None):
                self._fail(file, entry, "has to say one of piece and path")
        self._ranges(file, defects, [(d.package, d.versions) for d in held.defects])
        return held

    @cached_property
    def stacks(self) -> StacksFile:
        """As-released ranges and stacks by hand."""
        file = "stacks.yaml"
        held = load(self._folder / file, StacksFile)
        ranges = entries("range", [one.range for one in held.as_released])
        for entry in ranges:
            try:
                wanted = Requirement(entry.name)
            except InvalidRequirement:
                self._fail(file, entry, "is no requirement, such as vllm>=0.11.1")
            self._known(file, [(entry, "package", wanted.name)])
        self._distinct(file, "name", [one.name for one in held.written])
        for written in held.written:
            entry = Entry("name", written.name)
            self._known(file, each(entry, "package", written.pins))
            if not written.name or "==" in written.name:
                self._fail(
                    file, entry, "is no name for a stack by hand: empty, or that of a release"
                )
            if not written.pins:
                self._fail(file, entry, "pins nothing")
            for package, text in written.pins.items():
                try:
                    pin.read(text)
                except ValueError as error:
                    self._fail(file, entry, f"pins {package}: {error}", text)
            for package in written.repositories:
                if not written.pins.get(package, "").startswith("@"):
                    words = f"names a repository of {package}, which it does not pin to a commit"
                    self._fail(file, entry, words, package)
        return held

    @cached_property
    def watched(self) -> UpstreamFile:
        """Changes that are watched upstream, and the repositories that they are of."""
        file = "upstream.yaml"
        held = load(self._folder / file, UpstreamFile)
        self._distinct(file, "repository", [one.repository for one in held.repositories])
        self._distinct(file, "watch", [one.watch for one in held.watched])
        watches = entries("watch", [one.watch for one in held.watched])
        self._known(file, used_by_upstream(held, watches))
        for entry, one in zip(watches, held.watched, strict=True):
            if not any(known.repository == one.repository for known in held.repositories):
                self._fail(file, entry, f"is of {one.repository}, which is no repository above")
            if not one.is_named:
                self._fail(file, entry, "has to say a number, or with kind: commit a commit")
        return held

    @cached_property
    def repositories(self) -> tuple[Upstream, ...]:
        """Where the source of each package is."""
        file = "repositories.yaml"
        held = load(self._folder / file, RepositoriesFile).repositories
        self._distinct(file, "package", [one.package for one in held])
        return held

    def upstream(self, package: str) -> Upstream:
        """Give where a package's source is; "" where nothing says so."""
        known = (one for one in self.repositories if one.package == package)
        return next(known, Upstream(package=package, repository=""))

    def target(self, name: str) -> Target:
        """Give a target by name; raises ConfigurationError with the nearest right one."""
        for target in self.targets:
            if target.name == name:
                return target
        names = [target.name for target in self.targets]
        raise ConfigurationError(f"unknown target {name!r}{nearest(name, names)}")

    def _known(self, file: str, uses: Iterable[Use]) -> None:
        for entry, kind, name in uses:
            if kind not in self._names:
                self._names[kind] = frozenset(self._files.names(kind))
            if name not in self._names[kind]:
                where = f"{self._folder / file}:{self._line(file, entry, name)}"
                close = nearest(name, list(self._names[kind]))
                raise ConfigurationError(f"{where}: unknown {kind} {name!r}{close}")

    def _distinct(self, file: str, key: str, names: Iterable[str]) -> None:
        for entry in entries(key, names):
            if entry.nth:
                line = self._line(file, entry)
                raise ConfigurationError(
                    f"{self._folder / file}:{line}: {entry.name!r} stands twice"
                )

    def _ranges(self, file: str, own: Sequence[Entry], owners: Sequence[tuple[str, str]]) -> None:
        """Refuse what is no range of releases; `owners` are package and range of each entry."""
        for entry, (_, versions) in zip(own, owners, strict=True):
            try:
                specifiers(versions)
            except InvalidSpecifier:
                self._fail(
                    file, entry, f"has versions {versions!r}, which PEP 440 does not know", versions
                )

    def _apart(self, file: str, own: Sequence[Entry], owners: Sequence[tuple[str, str]]) -> None:
        """Refuse two entries of one name and package that hold for the same release."""
        self._ranges(file, own, owners)
        groups: dict[tuple[str, str], list[tuple[Entry, str]]] = {}
        for entry, (package, versions) in zip(own, owners, strict=True):
            groups.setdefault((entry.name, package), []).append((entry, versions))
        for (_, package), group in groups.items():
            for (one, first), (other, second) in combinations(group, 2):
                if (version := shared(first, second)) is not None:
                    words = (
                        f"of {package} stands twice for {version} (line {self._line(file, one)})"
                    )
                    self._fail(file, other, words)

    def _fail(self, file: str, entry: Entry, words: str, at: str = "") -> NoReturn:
        where = f"{self._folder / file}:{self._line(file, entry, at)}"
        raise ConfigurationError(f"{where}: {entry.key} {entry.name!r} {words}")

    def _line(self, file: str, entry: Entry, word: str = "") -> int:
        """Find the line of an entry, or the one of `word` in it."""
        head = re.compile(rf"(?<![\w.-]){entry.key}:\s+{_whole(entry.name)}")
        nth, found = entry.nth, 0
        text = (self._folder / file).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            rest = re.sub(r"(^|\s)#.*", "", line)
            if not found and (match := head.search(rest)):
                rest = rest[match.end() :]
                found = 0 if nth else number
                nth -= 1
            if found and (not word or re.search(_whole(word), rest)):
                return number
        return found or 1


def _whole(word: str) -> str:
    return rf"(?<![\w.-])['\"]?{re.escape(word)}['\"]?(?![\w.-]|,\S)"


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
