"""Whether it stays right when run twice, with other inputs, on memory full of NaN, compiled, and in a CUDA graph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from probes import watch
from probes.case import Case, Value
from probes.check import Load, Loads, each
from probes.correctness import again
from probes.correctness.making import MAKERS, make, representative
from probes.correctness.work import concluded, launch
from probes.finding import Finding, refused
from probes.request import Request
from probes.subject import Charged, ChargedError

COMPILED_HERE = ("gemm",)
"""What is compiled on a CPU, where tracing takes as long as all else together, and nothing that is fused is under test."""

PADDED: Final[Mapping[str, Mapping[str, Value]]] = {
    "gemm": {},
    "mxfp4_gemm": {},
    "grouped_gemm": {"n": 1088},
    "moe": {"hidden": 1088, "intermediate": 576},
}
"""What has scales to pad, and sizes of experts whose scales have rows of padding: a multiple of 64 that is none of 128.

No padding of columns: the zeros behind the end of K are multiplied by that, and it has to be 0.
"""

_TAIL: Final = {"quantize": {"k": 1040}}
"""A size of which the quantizer has to fill columns of padding: 65 of 68."""


def _once(operation: str) -> Loads:
    def loads(run: Request) -> Iterator[Load]:
        yield representative(operation, run)

    return loads


def _padded(operation: str) -> Loads:
    def loads(run: Request) -> Iterator[Load]:
        sizes = PADDED[operation] if run.scale == "full" else {}
        yield {**representative(operation, run), **sizes}

    return loads


def _with_tail(operation: str) -> Loads:
    def loads(run: Request) -> Iterator[Load]:
        yield representative(operation, run)
        if run.scale == "full" and operation in _TAIL:
            yield {**representative(operation, run), **_TAIL[operation]}

    return loads


def _on_a_gpu(operation: str) -> Loads:
    def loads(run: Request) -> Iterator[Load]:
        if run.device.startswith("cuda"):
            yield representative(operation, run)

    return loads


def _compiled(operation: str) -> Loads:
    def loads(run: Request) -> Iterator[Load]:
        if run.device.startswith("cuda") or operation in COMPILED_HERE:
            yield representative(operation, run)

    return loads


def _found(
    subject: Charged, case: Case, run: Request, variant: again.Variant, **other: int
) -> Finding:
    """Run a variant on a work and an `other` of the same case. The profiler sees one plain launch, and not what follows."""
    work = make(subject, case, run)
    first, kernels = watch.kernels(lambda: launch(subject, work), subject.device)
    outputs, fault, figures = variant(subject, work, make(subject, case, run, **other), first)
    return concluded(subject, case, work, outputs, kernels, fault, {**work.notes, **figures})


@each({operation: _once(operation) for operation in MAKERS})
def test_repeated(subject: Charged, case: Case, run: Request) -> Finding:
    """Run it twice, then with other inputs, then with the first ones."""
    return _found(subject, case, run, again.repeated, again=1)


@each({operation: _with_tail(operation) for operation in MAKERS})
def test_poisoned(subject: Charged, case: Case, run: Request) -> Finding:
    """Run it on memory that holds NaN wherever nothing was written."""
    return _found(subject, case, run, again.poisoned, again=1)


@each({operation: _padded(operation) for operation in PADDED})
def test_padding(subject: Charged, case: Case, run: Request) -> Finding:
    """Poison the padding of the scales: the output must not change by a bit. Experts of odd sizes may be refused in words."""
    try:
        return _found(subject, case, run, again.padding, fill=0x7F)
    except ChargedError as error:
        if PADDED[case.operation] and run.scale == "full" and error.reason == "failed":
            return refused("not_offered", f"experts of this size are refused: {error}")
        raise


@each({operation: _compiled(operation) for operation in MAKERS})
def test_compiled(subject: Charged, case: Case, run: Request) -> Finding:
    """Run it under torch.compile: as one graph where that is possible."""
    return _found(subject, case, run, again.compiled, again=1)


@each({operation: _on_a_gpu(operation) for operation in MAKERS})
def test_graph(subject: Charged, case: Case, run: Request) -> Finding:
    """Capture it in a CUDA graph, and replay that with other inputs."""
    return _found(subject, case, run, again.captured, again=1)
