from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from probes.case import Case, Value
from probes.correctness.making import representative
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged
from probes.subjects.reference import Reference
from probes.suite.test_correctness_weight import test_weight_only as probe

pytestmark = pytest.mark.torch

RUN = Request(
    run="r", stack="s", target="cpu", machine="m", subject="reference", device="cpu", results="",
    scale="small",
)  # fmt: skip


class Off(Reference):
    """Its weight-only products are off by a factor."""

    def w4a16_gemm(self, *given: Any, **more: Any) -> Any:
        return super().w4a16_gemm(*given, **more) * 1.05

    def w4a16_moe(self, *given: Any, **more: Any) -> Any:
        return super().w4a16_moe(*given, **more) * 1.05


class Emulated(Reference):
    """What runs is named as an emulation."""

    @staticmethod
    def kernel(name: str) -> Any:
        return torch.profiler.record_function(name.replace("reference_w4a16", "emulated"))


def found(kind: type[Reference], operation: str) -> Finding:
    load: dict[str, Value] = representative(operation.removeprefix("w4a16_"), RUN)
    case = Case(f"correctness_weight.weight_only.{operation}", operation, "plain", load)
    return probe(Charged(kind(torch.device("cpu"))), case, RUN)


@pytest.mark.parametrize("operation", ["w4a16_gemm", "w4a16_moe"])
@pytest.mark.parametrize(
    ("kind", "status", "reason"),
    [(Reference, "pass", ""), (Off, "fail", "wrong_scale"), (Emulated, "fallback", "emulation_fallback")],
)  # fmt: skip
def test_a_weight_only_product_is_judged(
    kind: type[Reference], operation: str, status: str, reason: str
) -> None:
    told = found(kind, operation)
    assert (told.status, told.reason) == (status, reason)
    assert told.metrics["relative_l2"]
