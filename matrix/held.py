"""One wheel's record, indexed: what is asked of it once for every target and capability. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar

from matrix.evidence.record import CubinEvidence, KernelEvidence, WheelEvidence
from matrix.gate import GateAnswer


class _OfPiece(Protocol):
    @property
    def piece(self) -> str: ...


_T = TypeVar("_T", bound=_OfPiece)


class Held:
    """A record with its kernels and cubins by piece, its PTX by object and its claims by name."""

    def __init__(self, record: WheelEvidence) -> None:
        self.record = record
        self.kernels: Mapping[str, list[KernelEvidence]] = _by_piece(record.kernels)
        self.cubins: Mapping[str, list[CubinEvidence]] = _by_piece(record.cubins)
        self.gates: Mapping[str, GateAnswer] = {answer.gate: answer for answer in record.gates}
        self.ptx: Mapping[str, tuple[str, ...]] = {
            held.path: tuple(held.ptx) for held in record.objects if held.ptx
        }

    @property
    def cuda(self) -> str | None:
        """CUDA major version that the machine code was built for ("13"); None where none says so."""
        for held in self.record.objects:
            if held.needs:
                return held.needs.removeprefix("libcudart.so.").split(".")[0] or None
        return None


def _by_piece(found: Iterable[_T]) -> dict[str, list[_T]]:
    pieces: dict[str, list[_T]] = {}
    for each in found:
        pieces.setdefault(each.piece, []).append(each)
    return pieces
