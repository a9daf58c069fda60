"""Who takes part in a race: calls without arguments, each made once, charged, before it may be timed."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch

from probes.request import Request
from probes.speed.roofline import Cost
from probes.speed.timer import Work
from probes.subject import Charged, ChargedError, NotOfferedError

NATIVE: Final = "native"
AGAIN: Final = "again"
"""Native once more, on copies of its operands elsewhere in memory: with NATIVE the A/A comparison."""

BAR: Final = "w4a16"
"""What native must not lose to."""

LAYER: Final = "layer"
"""Native with the quantizing of its activation before it, which a layer pays and W4A16 does not."""

_COSINE: Final = 0.9
"""Under it a baseline computes something else; quantizing both activations of an expert to 4 bits leaves more."""

_DEAD: Final = frozenset({"illegal_instruction", "illegal_memory_access", "launch_failure"})
"""Reasons after which nothing runs on the device any more."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """The contenders by name. `cost`: of native's work. `left_out`: why others are not there.

    `got` and `want`: a part of what native made, and of what it is to be. `bar`: who sets it, in words.
    """

    works: dict[str, Work]
    cost: Cost
    got: torch.Tensor
    want: torch.Tensor
    left_out: dict[str, str]
    bar: str = BAR


class Entry:
    """Takes contenders in. Timed calls go past `Charged`, which would wait for the device after each."""

    def __init__(self, subject: Charged, run: Request) -> None:
        self.subject = subject
        self.raw = subject.subject
        self._offers = importlib.import_module(f"probes.subjects.{run.subject}").OFFERS
        self.works: dict[str, Work] = {}
        self.barred = BAR
        self.left_out: dict[str, str] = {}

    def native(self, name: str, operation: str, work: Callable[[], Any]) -> Any:
        """Enter the operation under test; return what it made. Raises what it is charged with."""
        made = self.subject.charge(operation, work)
        self.works[name] = _charged(operation, work)
        return made

    def baseline(self, name: str, make: Callable[[], Work], want: torch.Tensor) -> None:
        """Enter something to compare with, where it works here and comes near `want`; else keep why not.

        Raises ChargedError where it leaves a device on which nothing runs any more.
        """
        try:
            work = self.subject.charge(name, make)
            made = self.subject.charge(name, work)
        except NotOfferedError as error:
            self.left_out[name] = str(error)
        except ChargedError as error:
            if error.reason in _DEAD:
                raise
            self.left_out[name] = str(error)
        else:
            if near(made, want):
                self.works[name] = _charged(name, work)
            else:
                self.left_out[name] = f"{name}: its numbers are wrong"

    def bar(self, operation: str, make: Callable[[str], Work], want: torch.Tensor) -> None:
        """Enter the first weight-only backend that the package offers and that works."""
        self.left_out[BAR] = f"{operation} is not offered"
        for backend in self._offers.get(operation, ()):
            self.baseline(BAR, lambda chosen=backend: make(chosen), want)  # type: ignore[misc]
            if BAR in self.works:
                del self.left_out[BAR]
                self.barred = f"{BAR} ({backend})"
                return

    def first(self, operation: str) -> str:
        """Return the backend that is offered first. Raises NotOfferedError for none."""
        for backend in self._offers.get(operation, ()):
            return str(backend)
        raise NotOfferedError(f"{operation} is not offered")


def near(made: object, want: torch.Tensor) -> bool:
    """Say whether a baseline computes the same thing, roughly: it need not be right to be in the race, but at work."""
    if not isinstance(made, torch.Tensor) or made.shape != want.shape:
        return False
    left, right = made.detach().float().flatten(), want.detach().float().flatten()
    return bool(torch.nn.functional.cosine_similarity(left, right, dim=0) >= _COSINE)


def _charged(operation: str, work: Work) -> Work:
    def call() -> object:
        try:
            return work()
        except (NotOfferedError, ChargedError):
            raise
        except Exception as error:
            raise ChargedError(operation, error) from error

    return call
