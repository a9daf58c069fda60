"""What only shows when it is run again, and the suite's own functions on subjects that are wrong in one way each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.case import Case
from probes.correctness import again
from probes.correctness.making import MAKERS, make, representative
from probes.correctness.work import launch
from probes.request import Request
from probes.subject import Charged
from probes.subjects.reference import Reference
from probes.suite import test_availability as availability
from probes.suite import test_correctness_again as suite

pytestmark = pytest.mark.torch

RUN = Request(
    run="r", stack="s", target="t", machine="x86_64", subject="reference", device="cpu",
    results="", scale="small",
)  # fmt: skip


def case(operation: str) -> Case:
    return Case("x", operation, "plain", representative(operation, RUN))


def told(variant: again.Variant, subject: Reference, operation: str, **other: int) -> str:
    charged = Charged(subject)
    work = make(charged, case(operation), RUN)
    second = make(charged, case(operation), RUN, **(other or {"again": 1}))
    _, fault, _ = variant(charged, work, second, launch(charged, work))
    return fault.reason if fault else ""


class Stale(Reference):
    """Gives what it gave at first, from `row` on."""

    def __init__(self, row: int = 0) -> None:
        super().__init__(torch.device("cpu"))
        self.row, self.first = row, torch.empty(0)

    def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().gemm(*args, **kwargs)
        if not len(self.first):
            self.first = made.clone()
        made[self.row :] = self.first[self.row :]
        return made


class Shared(Reference):
    """Gives the same buffer every time."""

    held: torch.Tensor | None = None

    def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().gemm(*args, **kwargs)
        self.held = made if self.held is None else self.held
        self.held.copy_(made)
        return self.held


class Jittery(Reference):
    """Is off by one bit in every second run."""

    count = 0

    def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().gemm(*args, **kwargs)
        self.count += 1
        made.view(torch.int16)[0, 0] += self.count % 2
        return made

    def moe(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().moe(*args, **kwargs)
        self.count += 1
        return made * (1 + 0.018 * (self.count % 2))


class Drifting(Reference):
    """Gives every element some more noise in each run but the first."""

    count = 0

    def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().gemm(*args, **kwargs)
        self.count += 1
        noise = torch.linspace(-1, 1, made.numel()).reshape(made.shape)
        return made + ((self.count - 1) * noise).to(made.dtype)


class Unset(Reference):
    """Takes the global scale from what ran before."""

    count = 1

    def gemm(self, a: Any, b: Any, alpha: Any, **kwargs: Any) -> torch.Tensor:
        self.count += 1
        return super().gemm(a, b, alpha * self.count, **kwargs)

    def quantize(self, values: Any, multiplier: Any, **kwargs: Any) -> Any:
        self.count += 1
        return super().quantize(values, multiplier * self.count, **kwargs)


class Careless(Reference):
    """Leaves a row of the product, and the padding of the scales, as the memory was."""

    def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().gemm(*args, **kwargs)
        held = torch.empty_like(made)
        held[:-1] = made[:-1]
        if not bool(torch.isnan(held[-1]).any()):
            held[-1] = made[-1]
        return held

    def quantize(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        packed, scales = super().quantize(*args, **kwargs)
        held = torch.empty_like(scales)
        held[scales != 0] = scales[scales != 0]
        return packed, held


class Reader(Reference):
    """Adds up the padding of the scales, too."""

    def gemm(self, a: Any, b: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        made = super().gemm(a, b, *args, **kwargs)
        poison = bool(((a.scales & 0x7F) == 0x7F).any())
        return torch.where(torch.tensor(poison), torch.nan, made)


CLEAN = Reference(torch.device("cpu"))


@pytest.mark.parametrize("operation", MAKERS)
def test_the_reference_stays_right(operation: str) -> None:
    assert told(again.repeated, CLEAN, operation) == ""
    assert told(again.poisoned, CLEAN, operation) == ""


@pytest.mark.parametrize("row", [0, 30])
def test_the_output_of_the_call_before_is_stale_all_of_it_or_its_tail(row: int) -> None:
    assert told(again.repeated, Stale(row), "gemm") == "stale_output"


def test_a_result_that_changes_with_the_next_call_is_corrupt() -> None:
    assert told(again.repeated, Shared(torch.device("cpu")), "gemm") == "corruption"


def test_two_runs_that_differ_by_a_bit_are_nondeterministic() -> None:
    assert told(again.repeated, Jittery(torch.device("cpu")), "gemm") == "nondeterministic"


@pytest.mark.parametrize("operation", ["gemm", "quantize"])
def test_runs_that_differ_by_a_factor_have_a_scale_that_is_never_set(operation: str) -> None:
    assert told(again.repeated, Unset(torch.device("cpu")), operation) == "uninitialised_scale"


def test_experts_may_differ_by_their_order_of_sums_and_no_more() -> None:
    assert told(again.repeated, Jittery(torch.device("cpu")), "moe") == "nondeterministic"


def test_a_row_that_nobody_writes_shows_on_poisoned_memory() -> None:
    assert told(again.poisoned, Careless(torch.device("cpu")), "gemm") == "stale_output"


def test_padding_of_scales_that_nobody_writes_shows_on_poisoned_memory() -> None:
    assert told(again.poisoned, Careless(torch.device("cpu")), "quantize") == "uninitialised_scale"


def test_memory_is_poisoned_for_the_run_and_not_after_it() -> None:
    with again._poison():
        assert bool(torch.isnan(torch.empty(4)).all())
        assert torch.empty(4, dtype=torch.uint8).tolist() == [255] * 4
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("variant", [again.poisoned, again.padding])
def test_what_changes_by_itself_is_not_blamed_on_the_poison(variant: again.Variant) -> None:
    assert told(variant, Drifting(torch.device("cpu")), "gemm") == "nondeterministic"


def test_padding_that_is_read_shows_where_it_is_nan() -> None:
    assert told(again.padding, Reader(torch.device("cpu")), "gemm", fill=0x7F) == "padding_read"
    assert told(again.padding, CLEAN, "gemm", fill=0x7F) == ""


def test_compiled_as_one_graph_where_that_is_possible() -> None:
    charged = Charged(CLEAN)
    work, other = (make(charged, case("gemm"), RUN, again=each) for each in (0, 1))
    _, fault, figures = again.compiled(charged, work, other, ())
    assert fault is None
    assert figures["one_graph"][1] == "1"


class Named(Reference):
    """Names its kernels as told."""

    names: tuple[str, ...] = ()

    @contextlib.contextmanager
    def renamed(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for name in self.names:
                stack.enter_context(torch.profiler.record_function(name))
            yield

    def kernel(self, _: str) -> Any:  # type: ignore[override]
        return self.renamed()


@pytest.mark.parametrize(
    ("names", "status", "reason"),
    [
        (("reference_nvfp4_gemm",), "pass", ""),
        (("void marlin::Marlin<>",), "fallback", "weight_only_fallback"),
        (("dequant", "ampere_bf16_s16816gemm"), "fallback", "emulation_fallback"),
        (("bmm_E2m1_E2m1E2m1_Fp32",), "fail", "setting_ignored"),
        (("something_else",), "skip", "not_proven"),
        ((), "skip", "not_proven"),
    ],
)
def test_availability_says_what_ran(names: tuple[str, ...], status: str, reason: str) -> None:
    subject = Named(torch.device("cpu"))
    subject.names = names
    found = availability.test_launched(Charged(subject), case("gemm"), RUN)
    assert (found.status, found.reason, found.kernels) == (status, reason, names)
    assert found.advertised == "reference gemm"
    assert "selected: plain" in found.text


def test_right_numbers_by_unknown_kernels_are_marked() -> None:
    subject = Named(torch.device("cpu"))
    subject.names = ("something_else",)
    found = suite.test_repeated(Charged(subject), case("gemm"), RUN)
    assert (found.status, found.marks) == ("pass", ("kernels-unproven",))


class Guarded(Reference):
    def gemm(self, *_: Any, **__: Any) -> torch.Tensor:
        raise RuntimeError("only supports sm120")


def test_a_launch_that_is_refused_is_told_beside_what_was_advertised() -> None:
    found = availability.test_launched(Charged(Guarded(torch.device("cpu"))), case("gemm"), RUN)
    assert (found.status, found.reason) == ("fail", "arch_guard")
    assert found.advertised == "reference gemm"
