"""The same work over and over: captured for several sizes and replayed in random order, every result held against the first.

On a GPU each size is a CUDA graph; elsewhere each is called. Illegal instructions on replay (class K) and results that change after
minutes (class L) show here, and not in a single launch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import torch

from probes.case import Case
from probes.correctness import bounds
from probes.correctness.fault import Fault
from probes.correctness.making import make
from probes.correctness.work import Outputs, Work, recorded
from probes.request import Request
from probes.subject import Charged

SIZED: Final = {"gemm": "m", "grouped_gemm": "m", "moe": "tokens", "quantize": "m"}
"""What is replayed, each with the parameter that is its batch size."""

BATCHES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
"""Batch sizes that vLLM captures CUDA graphs for, thinned out (CompilationConfig.cudagraph_capture_sizes)."""

_FEW: Final = (1, 4, 17)
_TOGETHER: Final = 50
"""Replays that are launched one after the other before their results are looked at."""


@dataclass
class Captured:
    """One size: `works` differ in their inputs alone. `run` fills in the inputs of one, runs it, and gives the outputs."""

    name: str
    works: Sequence[Work]
    run: Callable[[int], Outputs]
    first: dict[int, Outputs] = field(default_factory=dict)


def sizes(subject: Charged, case: Case, run: Request) -> list[Captured]:
    """Capture an operation for several batch sizes, each with two sets of inputs."""
    name = SIZED[case.operation]
    made = []
    for size in BATCHES if run.scale == "full" else _FEW:
        one = Case(case.probe, case.operation, case.backend, {**case.load, name: size})
        works = [make(subject, one, run, again=again) for again in (0, 1)]
        made.append(capture(subject, f"{name}_{size}", works))
    return made


def capture(subject: Charged, name: str, works: Sequence[Work]) -> Captured:
    """Capture a size in a CUDA graph; on another device it is called each time. What goes wrong is charged."""
    work = works[0]
    given = tuple(each.detach().clone() for each in work.inputs)

    def fill(which: int) -> None:
        for held, new in zip(given, works[which].inputs, strict=True):
            held.copy_(new)

    if subject.device.type != "cuda":

        def call(which: int) -> Outputs:
            fill(which)
            return work.call(subject.subject, *given)

        return Captured(name, works, call)

    graph, made = subject.charge(work.operation, lambda: recorded(subject, work, given))

    def replay(which: int) -> Outputs:
        fill(which)
        graph.replay()
        return made

    return Captured(name, works, replay)


def learn(subject: Charged, captured: Sequence[Captured]) -> Fault | None:
    """Run every size with each of its inputs once, judge it by the reference, and keep it as what has to come again."""
    for size in captured:
        for which, work in enumerate(size.works):
            made = _copies(subject.charge(work.operation, lambda s=size, w=which: s.run(w)))  # type: ignore[misc]
            fault, _ = work.judge(made)
            if fault:
                return Fault(fault.reason, f"{size.name}: {fault.text}")
            size.first[which] = made
    return None


class Rounds:
    """Random replays of what has been learnt; `done` counts them."""

    def __init__(self, subject: Charged, captured: Sequence[Captured], seed: int) -> None:
        self.done = 0
        self._subject = subject
        self._sizes = captured
        self._random = random.Random(seed)  # noqa: S311 - an order, no secret

    def go(self, count: int = _TOGETHER) -> Fault | None:
        """Replay `count` times, then look: `corruption` where a result is not that of its first time."""
        operation = self._sizes[0].works[0].operation
        plan = [self._random.choice(self._sizes) for _ in range(count)]
        asked = [(size, self._random.randrange(len(size.works))) for size in plan]
        made = self._subject.charge(
            operation, lambda: [_unlike(size, which) for size, which in asked]
        )
        start, self.done = self.done, self.done + count
        for number, ((size, _), differ) in enumerate(zip(asked, made, strict=True)):
            if wrong := int(differ):
                told = f"replay {start + number + 1}, {size.name}: {wrong} values are not those of the first time"
                return Fault("corruption", told)
        return None


def _unlike(size: Captured, which: int) -> torch.Tensor:
    """Replay once, and count on the device what differs from the first time; nothing waits for it.

    Bytes where two runs give the same; else numbers that are further away than two roundings of a product.
    """
    made = size.run(which)
    total = torch.zeros((), dtype=torch.int64, device=made[0].device)
    for one, two in zip(made, size.first[which], strict=True):
        if size.works[which].exact or not one.is_floating_point():
            total += (_bytes(one) != _bytes(two)).sum()
        else:
            left, right = one.double(), two.double()
            near = 2 * bounds.product(one.dtype) * right.norm()
            total += torch.where((left - right).norm() <= near, 0, one.numel())
    return total


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def _copies(tensors: Outputs) -> Outputs:
    return tuple(each.detach().clone() for each in tensors)
