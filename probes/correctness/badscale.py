"""Work with a global scale that is none: of another type, zero, infinite, NaN. What may come of it without a word.

A type other than float32 has to be read as the number that it is. With a number that is none, what the definition gives is
plain to see downstream: scales of 0 (zero), of 448 or NaN (infinity), or NaN (NaN), products of 0 or not finite. A result that looks
like numbers is silently wrong, and `wrong_scale`.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from probes.case import Case
from probes.correctness import inputs, quantized
from probes.correctness.fault import Fault, where
from probes.correctness.quantizing import layout_of
from probes.correctness.work import Outputs, Work
from probes.finding import Metrics
from probes.reference import e4m3, nvfp4
from probes.subject import Charged


def quantize(
    subject: Charged, case: Case, seed: int, dtype: torch.dtype, number: float | None
) -> Work:
    """Make `quantize` ready with a multiplier of `dtype`, or with `number` for one."""
    values = inputs.normal(case["m"], case["k"], seed=seed, dtype=inputs.DTYPES[case.word("dtype")])
    # Of bfloat16's eight bits, so that each type holds the same number.
    right = nvfp4.multiplier_of(values).to(torch.bfloat16).to(torch.float32)
    given = right.to(dtype) if number is None else torch.tensor(number)
    layout = layout_of(subject, case, case["m"])
    columns = case["k"] // nvfp4.BLOCK

    def call(ops: Charged, numbers: torch.Tensor, factor: torch.Tensor) -> Outputs:
        packed, scales = ops.quantize(numbers, factor, layout=layout, backend=case.backend)
        return packed, scales

    def held(made: Outputs) -> tuple[Fault | None, Metrics]:
        if number is not None:
            return _plain_to_see(
                values, quantized.scale_bytes(made[1], len(values), layout)[:, :columns]
            )
        fault, figures = quantized.judge(values, right, made[0], made[1], layout=layout)
        if fault is None:
            return None, figures
        return Fault("wrong_scale", f"a {dtype} multiplier is misread: {fault.text}"), figures

    return Work(
        operation="quantize",
        inputs=(values.to(subject.device), given.to(subject.device)),
        call=call,
        judge=held,
        names=("codes", "scales"),
        seed=seed,
    )


def _plain_to_see(values: torch.Tensor, scales: torch.Tensor) -> tuple[Fault | None, Metrics]:
    """Look for scales of numbers that look like any other's: neither 0 nor 448 nor NaN."""
    real = nvfp4.blocks(values.double(), nvfp4.BLOCK).abs().amax(-1) > 0
    numbers = e4m3.decode(scales)
    odd = real & (numbers > 0) & (numbers < e4m3.MAX)
    figures = {"scales_like_any": (float(odd.sum()), "1")}
    if bool(odd.any()):
        told = f"scales look like those of a multiplier that is a number: {where(odd)}"
        return Fault("wrong_scale", told), figures
    return None, figures


def gemm(plain: Work, dtype: torch.dtype, number: float | None) -> Work:
    """Make a product ready with an alpha of `dtype`, or with `number` for one. `plain`: the same with the right one."""
    packed, scales, alpha = plain.inputs
    # Of bfloat16's eight bits, and not as small as float16 makes 0; the right product is in proportion.
    right = torch.full_like(alpha, 2.0**-8)
    given = right.to(dtype) if number is None else torch.full_like(alpha, number)

    def held(made: Outputs) -> tuple[Fault | None, Metrics]:
        got = made[0].detach().float().cpu()
        if number is not None:
            odd = torch.isfinite(got) & (got != 0)
            figures: Metrics = {"elements_like_any": (float(odd.sum()), "1")}
            told = f"elements look like those of an alpha that is a number: {where(odd)}"
            return (Fault("wrong_scale", told) if bool(odd.any()) else None), figures
        # The right one's own product, in proportion; `plain` is judged by its own case.
        factor = float(alpha.double().cpu()) / float(right.double().cpu())
        fault, figures = plain.judge(((got.double() * factor).to(made[0].dtype),))
        if fault is None:
            return None, figures
        return Fault("wrong_scale", f"a {dtype} alpha is misread: {fault.text}"), figures

    return replace(plain, inputs=(packed, scales, given), judge=held, names=("product",))
