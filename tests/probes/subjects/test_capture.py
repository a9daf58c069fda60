"""What may be captured in a CUDA graph: nothing that waits for the device, and no copy from the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from probes.case import Case, Value
from probes.correctness.making import make
from probes.reference.layout import Layout
from probes.request import Request
from probes.subject import Charged, Subject
from probes.subjects import (
    flashinfer_cache,
    flashinfer_products,
    package,
    scales,
    vllm_experts,
    vllm_mxfp4,
)
from probes.subjects.reference import make as reference

pytestmark = pytest.mark.torch

GROUPED: dict[str, Value] = {
    "experts": 4,
    "m": 21,
    "n": 32,
    "k": 64,
    "dtype": "bfloat16",
    "rows": "half",
}
DEVICE = torch.device("cpu")


class Adapter:
    """An adapter's grouped product, beside all else of the reference."""

    def __init__(self, multiply: Callable[..., Any]) -> None:
        self.held: Subject = reference(DEVICE)
        self.grouped_gemm = multiply

    def __getattr__(self, name: str) -> Any:
        return getattr(self.held, name)

    def prepare(self, _operation: str, weights: Any, *, backend: str, fill: int = 0) -> Any:
        del backend
        return scales.swizzled(weights, Layout.ROWS_128, fill=fill)


def by_vllm(a: Any, b: Any, rows: Any, *, dtype: Any, backend: str) -> Any:
    del backend
    return vllm_experts.multiply(a, b, rows, dtype)


def by_flashinfer(a: Any, b: Any, rows: Any, *, dtype: Any, backend: str) -> Any:
    return flashinfer_products.grouped(a, b, rows, dtype, backend)


def kernel(*given: Any, **more: Any) -> Any:
    """Stand for any of the grouped kernels: (M, N) of whatever type."""
    del more
    return torch.zeros(given[0].shape[0], given[1].shape[-2])


def forbidden(*_args: object, **_kwargs: object) -> Any:
    raise AssertionError("a copy from the host, or a wait for the device")


def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid what no capture allows."""
    monkeypatch.setattr(torch, "tensor", forbidden)
    for name in ("__float__", "__int__", "item"):
        monkeypatch.setattr(torch.Tensor, name, forbidden)


@pytest.mark.parametrize(
    ("multiply", "backend"),
    [(by_vllm, "cutlass"), (by_flashinfer, "groupwise"), (by_flashinfer, "cudnn")],
)
def test_a_grouped_product_can_be_captured_once_it_has_run(
    monkeypatch: pytest.MonkeyPatch, multiply: Callable[..., Any], backend: str
) -> None:
    monkeypatch.setattr(package, "function", lambda *_: kernel)
    asked = Request(
        run="r", stack="s", target="t", machine="m", subject="reference", results="", scale="small"
    )
    subject = Charged(Adapter(multiply))
    work = make(subject, Case("correctness.grouped_gemm", "grouped_gemm", backend, GROUPED), asked)
    work.call(subject.subject, *work.inputs)
    closed(monkeypatch)
    work.call(subject.subject, *work.inputs)


def test_how_rows_are_shared_is_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Request(
        run="r", stack="s", target="t", machine="m", subject="reference", results="", scale="small"
    )
    subject = Charged(reference(DEVICE))
    moved: list[Any] = []
    plain = torch.Tensor.to

    def to(self: Any, *args: Any, **kwargs: Any) -> Any:
        moved.append(self)
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", to)
    work = make(subject, Case("correctness.grouped_gemm", "grouped_gemm", "plain", GROUPED), asked)
    assert not any(each is work.inputs[-1] for each in moved)


def test_mxfp4_can_be_captured_once_it_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    made = (torch.zeros(33, 64, dtype=torch.uint8), torch.zeros(128, 4, dtype=torch.uint8))
    monkeypatch.setattr(package, "function", lambda *_: lambda *_args, **_kwargs: made)
    values = torch.zeros(33, 128, dtype=torch.bfloat16)
    vllm_mxfp4.quantize(values, Layout.ROWS_128)
    closed(monkeypatch)
    vllm_mxfp4.quantize(values, Layout.ROWS_128)


def test_attention_by_xqa_can_be_captured_once_it_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[dict[str, Any]] = []

    def run(**more: Any) -> Any:
        given.append(more)
        return more["query"]

    monkeypatch.setattr(package, "function", lambda *_: run)
    monkeypatch.setattr(flashinfer_cache, "_room", lambda _: None)
    cache = flashinfer_cache.empty(
        (5, 16, 2, 64), torch.bfloat16, (torch.tensor(2.0), torch.tensor(4.0)), DEVICE
    )
    tables, lengths = torch.zeros(2, 2, dtype=torch.int32), torch.tensor([19, 18])
    asked = (cache, torch.zeros(2, 4, 64), tables, lengths, "xqa")
    monkeypatch.setattr(package, "parameters", lambda _: {"kv_cache_sf", "backend"})
    flashinfer_cache.attend(*asked)
    closed(monkeypatch)
    flashinfer_cache.attend(*asked)
    assert given[1]["bmm2_scale"] == 0.25
    assert given[1]["max_seq_len"] == 32
