"""A planted fault: a subject that is wrong in one way, and what the probes have to say of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from probes.reason import WORDS
from probes.subjects.reference import Reference

CLASSES: Final[Mapping[str, str]] = {
    "A": "no kernel image for this GPU",
    "B": "the a or f suffix was stripped at build",
    "C": "a guard that refuses the architecture",
    "D": "declared and selected, and not there",
    "E": "silent fallback: weight-only, or emulated",
    "F": "a setting that is ignored",
    "G": "a global scale that was never loaded or initialised",
    "H": "scales of the padding are read, K not aligned",
    "I": "wrong numbers",
    "J": "shared memory overflow",
    "K": "illegal instruction, or a crash",
    "L": "corruption after a while",
    "M": "autotuning that stalls",
    "N": "the toolchain: too old, missing, or failing",
    "O": "PTX that the driver cannot compile, or compiles wrongly",
    "P": "right, but slower than weight-only",
    "Q": "a KV cache that is corrupted",
    "-": "what ends a probe otherwise: memory, time, an import",
}
"""The failure classes of the field, by the letter that docs/faults.md lists them by."""


class Planted(Reference):
    """The reference, of which a fault overrides one operation, or the import."""

    @staticmethod
    def load() -> None:
        """Stand for the import of the package."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault and what has to come of it.

    `letters`: classes of `CLASSES`. `operation`: the one that is wrong. `reason`: what at least one result of the probes
    `probes` (names; * stands for anything) has to say. `also`: what others of these may say instead. `where`: a word of the load
    ("m=17") that alone is hit; every other load has to pass. `asks`: fields of the run's request. `subject`: the class that is
    made.
    """

    name: str
    letters: str
    operation: str
    reason: str
    probes: tuple[str, ...]
    subject: type[Planted]
    also: frozenset[str] = frozenset()
    where: str = ""
    asks: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = ({self.reason} | self.also) - WORDS
        if unknown or not set(self.letters) <= set(CLASSES):
            raise ValueError(
                f"{self.name}: {sorted(unknown)} or a letter of {self.letters} is unknown"
            )

    @property
    def text(self) -> str:
        """What is wrong, in one line: the first of the class's docstring."""
        return (self.subject.__doc__ or "").strip().splitlines()[0]


ONCE: Final = ("correctness.{}", "correctness_experts.{}")
AGAIN: Final = tuple(f"correctness_again.{how}.{{}}" for how in ("repeated", "poisoned", "padding"))
"""Probes of an operation that compare numbers."""

STEADY: Final = 1
"""Calls that go well before what changes from call to call does so."""

FAULTS: Final[dict[str, Fault]] = {}
"""Every fault by name, in the order in which their modules are imported by `probes.faults.catalogue`."""

_T = TypeVar("_T", bound=type[Planted])


def fault(
    letters: str,
    operation: str,
    reason: str,
    *,
    probes: tuple[str, ...] = (),
    also: tuple[str, ...] = (),
    where: str = "",
    asks: Mapping[str, Any] | None = None,
) -> Callable[[_T], _T]:
    """Enter a subject class as a fault, named as the class is: `SwappedNibbles` is `swapped-nibbles`.

    Without `probes`, the correctness probes of the operation have to find it, each load once where `where` names some.
    """
    again = () if where else AGAIN
    known = tuple(name.format(operation) for name in (*ONCE, *again))

    def enter(subject: _T) -> _T:
        name = re.sub(r"(?<!^)(?=[A-Z])", "-", subject.__name__).lower()
        if name in FAULTS:
            raise ValueError(f"{name} is there twice")
        FAULTS[name] = Fault(
            name=name,
            letters=letters,
            operation=operation,
            reason=reason,
            probes=probes or known,
            subject=subject,
            also=frozenset(also),
            where=where,
            asks=asks or {},
        )
        return subject

    return enter
