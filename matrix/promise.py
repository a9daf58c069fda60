"""What a package that was built from source is held to: the nearest release that was read, where it was built for. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from packaging.version import Version

from matrix.capability import Piece
from matrix.compiled import compiled
from matrix.evidence.record import WheelEvidence
from matrix.held import Held
from matrix.image import Difference
from matrix.target import Target
from matrix.vocabulary import Compiled

_THERE: Final[tuple[Compiled, ...]] = ("yes", "jit", "dsl")


def nearest(records: Iterable[WheelEvidence], version: str) -> WheelEvidence | None:
    """Return the record of the newest release that is not newer than `version`, else of the oldest one."""
    known = sorted(records, key=lambda record: Version(record.version))
    older = [record for record in known if Version(record.version) <= Version(version)]
    return older[-1] if older else known[0] if known else None


def lost(
    found: WheelEvidence,
    release: WheelEvidence,
    served: Collection[str],
    *,
    capabilities: Sequence[str],
    targets: Sequence[Target],
    pieces: Sequence[Piece],
) -> Iterator[Difference]:
    """Tell what a release has on a target, and a source build for that target has not.

    How many kernels there are is no promise: a commit between two releases may have others. On targets that it was
    not built for nothing is promised, nor where the release itself has nothing.
    """
    here, record = Held(found), Held(release)
    for capability in capabilities:
        for target in targets:
            if target.name not in served:
                continue
            said = compiled(record, capability, target.capability, pieces)
            got = compiled(here, capability, target.capability, pieces)
            if said.compiled in _THERE and got.compiled != said.compiled:
                yield Difference(
                    kind="compiled",
                    what=f"{found.package} {capability}",
                    target=target.name,
                    promised=f"{said.compiled}, as {release.version} has it",
                    found=f"{got.compiled}, {got.kernels} kernels",
                )
