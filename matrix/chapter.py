"""Chapters: what one release knows of one capability, the same for every target. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matrix.capability import Piece
from matrix.compiled import in_range, own_pieces
from matrix.path import Path


@dataclass(frozen=True)
class Chapter:
    """What one release of the leading package knows of one capability: the same for every target."""

    capability: str
    paths: tuple[Path, ...]
    own: tuple[Piece, ...]


def chapters(
    package: str,
    version: str,
    capabilities: Sequence[str],
    paths: Sequence[Path],
    pieces: Sequence[Piece],
) -> tuple[Chapter, ...]:
    """Pick the paths and own pieces that one release has, by capability."""
    here = [p for p in paths if p.package == package and in_range(version, p.versions)]
    return tuple(
        Chapter(
            capability=name,
            paths=tuple(path for path in here if path.capability == name),
            own=tuple(p for p in own_pieces(package, version, name, pieces) if p.required),
        )
        for name in capabilities
    )
