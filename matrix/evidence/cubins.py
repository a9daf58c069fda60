"""Cubin files in a wheel, counted by what their names say of number format and architecture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from matrix.architecture import parse
from matrix.capability import Piece
from matrix.evidence.record import CubinEvidence

_ARCHITECTURE: Final = re.compile(r"[Ss]m_?([1-9][0-9]{1,2}[af]?)(?=[A-Z_./])")
"""`Gemm_…_sm100f.cubin`, `fmhaSm103aKernel_….cubin`, `sm_100a/….cubin`: what follows tells the suffix
from the next word."""

_EXAMPLE: Final = 160


def architecture(name: str) -> str:
    """Return the architecture that a cubin is named for, as "sm100f"; "" where its name has none.

    The last one in the path counts: the file's own before its folder's.
    """
    found = _ARCHITECTURE.findall(name)
    return f"sm{found[-1]}" if found else ""


def count_cubins(names: Iterable[str], pieces: Sequence[Piece]) -> tuple[CubinEvidence, ...]:
    """Count the cubins of each piece by architecture; `names` are the wheel's members.

    `Piece.cubin` is searched in the whole path, and `families` likewise. A cubin whose name states no
    architecture counts for nothing: what could load it is not known.
    """
    wanted = [piece for piece in pieces if piece.delivery == "cubin" and piece.cubin]
    held: dict[tuple[str, str], list[str]] = {}
    for name in names:
        image = architecture(name) if name.endswith(".cubin") else ""
        if not image:
            continue
        for piece in wanted:
            if re.search(piece.cubin, name) and _of_family(name, image, piece):
                held.setdefault((piece.piece, image), []).append(name)
    return tuple(
        CubinEvidence(
            piece=piece,
            image=image,
            files=len(files),
            example=min(files).rpartition("/")[2][:_EXAMPLE],
        )
        for (piece, image), files in sorted(held.items())
    )


def _of_family(name: str, image: str, piece: Piece) -> bool:
    if piece.families is None:
        return True
    wanted = piece.families.get(parse(image.replace("sm", "sm_", 1)).family)
    return wanted is not None and re.search(wanted, name) is not None
