"""Everything that the data files say, read once and checked against itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from matrix.capability import CapabilitiesFile
from matrix.defect import DefectsFile
from matrix.document import load, nearest
from matrix.errors import ConfigurationError
from matrix.gate import GatesFile
from matrix.path import PathsFile
from matrix.stack import StacksFile
from matrix.target import Target, TargetsFile

HERE = Path(__file__).parent


class Configuration:
    """The data files of one folder, each read when it is first asked for.

    Every property raises ConfigurationError, which names file and line.
    """

    def __init__(self, folder: Path = HERE) -> None:
        self._folder = folder

    @cached_property
    def targets(self) -> tuple[Target, ...]:
        """Every target, in the order of the file."""
        targets = load(self._folder / "targets.yaml", TargetsFile).targets
        self._distinct("targets.yaml", (target.name for target in targets))
        return targets

    @cached_property
    def capabilities(self) -> CapabilitiesFile:
        """Capabilities, instructions, packages and pieces."""
        held = load(self._folder / "capabilities.yaml", CapabilitiesFile)
        names = [capability.name for capability in held.capabilities]
        self._distinct("capabilities.yaml", names)
        for piece in held.pieces:
            for name in piece.capabilities:
                self._known("capabilities.yaml", piece.piece, "capability", name, names)
            if piece.instruction is not None:
                instructions = [instruction.name for instruction in held.instructions]
                self._known(
                    "capabilities.yaml", piece.piece, "instruction", piece.instruction, instructions
                )
        return held

    @cached_property
    def gates(self) -> GatesFile:
        """Where each claim is read."""
        return load(self._folder / "gates.yaml", GatesFile)

    @cached_property
    def paths(self) -> PathsFile:
        """Kernel classes and their pieces."""
        held = load(self._folder / "paths.yaml", PathsFile)
        names = [capability.name for capability in self.capabilities.capabilities]
        for path in held.paths:
            self._known("paths.yaml", path.path, "capability", path.capability, names)
        return held

    @cached_property
    def defects(self) -> DefectsFile:
        """Known failures that static reading cannot see."""
        held = load(self._folder / "defects.yaml", DefectsFile)
        names = [target.name for target in self.targets]
        for defect in held.defects:
            for target in defect.targets:
                self._known("defects.yaml", defect.defect, "target", target, names)
        return held

    @cached_property
    def stacks(self) -> StacksFile:
        """As-released ranges and stacks by hand."""
        return load(self._folder / "stacks.yaml", StacksFile)

    def target(self, name: str) -> Target:
        """Give a target by name; raises ConfigurationError with the nearest right one."""
        for target in self.targets:
            if target.name == name:
                return target
        names = [target.name for target in self.targets]
        raise ConfigurationError(f"unknown target {name!r}{nearest(name, names)}")

    def _line(self, file: str, *words: str) -> int:
        """Find the line on which `words` stand, after each other, in a file of ours."""
        wanted = list(words)
        for number, line in enumerate((self._folder / file).read_text().splitlines(), 1):
            while wanted and wanted[0] in line:
                wanted.pop(0)
                if not wanted:
                    return number
        return 1

    def _known(self, file: str, owner: str, kind: str, name: str, names: list[str]) -> None:
        if name not in names:
            line = self._line(file, owner, name)
            where = f"{self._folder / file}:{line}"
            raise ConfigurationError(f"{where}: unknown {kind} {name!r}{nearest(name, names)}")

    def _distinct(self, file: str, names: Iterable[str]) -> None:
        seen: set[str] = set()
        for name in names:
            if name in seen:
                line = self._line(file, name, name)
                raise ConfigurationError(f"{self._folder / file}:{line}: {name!r} stands twice")
            seen.add(name)
