"""The same work once more: repeated, on poisoned memory, compiled, in a CUDA graph. Each gives outputs, a fault and figures."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import torch

from probes.correctness import bounds, judge
from probes.correctness.fault import Fault, where
from probes.correctness.work import Outputs, Work, launch, recorded
from probes.finding import Metrics
from probes.reference import e4m3
from probes.subject import Charged

_MOST: Final = 0.6
"""The share of elements that have to have changed by one factor."""

Told = tuple[Outputs, Fault | None, Metrics]
Variant = Callable[[Charged, Work, Work, Outputs], Told]
"""Takes a work, another one of the same case, and what a first launch of the work gave."""


def repeated(subject: Charged, work: Work, other: Work, first: Outputs) -> Told:
    """Run `work` a second time, `other` once and `work` again; every result has to be that of its own inputs.

    Where `work.exact`, the runs have to agree bit by bit; else, where kernels may add in any order, by the bound of a product.
    """
    kept = _copies(first)
    second = _copies(launch(subject, work))
    fault, figures = work.judge(kept)
    figures = {**figures, "bits_differ": (float(_differ(kept, second)), "1")}
    # What changes by itself is said before what is wrong: right numbers are then luck, and wrong ones no rule.
    if fault := _unlike(work, kept, second) or fault:
        return kept, fault, figures
    third = _copies(launch(subject, other))
    wrong, _ = other.judge(third)
    if wrong:
        stale = _stale(kept, third, wrong)
        changing = None if stale is not wrong else _by_itself(subject, work, kept)
        return third, changing or stale, figures
    if _differ(first, kept):
        return kept, Fault("corruption", "a result changed when the next call ran"), figures
    fourth = _copies(launch(subject, work))
    fault = _unlike(work, kept, fourth)
    return fourth, _stale(third, fourth, fault) if fault else None, figures


def poisoned(subject: Charged, work: Work, other: Work, first: Outputs) -> Told:
    """Run on memory that is full of NaN: what was never written, or read before it was, shows."""
    del other
    plain = _copies(first)
    fault, figures = work.judge(plain)
    if fault:
        return plain, fault, figures
    with _poison():
        made = _copies(launch(subject, work))
    fault, figures = (work.poisoned or work.judge)(made)
    if fault and fault.reason != "uninitialised_scale":
        told = f"what the memory held before shows in the output: {fault.text}"
        # Where no poison shows, a plain run tells whether it was that; memory that held poison may still, in a plain run, too.
        changing = None if _shows(plain, made) else _by_itself(subject, work, plain)
        fault = changing or Fault("stale_output", told)
    return made, fault, figures


def padding(subject: Charged, work: Work, full_of_nan: Work, first: Outputs) -> Told:
    """Run with the padding of the scales full of zeros, then of NaN: nothing may change."""
    plain = _copies(first)
    fault, figures = work.judge(plain)
    if fault:
        return plain, fault, figures
    made = _copies(launch(subject, full_of_nan))
    differ = _differ(plain, made)
    figures = {**figures, "bits_differ": (float(differ), "1")}
    if (work.exact and differ) or work.judge(made)[0]:
        wrong = torch.stack([(one != two) for one, two in zip(plain, made, strict=True)])
        told = f"padding of the scales changes the output: {where(wrong)}"
        changing = None if _shows(plain, made) else _by_itself(subject, work, plain)
        fault = changing or Fault("padding_read", told)
    return made, fault, figures


def _shows(plain: Outputs, made: Outputs) -> bool:
    """Say whether poison itself is in what was made: NaN, or bytes of 0xFF or 0x7F, wherever it differs."""
    for one, two in zip(plain, made, strict=True):
        if one.shape != two.shape:
            return False
        changed = two[one != two]
        seen = changed.isnan() if two.is_floating_point() else (changed & e4m3.NAN) == e4m3.NAN
        if len(changed) and bool(seen.all()):
            return True
    return False


def _by_itself(subject: Charged, work: Work, plain: Outputs) -> Fault | None:
    """Return the fault of a work whose plain run, too, is another one now: then it was not the poison."""
    return _unlike(work, plain, _copies(launch(subject, work)))


def compiled(subject: Charged, work: Work, other: Work, first: Outputs) -> Told:
    """Run compiled, as one graph if possible; what the graph gives has to be right for other inputs, too."""
    del first
    import torch._dynamo as dynamo  # noqa: PLC0415 - half a second, for this one probe

    backend = "inductor" if subject.device.type == "cuda" else "eager"

    def run(*given: torch.Tensor) -> Outputs:
        return work.call(subject.subject, *given)

    def traced() -> tuple[Outputs, Callable[..., Outputs], bool]:
        whole = torch.compile(run, fullgraph=True, backend=backend)
        try:
            return whole(*work.inputs), whole, True
        except Exception:  # noqa: BLE001 - of many types; one that is the package's own comes again
            dynamo.reset()
            parts = torch.compile(run, backend=backend)
            return parts(*work.inputs), parts, False

    made, graph, whole = subject.charge(work.operation, traced)
    kept = _copies(made)
    fault, figures = work.judge(kept)
    figures = {**figures, "one_graph": (float(whole), "1")}
    if fault:
        return kept, fault, figures
    second = _copies(subject.charge(work.operation, lambda: graph(*other.inputs)))
    wrong, _ = other.judge(second)
    return kept, _stale(kept, second, wrong) if wrong else None, figures


def captured(subject: Charged, work: Work, other: Work, first: Outputs) -> Told:
    """Capture in a CUDA graph and replay: first with the same inputs, then with others in their place."""
    given = _copies(work.inputs)

    def replay() -> None:
        graph.replay()

    eager = _copies(first)
    graph, made = subject.charge(work.operation, lambda: recorded(subject, work, given))
    subject.charge(work.operation, replay)
    again = _copies(made)
    fault, figures = work.judge(again)
    if fault := fault or _unlike(work, eager, again):
        return again, fault, figures
    for held, new in zip(given, other.inputs, strict=True):
        held.copy_(new)
    subject.charge(work.operation, replay)
    second = _copies(made)
    wrong, _ = other.judge(second)
    return again, _stale(again, second, wrong) if wrong else None, figures


def _copies(tensors: Outputs) -> Outputs:
    return tuple(each.detach().clone() for each in tensors)


def _differ(one: Outputs, two: Outputs) -> int:
    """Count the bytes in which outputs differ; NaN equals NaN of the same bits."""
    total = 0
    for left, right in zip(one, two, strict=True):
        if left.shape != right.shape:
            return int(max(left.numel(), right.numel()))
        total += int((_bytes(left) != _bytes(right)).sum())
    return total


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(torch.uint8)


def _unlike(work: Work, one: Outputs, two: Outputs) -> Fault | None:
    """Return the fault of two runs on the same inputs that do not agree."""
    count = _differ(one, two)
    if not count:
        return None
    if factor := _scaled(one, two):
        told = f"two runs differ by a factor of about {factor:.3g}, as of a scale that is never set"
        return Fault("uninitialised_scale", told)
    if work.exact:
        of = sum(_bytes(each).numel() for each in one)
        return Fault("nondeterministic", f"two runs differ in {count} of {of} bytes")
    for left, right in zip(one, two, strict=True):
        # Each of the sum's terms may be rounded on its own where atomics add them up.
        fault, _ = judge.product(right, left, bound=2 * bounds.product(left.dtype))
        if fault:
            told = f"two runs differ by more than their order of sums: {fault.text}"
            return Fault("nondeterministic", told)
    return None


def _scaled(one: Outputs, two: Outputs) -> float:
    """Return the factor between two runs of which one is the other many times over, 0 where there is none.

    Of bytes, the last output is block scales: most of those are so (others saturate).
    """
    if one[-1].dtype == torch.uint8 or one[-1].element_size() == 1:
        left, right = (e4m3.decode(each[-1].contiguous().view(torch.uint8)) for each in (one, two))
    else:
        left, right = one[-1].double(), two[-1].double()
    known = torch.isfinite(left) & torch.isfinite(right) & (left != 0) & (right != 0)
    ratios = (right[known] / left[known]).double()
    if not len(ratios):
        return 0.0
    factor = float(ratios.median())
    # A scale of E4M3 rounds a factor by up to 1/16, twice.
    alike = float(((ratios / factor - 1).abs() < 1 / 8).double().mean())
    return factor if abs(factor - 1) > 1 / 8 and alike > _MOST else 0.0


def _stale(before: Outputs, made: Outputs, wrong: Fault) -> Fault:
    """Return the fault of a wrong result, which is stale where it is that of the call before, in whole rows at least."""
    for old, new in zip(before, made, strict=True):
        if old.shape != new.shape or not new.numel():
            continue
        rows = (old == new).reshape(-1, old.shape[-1]).all(-1)
        if bool(rows.all()) and not bool((new == 0).all()):
            return Fault("stale_output", "the output is that of the call before")
        told = [
            i
            for i in rows.nonzero().flatten().tolist()
            if bool((new.reshape(-1, new.shape[-1])[i] != 0).any())
        ]
        if told:
            return Fault(
                "stale_output",
                f"{len(told)} rows are those of the call before, the first is {told[0]}",
            )
    return wrong


@contextlib.contextmanager
def _poison() -> Iterator[None]:
    """Let torch fill what it allocates: NaN in floating point, the greatest number in whole ones (0xFF, and 0x7F on top).

    Both bytes are NaN as E4M3. torch does so under deterministic algorithms (torch.utils.deterministic), for packages' own
    allocations, too.
    """
    before = torch.are_deterministic_algorithms_enabled()
    switch: Any = torch.utils.deterministic
    filled = switch.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    switch.fill_uninitialized_memory = True
    try:
        yield
    finally:
        switch.fill_uninitialized_memory = filled
        torch.use_deterministic_algorithms(before)
