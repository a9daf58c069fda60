"""One operation made ready: its inputs on the device, how to call it, and how to judge what it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from probes import watch
from probes.case import Case
from probes.correctness import judge
from probes.correctness.fault import Fault
from probes.finding import Finding, Metrics, refused
from probes.subject import Charged

Outputs = tuple[torch.Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Work:
    """An operation with one set of inputs.

    `operation`: what is charged. `inputs`: on the device, but for numbers of rows. `call`: takes the operations (a subject, or a `Charged` that waits after each) and
    the inputs, and returns the outputs, `names` of which are digested. `judge`: holds outputs against the reference. `exact`: whether two runs have to give
    the same bits. `poisoned`: as `judge`, of a run on memory full of NaN, where that is another question. `notes`: figures of the inputs.
    """

    operation: str
    inputs: Outputs
    call: Callable[..., Outputs]
    judge: Callable[[Outputs], tuple[Fault | None, Metrics]]
    names: tuple[str, ...]
    seed: int
    exact: bool = True
    poisoned: Callable[[Outputs], tuple[Fault | None, Metrics]] | None = None
    notes: Metrics = field(default_factory=dict)


Maker = Callable[..., Work]
"""`maker(subject, case, seed, again=0, fill=0)`: the work of a case. `again` changes the inputs and keeps the weights; `fill` is the
byte for padding of scales."""


def launch(subject: Charged, work: Work) -> Outputs:
    """Run it once, waiting after each operation; what goes wrong is charged to it."""
    made: Outputs = subject.charge(work.operation, lambda: work.call(subject, *work.inputs))
    return made


def digests(work: Work, outputs: Outputs) -> dict[str, str]:
    """Hash the outputs that have a name."""
    return {
        name: judge.sha256(each) for name, each in zip(work.names, outputs, strict=False) if name
    }


def judged(subject: Charged, case: Case, work: Work, **more: Any) -> Finding:
    """Run it once under the profiler, judge it, and say what ran."""
    outputs, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    fault, figures = work.judge(outputs)
    return concluded(
        subject, case, work, outputs, kernels, fault, {**work.notes, **figures, **more}
    )


def concluded(  # noqa: PLR0917 - what a finding is made of
    subject: Charged,
    case: Case,
    work: Work,
    outputs: Outputs,
    kernels: tuple[str, ...],
    fault: Fault | None,
    figures: Metrics,
) -> Finding:
    """Make the finding: a fault if there is one, else a fallback by the kernels that ran, else a pass.

    Right numbers by kernels that no rule knows are a pass that is marked `kernels-unproven`, which makes nothing green.
    """
    told: Mapping[str, Any] = {
        "kernels": kernels,
        "metrics": figures,
        "seeds": (work.seed,),
        "digests": digests(work, outputs),
        "advertised": subject.advertised(case.operation, case.backend),
    }
    if fault is not None:
        return refused(fault.reason, fault.text, **told)
    reason = watch.fallback(kernels, case.operation)
    if reason == "not_proven":
        return Finding(status="pass", marks=("kernels-unproven",), **told)
    if reason:
        return refused(reason, f"right numbers by {', '.join(kernels)}", **told)
    return Finding(status="pass", **told)


def recorded(subject: Charged, work: Work, given: Outputs) -> tuple[torch.cuda.CUDAGraph, Outputs]:
    """Capture a call of a work on `given` in a CUDA graph; return the graph, and the outputs that a replay writes to."""
    # Some runs before on another stream, as torch's documentation of CUDA graphs wants: lazy set-up may not be captured.
    device = subject.device
    stream: Any = torch.cuda.Stream(device)  # type: ignore[no-untyped-call,unused-ignore]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            work.call(subject.subject, *given)
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = work.call(subject.subject, *given)
    return graph, made
