"""What a choice was, and what each candidate said: the shape of every answer that leaves this interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

KINDS = ("dense_w4a4", "dense_w4a16", "moe_w4a4", "moe_w4a16", "kv_cache")
"""The layer kinds, in the order in which they are told."""


class Candidate(NamedTuple):
    """One kernel class or backend: whether it says that it can, and its own words where it cannot.

    `supported` is None where it could not be asked. `kernel`: the class behind a backend's name.
    `calls`: the FlashInfer operation that it would call, as an `Opinion` names it.
    """

    name: str
    supported: bool | None
    reason: str = ""
    kernel: str = ""
    calls: str = ""


class Opinion(NamedTuple):
    """What FlashInfer itself says of one operation, or of one backend of it: `mm_fp4(cutlass)`."""

    call: str
    supported: bool | None
    reason: str = ""


class Answer(NamedTuple):
    """One layer kind on one GPU in one environment.

    `outcome`: "chosen", "none" (it refuses to serve this at all, `reason` in its own words) or
    "unknown". `order`: the names in the order in which the library tried them, as far as it tells.
    `exception`: why it may leave that order.
    """

    outcome: str
    selected: str | None = None
    kernel: str = ""
    reason: str = ""
    candidates: tuple[Candidate, ...] = ()
    order: tuple[str, ...] = ()
    exception: str = ""

    def told(self, opinions: Sequence[Opinion] = ()) -> dict[str, Any]:
        """Return it as JSON holds it, with each candidate's reason for not being chosen."""
        return {
            "outcome": self.outcome,
            "selected": self.selected,
            "kernel": self.kernel,
            "reason": self.reason,
            "candidates": [
                {**candidate._asdict(), "reason": self._passed_over(candidate)}
                for candidate in self.candidates
            ],
            "flashinfer": [opinion._asdict() for opinion in opinions],
        }

    def _passed_over(self, candidate: Candidate) -> str:
        if candidate.supported is not True or self.selected is None:
            return candidate.reason
        if candidate.name == self.selected:
            same = not self.kernel or candidate.kernel == self.kernel
            return candidate.reason if same else f"behind {self.kernel} of the same backend"
        if self.exception:
            return self.exception
        return self._behind(candidate.name)

    def _behind(self, name: str) -> str:
        if self.order and name not in self.order:
            return "not in the list that is tried: on request alone"
        if name in self.order and self.selected in self.order:
            if self.order.index(name) > self.order.index(self.selected):
                return f"behind {self.selected} in the list"
            return f"passed over for {self.selected}, though it stands earlier in the list"
        return f"{self.selected} was chosen before it"


def unknown(reason: str) -> Answer:
    """Return the answer of a question that could not be put."""
    return Answer("unknown", reason=" ".join(reason.split())[:500])


def words(error: BaseException) -> str:
    """Return an exception on one line: its kind and what it says."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
