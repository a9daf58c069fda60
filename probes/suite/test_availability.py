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
from probes.subject import Charged, ChargedError, NotOfferedError


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
    selected = _selected(subject, case.operation)
    told = f"advertised: {advertised or 'nothing'}; selected: {selected or 'nothing'}"
    work = make(subject, case, run)
    try:
        _, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    except ChargedError as error:
        return refused(error.reason, f"{error}; {told}", advertised=advertised, selected=selected)
    ran = f"ran: {', '.join(kernels) or 'no kernel'}; asked for: {case.backend}; {told}"
    reason = watch.verdict(kernels, case.operation, subject.family(case.operation, case.backend))
    if reason:
        return refused(reason, ran, kernels=kernels, advertised=advertised, selected=selected)
    return Finding(
        status="pass",
        text=ran,
        kernels=kernels,
        advertised=advertised,
        selected=selected,
        marks=("numbers-unchecked",),
        metrics={"kernels": (float(len(kernels)), "1")},
    )


def _selected(subject: Charged, operation: str) -> str:
    """Return the package's choice, "" where asking for it fails: that is no fault of the kernel that is launched here."""
    try:
        return str(subject.selected(operation))
    except (ChargedError, NotOfferedError):
        return ""
