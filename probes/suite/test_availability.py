"""Is the kernel there, and is it the one that runs? Every operation and backend, launched once."""

from __future__ import annotations

from collections.abc import Iterator

from probes import watch
from probes.case import Case
from probes.check import Load, Loads, each
from probes.correctness.making import MAKERS, make, representative
from probes.correctness.work import launch
from probes.finding import Finding, refused
from probes.request import Request
from probes.subject import Charged, ChargedError


def _loads(operation: str) -> Loads:
    def once(run: Request) -> Iterator[Load]:
        yield representative(operation, run)

    return once


@each({operation: _loads(operation) for operation in MAKERS})
def test_launched(subject: Charged, case: Case, run: Request) -> Finding:
    """Launch it, and hold the kernels that ran against what was asked for and what the package says.

    Its numbers are not looked at. Kernels that no rule knows for FP4 prove nothing: that is no pass and no fault, but `not_proven`.
    """
    advertised = subject.advertised(case.operation, case.backend)
    told = f"advertised: {advertised or 'nothing'}; selected: {subject.selected(case.operation) or 'nothing'}"
    work = make(subject, case, run)
    try:
        _, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    except ChargedError as error:
        return refused(error.reason, f"{error}; {told}", advertised=advertised)
    ran = f"ran: {', '.join(kernels) or 'no kernel'}; asked for: {case.backend}; {told}"
    reason = watch.verdict(kernels, case.operation, subject.family(case.operation, case.backend))
    if reason:
        return refused(reason, ran, kernels=kernels, advertised=advertised)
    return Finding(
        status="pass",
        text=ran,
        kernels=kernels,
        advertised=advertised,
        marks=("numbers-unchecked",),
        metrics={"kernels": (float(len(kernels)), "1")},
    )
