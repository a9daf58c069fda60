"""A global scale that is none has to be refused, be right, or be plain to see."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.case import Case
from probes.correctness.making import representative
from probes.request import Request
from probes.subject import Charged
from probes.subjects.reference import Reference
from probes.suite import test_correctness_scale as suite

pytestmark = pytest.mark.torch

RUN = Request(
    run="r", stack="s", target="t", machine="x86_64", subject="reference", device="cpu",
    results="", scale="small",
)  # fmt: skip
ALL = (*suite.TYPES, *suite.NUMBERS)


class Reads(Reference):
    """Takes what it is given for a number of another type or for 1, by `how`."""

    how = "value"

    def quantize(self, values: Any, multiplier: Any, **kwargs: Any) -> Any:
        return super().quantize(values, self.read(multiplier), **kwargs)

    def gemm(self, a: Any, b: Any, alpha: Any, **kwargs: Any) -> torch.Tensor:
        return super().gemm(a, b, self.read(alpha), **kwargs)

    def read(self, given: torch.Tensor) -> torch.Tensor:
        if self.how == "bits" and given.dtype != torch.float32:
            return (given.reshape(1).view(torch.uint8)[:2].float().sum() + 1.0).to(torch.float32)
        read = given.to(torch.float32)
        fit = bool(torch.isfinite(read)) and float(read) > 0
        return read if fit else torch.ones(())


def found(subject: Reference, operation: str, word: str) -> Any:
    name = {"quantize": "multiplier", "gemm": "alpha"}[operation]
    case = Case("x", operation, "plain", {**representative(operation, RUN), name: word})
    return getattr(suite, f"test_{name}")(Charged(subject), case, RUN)


@pytest.mark.parametrize("word", ALL)
def test_the_reference_refuses_a_multiplier_that_is_none(word: str) -> None:
    made = found(Reference(torch.device("cpu")), "quantize", word)
    assert (made.status, made.metrics["refused"]) == ("pass", (1.0, "1"))


@pytest.mark.parametrize("word", ALL)
def test_the_reference_lets_an_alpha_that_is_none_be_seen(word: str) -> None:
    assert found(Reference(torch.device("cpu")), "gemm", word).status == "pass"


@pytest.mark.parametrize("operation", ["quantize", "gemm"])
@pytest.mark.parametrize("word", suite.TYPES)
def test_another_type_may_be_read_as_its_number_but_not_as_its_bits(
    operation: str, word: str
) -> None:
    subject = Reads(torch.device("cpu"))
    assert found(subject, operation, word).status == "pass"
    subject.how = "bits"
    made = found(subject, operation, word)
    assert (made.status, made.reason) == ("fail", "wrong_scale")


@pytest.mark.parametrize("operation", ["quantize", "gemm"])
@pytest.mark.parametrize("word", suite.NUMBERS)
def test_taking_what_is_no_number_for_one_is_silently_wrong(operation: str, word: str) -> None:
    made = found(Reads(torch.device("cpu")), operation, word)
    assert (made.status, made.reason) == ("fail", "wrong_scale")


class Dies(Reference):
    def quantize(self, values: Any, multiplier: Any, **kwargs: Any) -> Any:
        if multiplier.dtype != torch.float32:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        return super().quantize(values, multiplier, **kwargs)


def test_a_death_is_no_refusal() -> None:
    with pytest.raises(Exception, match="illegal memory access"):
        found(Dies(torch.device("cpu")), "quantize", "float16")
