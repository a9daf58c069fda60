"""Stacks placed on targets: from data files, wheel records and kept selections to values. Reads no file but those."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from matrix.capability import Piece
from matrix.compiled import in_range
from matrix.configuration import Configuration
from matrix.hearing import Hearing
from matrix.held import Held
from matrix.namedstack import NamedStack
from matrix.published import Published
from matrix.selections import Selections
from matrix.situation import Situation
from matrix.stack import Stack
from matrix.target import Target
from matrix.vocabulary import MACHINES


class Situations:
    """Makes situations, and what their release said; each record is indexed once."""

    def __init__(
        self, configuration: Configuration, published: Published, selections: Selections
    ) -> None:
        self.configuration = configuration
        self.published = published
        self.selections = selections
        self._held: dict[tuple[str, str, str], Held | None] = {}

    @cached_property
    def pieces(self) -> dict[str, tuple[Piece, ...]]:
        """Every entry of the data by the piece's name."""
        found: dict[str, list[Piece]] = {}
        for piece in self.configuration.capabilities.pieces:
            found.setdefault(piece.piece, []).append(piece)
        return {name: tuple(entries) for name, entries in found.items()}

    def hold(self, package: str, version: str, machine: str) -> Held | None:
        """Return the record of a release on a machine, indexed; None where it was not read."""
        key = (package, version, machine)
        if key not in self._held:
            record = self.published.record(package, version, machine)
            self._held[key] = Held(record) if record else None
        return self._held[key]

    def place(self, stack: Stack, target: Target) -> Situation | None:
        """Place a stack on a target; None where its leading wheel was not read."""
        lead = stack.lead
        held = {
            pin.package: one
            for pin in stack.pins
            if (one := self.hold(pin.package, pin.version, stack.machine))
        }
        if lead.package not in held:
            return None
        return Situation(
            stack=stack,
            target=target,
            held=held,
            cuda=_cuda(held),
            floors=self._floors(lead.package, lead.version),
            superseded=self.published.superseded(lead.package, lead.version, stack.machine),
            pieces=self.pieces,
            defects=[
                defect
                for defect in self.configuration.defects.defects
                if target.name in defect.targets
                and (not defect.machines or stack.machine in defect.machines)
            ],
        )

    def hearing(
        self, named: NamedStack, resolved: Mapping[str, Stack], here: Situation
    ) -> Hearing | None:
        """Find what the stack's release said: on its own CPU, else on another one."""
        lead, own = here.stack.lead, here.stack.machine
        for machine in (own, *(m for m in MACHINES if m != own)):
            made = self.selections.find(lead.package, lead.version, machine)
            if made is None:
                continue
            there = self.place(resolved[machine], here.target) if machine != own else None
            return Hearing(made, here, there, written=named.pins, extras=named.extras)
        return None

    def _floors(self, package: str, version: str) -> dict[str, str]:
        """Return the CUDA runtime that each gate of a release asks for besides."""
        return {
            gate.gate: gate.minimum_cuda
            for gate in self.configuration.gates.gates
            if gate.minimum_cuda and gate.package == package and in_range(version, gate.versions)
        }


def _cuda(held: dict[str, Held]) -> str | None:
    torch = held.get("torch")
    return torch.record.facts.get("cuda") if torch else None
