"""Every operation of an adapter, called once a backend and variant on small numbers, and held to the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import torch

from probes.correctness import inputs, judge
from probes.reason import of_exception, words
from probes.reference import mxfp4, nvfp4, product
from probes.reference.layout import Layout
from probes.reference.product import Experts
from probes.subject import NotOfferedError, Offers, Operand, Subject
from tests.kernelmodels import contract

LAYOUTS: Final = {"rows": None, "128x4": Layout.ROWS_128, "8x4": Layout.ROWS_8}
_NEEDS: Final = ("CUDA device", "cuDeviceGetCount")
"""In what a package raises once it asks for the device itself: a kernel is next."""

NEAR: Final = 0.08
_DTYPE: Final = torch.bfloat16


class ReachedError(Exception):
    """A package's Python took a call and came to a kernel that has no model: it cannot be told what that would give."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call: `kernels` that ran, in order, and the outcome.

    right, wrong; taken: no number to hold it to; reached: a kernel without a model; refused: the package says that it is
    not for this GPU; not_offered: not in this release; raised: anything else, which is a defect of the adapter or the package.
    """

    operation: str
    backend: str
    variant: str = ""
    outcome: str
    text: str = ""
    kernels: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


Check = Callable[[Subject, str], str]
"""Calls an operation with a backend and says what is wrong with what came back, "" for nothing."""


def survey(
    subject: Subject, offers: Offers, calls: list[str], unmodelled: frozenset[str]
) -> Iterator[Call]:
    """Yield a Call for each operation, backend and variant that an adapter offers.

    `calls`: where models write the kernels that ran. `unmodelled`: backends whose kernels answer without computing.
    """
    for operation, variants in CHECKS.items():
        for backend in offers.get(operation, ()):
            for variant, check in variants.items():
                calls.clear()
                outcome, text = _outcome(subject, backend, check, taken=backend in unmodelled)
                yield Call(
                    operation=operation,
                    backend=backend,
                    variant=variant,
                    outcome=outcome,
                    text=text,
                    kernels=list(dict.fromkeys(calls)),
                )


def _outcome(subject: Subject, backend: str, check: Check, *, taken: bool) -> tuple[str, str]:
    try:
        text = check(subject, backend)
    except NotOfferedError as error:
        return "not_offered", str(error)
    except Exception as error:  # noqa: BLE001 - whatever a package raises is told
        return _why(error), words(error)
    if taken:
        return "taken", text
    return ("wrong", text) if text else ("right", "")


def _why(error: Exception) -> str:
    """Say which end an exception is; a package may have wrapped ours."""
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, ReachedError) or any(each in str(link) for each in _NEEDS):
            return "reached"
        link = link.__cause__ or link.__context__
    return "refused" if of_exception(error) == "arch_guard" else "raised"


def _values(*shape: int, seed: int) -> torch.Tensor:
    return inputs.normal(*shape, seed=seed, dtype=_DTYPE)


def _same(
    got: tuple[torch.Tensor, torch.Tensor], packed: torch.Tensor, scales: torch.Tensor
) -> str:
    if not torch.equal(got[0].view(torch.uint8), packed):
        return "other codes"
    return "" if torch.equal(got[1].view(torch.uint8), scales.view(torch.uint8)) else "other scales"


def _quantize(layout: Layout | None) -> Check:
    def check(subject: Subject, backend: str) -> str:
        values = _values(33, 128, seed=1)
        want = nvfp4.quantize(values)
        multiplier = want.global_scale_multiplier
        got = subject.quantize(values, multiplier, layout=layout, backend=backend)
        return _same(got, want.packed, inputs.operand(want, layout, values.device).scales)

    return check


def _silu(layout: Layout | None) -> Check:
    def check(subject: Subject, backend: str) -> str:
        gate_up = _values(17, 256, seed=2)
        gate, up = gate_up.float().chunk(2, dim=-1)
        want = nvfp4.quantize((torch.nn.functional.silu(gate) * up).to(_DTYPE))
        multiplier = want.global_scale_multiplier
        got = subject.silu_quantize(gate_up, multiplier, layout=layout, backend=backend)
        return _same(got, want.packed, inputs.operand(want, layout, gate_up.device).scales)

    return check


def _mxfp4_quantize(layout: Layout | None) -> Check:
    def check(subject: Subject, backend: str) -> str:
        values = _values(33, 128, seed=3)
        made = mxfp4.quantize(values, rule=mxfp4.Rule.CEIL)
        want = contract.placed(made.exponents, layout)
        return _same(
            subject.mxfp4_quantize(values, layout=layout, backend=backend), made.packed, want
        )

    return check


def _product(got: torch.Tensor, want: torch.Tensor) -> str:
    fault, _ = judge.product(got, want)
    return "" if fault is None else f"{fault.reason}: {fault.text}"


def _near(got: torch.Tensor, want: torch.Tensor) -> str:
    """Hold experts to the reference: kernels round gate and up before SiLU, so that a code here and there is its neighbour."""
    error = float((got.float() - want).norm() / want.norm())
    return "" if error < NEAR else f"relative L2 {error:.3g}"


def _gemm(subject: Subject, backend: str) -> str:
    a, b = (nvfp4.quantize(_values(rows, 256, seed=rows)) for rows in (7, 128))
    alpha = product.alpha(a, b)
    layout = subject.scale_layout("gemm", backend, 7)
    prepared = subject.prepare("gemm", inputs.operand(b, None, subject.device), backend=backend)
    left = inputs.operand(a, layout, subject.device)
    got = subject.gemm(left, prepared, alpha, dtype=_DTYPE, backend=backend)
    return _product(got, product.gemm(a, b, alpha=alpha))


def _weight_only(subject: Subject, backend: str) -> str:
    values, b = _values(7, 256, seed=4), nvfp4.quantize(_values(128, 256, seed=5))
    prepared = subject.prepare(
        "w4a16_gemm", inputs.operand(b, None, subject.device), backend=backend
    )
    got = subject.w4a16_gemm(values, prepared, dtype=_DTYPE, backend=backend)
    return _product(got, product.linear(values.float(), nvfp4.dequantize(b)))


def _mxfp4_gemm(subject: Subject, backend: str) -> str:
    sides = [
        mxfp4.quantize(_values(rows, 256, seed=rows), rule=mxfp4.Rule.CEIL) for rows in (7, 128)
    ]
    layout = subject.scale_layout("mxfp4_gemm", backend, 7)
    a, b = (
        Operand(
            packed=each.packed,
            scales=contract.placed(each.exponents, kind),
            multiplier=torch.ones(()),
            layout=kind,
        )
        for each, kind in zip(sides, (layout, None), strict=True)
    )
    prepared = subject.prepare("mxfp4_gemm", b, backend=backend)
    got = subject.mxfp4_gemm(a, prepared, dtype=_DTYPE, backend=backend)
    return _product(got, product.linear(*(mxfp4.dequantize(each) for each in sides)))


def _grouped_gemm(subject: Subject, backend: str) -> str:
    counts = [5, 0, 130, 16]
    left = [nvfp4.quantize(_values(max(rows, 1), 256, seed=rows)) for rows in counts]
    right = [nvfp4.quantize(_values(128, 256, seed=90 + each)) for each in range(len(counts))]
    a = Operand(
        packed=torch.cat([each.packed[:rows] for each, rows in zip(left, counts, strict=True)]),
        scales=torch.cat(
            [each.scales.view(torch.uint8)[:rows] for each, rows in zip(left, counts, strict=True)]
        ),
        multiplier=torch.stack([each.global_scale_multiplier for each in left]),
        layout=None,
    )
    b = Operand(
        packed=torch.stack([each.packed for each in right]),
        scales=torch.stack([each.scales.view(torch.uint8) for each in right]),
        multiplier=torch.stack([each.global_scale_multiplier for each in right]),
        layout=None,
    )
    rows = torch.tensor(counts, dtype=torch.int32)
    prepared = subject.prepare("grouped_gemm", b, backend=backend)
    got = subject.grouped_gemm(a, prepared, rows, dtype=_DTYPE, backend=backend)
    want = torch.cat(
        [
            product.linear(nvfp4.dequantize(one)[:count], nvfp4.dequantize(two))
            for one, two, count in zip(left, right, counts, strict=True)
        ]
    )
    return _product(got, want)


def _moe(operation: str, *, gate_first: bool) -> Check:
    def check(subject: Subject, backend: str) -> str:
        count, hidden_size, inner, tokens = 4, 256, 128, 5
        hidden = _values(tokens, hidden_size, seed=6)
        gate_up, down = (
            _experts_weights(count, *shape, seed=seed)
            for shape, seed in (((2 * inner, hidden_size), 7), ((hidden_size, inner), 8))
        )
        experts = Experts(
            gate_up=gate_up,
            down=down,
            gate_up_activation_multiplier=nvfp4.multiplier_of(hidden),
            down_activation_multiplier=torch.tensor(300.0),
            gate_first=gate_first,
        )
        chosen = torch.rand(tokens, count, generator=inputs.generator(9)).topk(2, dim=-1)
        routed: dict[str, Any] = {
            "expert_ids": chosen.indices.to(torch.int32),
            "expert_weights": chosen.values.softmax(dim=-1),
        }
        prepared = subject.prepare(operation, experts, backend=backend)
        run = subject.moe if operation == "moe" else subject.w4a16_moe
        got = run(hidden.clone(), prepared, **routed, backend=backend)
        return _near(got, product.moe(hidden, experts, **routed))

    return check


def _experts_weights(count: int, rows: int, columns: int, *, seed: int) -> nvfp4.Nvfp4:
    values = _values(count, rows, columns, seed=seed) / columns**0.5
    each = torch.stack([nvfp4.multiplier_of(one) for one in values]).reshape(-1, 1, 1)
    return nvfp4.quantize(values, global_scale_multiplier=each)


def _cache(subject: Subject, backend: str) -> tuple[Any, torch.Tensor, list[torch.Tensor]]:
    keys, values = (_values(20, 2, 64, seed=seed) for seed in (10, 11))
    both = (nvfp4.multiplier_of(keys), nvfp4.multiplier_of(values))
    cache = subject.kv_cache(
        pages=3,
        page_size=16,
        heads=2,
        head_size=64,
        dtype=_DTYPE,
        multipliers=both,
        backend=backend,
    )
    slots = torch.randperm(48, generator=inputs.generator(12))[:20]
    subject.kv_write(cache, keys, values, slots, backend=backend)
    want = [
        nvfp4.dequantize(nvfp4.quantize(each, global_scale_multiplier=one))
        for each, one in zip((keys, values), both, strict=True)
    ]
    return cache, slots, want


def _kv_cache(subject: Subject, backend: str) -> str:
    cache, slots, want = _cache(subject, backend)
    got = subject.kv_read(cache, slots, backend=backend)
    return "; ".join(filter(None, map(_product, got, want)))


def _kv_attend(subject: Subject, backend: str) -> str:
    cache, _, _ = _cache(subject, backend)
    queries = _values(1, 4, 64, seed=13)
    tables = torch.tensor([[2, 0]], dtype=torch.int32)
    lengths = torch.tensor([19], dtype=torch.int32)
    got = subject.kv_attend(cache, queries, tables, lengths, backend=backend)
    return "" if got.shape == queries.shape else f"shape {tuple(got.shape)}"


def _each_layout(made: Callable[[Layout | None], Check]) -> dict[str, Check]:
    return {name: made(layout) for name, layout in LAYOUTS.items()}


CHECKS: Final[dict[str, dict[str, Check]]] = {
    "quantize": _each_layout(_quantize),
    "silu_quantize": _each_layout(_silu),
    "mxfp4_quantize": _each_layout(_mxfp4_quantize),
    "gemm": {"": _gemm},
    "w4a16_gemm": {"": _weight_only},
    "mxfp4_gemm": {"": _mxfp4_gemm},
    "grouped_gemm": {"": _grouped_gemm},
    "moe": {
        "gate-first": _moe("moe", gate_first=True),
        "up-first": _moe("moe", gate_first=False),
    },
    "w4a16_moe": {"": _moe("w4a16_moe", gate_first=True)},
    "kv_cache": {"": _kv_cache},
    "kv_attend": {"": _kv_attend},
}
