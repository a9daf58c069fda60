"""A digest of the data that decided a record: where it differs from today's, the wheel must be read again."""

from __future__ import annotations

import hashlib
from typing import Final

import msgspec

from matrix.capability import CapabilitiesFile
from matrix.compiled import in_range
from matrix.gate import GatesFile

ANY_PACKAGE: Final = "*"
"""Package of the pieces that are looked for in a wheel that no package rule is about."""

EDITIONS: Final[dict[str, int]] = {"torch": 2}
"""Of each reader, 1 where it is not here; raised by hand when its code says something else of the same wheel."""


def rules_digest(
    package: str, version: str, capabilities: CapabilitiesFile, gates: GatesFile
) -> str:
    """Return 16 hex digits over what an audit of a release reads by; pure.

    Only what changes a record counts: a note, a title, or whether a piece is required does not, and
    neither does what the data says of other packages and releases.
    """
    rule = next((rule for rule in capabilities.packages if rule.package == package), None)
    owner = package if rule else ANY_PACKAGE
    pieces = [
        piece
        for piece in capabilities.pieces
        if piece.package == owner
        and piece.delivery in ("image", "cubin")
        and in_range(version, piece.versions)
    ]
    names = {piece.instruction for piece in pieces}
    decisive = [
        EDITIONS.get(rule.reader if rule else "kernels", 1),
        [rule.reader, rule.skip_objects] if rule else [],
        [
            [
                p.piece,
                p.delivery,
                p.symbol,
                p.exclude,
                p.objects,
                p.families,
                p.instruction,
                p.cubin,
            ]
            for p in pieces
        ],
        [[i.name, i.families] for i in capabilities.instructions if i.name in names],
        [
            [g.gate, g.capabilities, g.backend, g.native, g.python, g.predicate]
            for g in gates.gates
            if g.package == package and in_range(version, g.versions)
        ],
        [
            [e.call, e.predicate]
            for e in gates.externs
            if e.package == package and in_range(version, e.versions)
        ],
    ]
    content = msgspec.json.encode(decisive, order="deterministic")
    return hashlib.sha256(content).hexdigest()[:16]
