"""Quantization made ready: of values, of silu(gate) * up, to MXFP4."""

from __future__ import annotations

from typing import Final

import torch

from probes.case import Case
from probes.correctness import bounds, inputs, judge, quantized
from probes.correctness.fault import Fault
from probes.correctness.work import Outputs, Work
from probes.finding import Metrics
from probes.reference import mxfp4, nvfp4
from probes.reference.layout import Layout, unswizzle
from probes.subject import Charged

_AGAIN: Final = 7919
"""Added to a seed for other inputs of the same case."""


def layout_of(subject: Charged, case: Case, rows: int) -> Layout | None:
    """Return the layout that a case asks for, else the one that the backend prefers."""
    if "layout" in case.load:
        return inputs.LAYOUTS[case.word("layout")]
    made: Layout | None = subject.scale_layout(case.operation, case.backend, rows)
    return made


def quantize(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make `quantize` ready; loads: m, k, dtype, perhaps layout and values (`inputs.KINDS`)."""
    del fill  # it takes no scales
    rows, dtype = case["m"], inputs.DTYPES[case.word("dtype")]
    values, multiplier = inputs.values(
        str(case.load.get("values", "normal")),
        rows,
        case["k"],
        seed=seed + again * _AGAIN,
        dtype=dtype,
    )
    layout = layout_of(subject, case, rows)

    def call(ops: Charged, given: torch.Tensor, factor: torch.Tensor) -> Outputs:
        packed, scales = ops.quantize(given, factor, layout=layout, backend=case.backend)
        return packed, scales

    def held(made: Outputs, *, poisoned: bool = False) -> tuple[Fault | None, Metrics]:
        packed, scales = made
        return quantized.judge(values, multiplier, packed, scales, layout=layout, poisoned=poisoned)

    return Work(
        operation="quantize",
        inputs=(values.to(subject.device), multiplier.to(subject.device)),
        call=call,
        judge=held,
        poisoned=lambda made: held(made, poisoned=True),
        names=("codes", "scales"),
        seed=seed,
    )


def silu_quantize(
    subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0
) -> Work:
    """Make `silu_quantize` ready; loads: m, k (of the output), dtype, perhaps layout."""
    del fill
    rows, dtype = case["m"], inputs.DTYPES[case.word("dtype")]
    both = inputs.normal(rows, 2 * case["k"], seed=seed + again * _AGAIN, dtype=dtype)
    middles = _middles(both)
    multiplier = nvfp4.multiplier_of(middles["rounded once"])
    layout = layout_of(subject, case, rows)

    def call(ops: Charged, given: torch.Tensor, factor: torch.Tensor) -> Outputs:
        packed, scales = ops.silu_quantize(given, factor, layout=layout, backend=case.backend)
        return packed, scales

    def held(made: Outputs) -> tuple[Fault | None, Metrics]:
        found = [_activated(each, multiplier, made, layout, dtype) for each in middles.values()]
        right = next((each for each in found if each[0] is None), None)
        if right is not None:
            return right
        # Named by its bytes, which say more than the figures of a product.
        named, _ = quantized.judge(middles["rounded once"], multiplier, *made, layout=layout)
        fault, figures = found[0]
        generic = named is None or named.reason == "wrong_numbers"
        return _misread(both, multiplier, made, layout) or (fault if generic else named), figures

    return Work(
        operation="silu_quantize",
        inputs=(both.to(subject.device), multiplier.to(subject.device)),
        call=call,
        judge=held,
        names=("codes", "scales"),
        seed=seed,
    )


def _middles(both: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return silu(gate) * up as right kernels have it: rounded once to the input's type, not at all, or after each step."""
    gate, up = both.float().chunk(2, dim=-1)
    silu = torch.nn.functional.silu(gate)
    return {
        "rounded once": (silu * up).to(both.dtype),
        "not rounded": silu * up,
        "rounded twice": (silu.to(both.dtype).float() * up).to(both.dtype),
    }


def _activated(
    middle: torch.Tensor,
    multiplier: torch.Tensor,
    made: Outputs,
    layout: Layout | None,
    dtype: torch.dtype,
) -> tuple[Fault | None, Metrics]:
    shape = _shape_fault(made, middle, layout)
    if shape is not None:
        return shape, {}
    want = nvfp4.dequantize(nvfp4.quantize(middle, global_scale_multiplier=multiplier))
    got = quantized.dequantized(made[0], made[1], multiplier, layout)
    # 8-bit functions of the hardware are off by 2^-21: a tenth of what another rounding of the middle makes.
    row = bounds.requantized_row(dtype, want.shape[-1])
    return judge.product(got, want, bound=bounds.requantized(dtype) / 2, row_bound=row)


def _shape_fault(made: Outputs, middle: torch.Tensor, layout: Layout | None) -> Fault | None:
    if tuple(made[0].shape) == (middle.shape[0], middle.shape[1] // 2):
        size = quantized.padded_size(len(middle), middle.shape[1] // nvfp4.BLOCK, layout)
        if made[1].numel() * made[1].element_size() == size:
            return None
        return Fault("wrong_scale_layout", f"scales take {made[1].numel()} bytes, not {size}")
    return Fault("wrong_packing", f"codes have shape {tuple(made[0].shape)}")


def _misread(
    both: torch.Tensor, multiplier: torch.Tensor, made: Outputs, layout: Layout | None
) -> Fault | None:
    """Return the fault of an activation that is another one."""
    first, second = both.float().chunk(2, dim=-1)
    others = {
        "gate and up are swapped": torch.nn.functional.silu(second) * first,
        "the activation is left out": first * second,
        "up is left out": torch.nn.functional.silu(first),
        "gate and up lie in turns": torch.nn.functional.silu(both.float()[:, 0::2])
        * both.float()[:, 1::2],
        "the activation is gelu": torch.nn.functional.gelu(first) * second,
        "the activation is relu": torch.relu(first) * second,
        "the activation is a sigmoid": torch.sigmoid(first) * second,
    }
    if _shape_fault(made, first, layout) is not None:
        return None
    for told, middle in others.items():
        fault, _ = _activated(middle.to(both.dtype), multiplier, made, layout, both.dtype)
        if fault is None:
            return Fault("wrong_numbers", told)
    return None


def mxfp4_quantize(
    subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0
) -> Work:
    """Make `mxfp4_quantize` ready; loads: m, k, dtype. Any of the three rules for exponents is right."""
    del fill
    rows, dtype = case["m"], inputs.DTYPES[case.word("dtype")]
    values = inputs.normal(rows, case["k"], seed=seed + again * _AGAIN, dtype=dtype)
    layout = layout_of(subject, case, rows)

    def call(ops: Charged, given: torch.Tensor) -> Outputs:
        packed, scales = ops.mxfp4_quantize(given, layout=layout, backend=case.backend)
        return packed, scales

    return Work(
        operation="mxfp4_quantize",
        inputs=(values.to(subject.device),),
        call=call,
        judge=lambda made: _mxfp4(values, made, layout),
        names=("codes", "exponents"),
        seed=seed,
    )


def _mxfp4(
    values: torch.Tensor, made: Outputs, layout: Layout | None
) -> tuple[Fault | None, Metrics]:
    """Hold bytes against each rule: powers of two leave nothing to approximate, so that both are exact."""
    rows, columns = values.shape[0], values.shape[1] // mxfp4.BLOCK
    packed, raw = (each.detach().contiguous().view(torch.uint8).cpu() for each in made)
    scales = raw.reshape(rows, columns) if layout is None else unswizzle(
        raw.flatten(), rows=rows, columns=columns, layout=layout
    )  # fmt: skip
    for rule in mxfp4.Rule:
        want = mxfp4.quantize(values, rule=rule)
        if torch.equal(want.exponents, scales):
            wrong = packed != want.packed
            figures = {
                "codes": (float(values.numel()), "1"),
                "bytes_wrong": (float(wrong.sum()), "1"),
            }
            if not bool(wrong.any()):
                return None, figures
            swapped = torch.equal((packed >> 4) | (packed << 4), want.packed)
            if swapped:
                return Fault("wrong_packing", "the two codes of a byte are swapped"), figures
            return Fault("wrong_numbers", f"codes differ, under the rule {rule.value}"), figures
    return Fault("wrong_scale", "exponents follow none of the rules floor, ceil and even"), {}
