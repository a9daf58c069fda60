"""Products made ready: dense, grouped, fused experts, MXFP4. Operands are the reference's, so that only the product is judged."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch

from probes.case import Case
from probes.correctness import bounds, expertfaults, inputs, judge, productfaults
from probes.correctness.work import Outputs, Work
from probes.reference import e2m1, mxfp4, nvfp4, product
from probes.reference.nvfp4 import Nvfp4
from probes.reference.product import Experts
from probes.subject import Charged, Operand

_AGAIN: Final = 7919
"""Added to a seed for other inputs of the same case; the weights stay."""

_RMS: Final = 150.0
"""Root mean square of random codes times random scales, as `weights` makes them."""


def weights(*shape: int, seed: int) -> Nvfp4:
    """Return random codes under random scales of 8 to 128: (…, N, K) of about variance 1 / K, with a multiplier for each matrix.

    Not quantized from numbers, since 256 experts would take a minute. Multipliers of stacked matrices, (E, 1, 1), differ.
    """
    made = inputs.generator(seed)
    packed = torch.randint(0, 256, (*shape[:-1], shape[-1] // 2), generator=made, dtype=torch.uint8)
    scales = torch.randint(
        0x50, 0x71, (*shape[:-1], shape[-1] // nvfp4.BLOCK), generator=made, dtype=torch.uint8
    )
    lead = (*shape[:-2], 1, 1) if shape[:-2] else ()
    multiplier = _RMS * shape[-1] ** 0.5 * (0.75 + torch.rand(lead, generator=made))
    return Nvfp4(
        packed=packed,
        scales=scales.view(torch.float8_e4m3fn),
        global_scale_multiplier=multiplier.to(torch.float32),
    )


def gemm(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make `gemm` ready; loads: m, n, k, dtype."""
    dtype = inputs.DTYPES[case.word("dtype")]
    values = inputs.normal(case["m"], case["k"], seed=seed + again * _AGAIN, dtype=dtype)
    a, b = nvfp4.quantize(values), weights(case["n"], case["k"], seed=seed + 2)
    alpha = product.alpha(a, b)
    layout = subject.scale_layout("gemm", case.backend, case["m"])
    left = inputs.operand(a, layout, subject.device, fill=fill)
    right = subject.prepare(
        "gemm", inputs.operand(b, None, subject.device), backend=case.backend, fill=fill
    )

    def call(
        ops: Charged, packed: torch.Tensor, scales: torch.Tensor, factor: torch.Tensor
    ) -> Outputs:
        given = Operand(packed=packed, scales=scales, multiplier=left.multiplier, layout=layout)
        return (ops.gemm(given, right, factor, dtype=dtype, backend=case.backend),)

    return Work(
        operation="gemm",
        inputs=(left.packed, left.scales, alpha.to(subject.device)),
        call=call,
        judge=lambda made: judge.product(
            made[0], product.gemm(a, b, alpha=alpha), suspects=productfaults.gemm(a, b, alpha)
        ),
        names=("product",),
        seed=seed,
    )


def grouped_gemm(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make `grouped_gemm` ready; loads: experts, m, n, k, dtype, rows (`inputs.shares`)."""
    dtype = inputs.DTYPES[case.word("dtype")]
    count, m = case["experts"], case["m"]
    # Which rows belong to whom stays with the weights, and on the host: a captured graph has the numbers fixed.
    rows = inputs.shares(m, count, kind=case.word("rows"), seed=seed)
    values = inputs.normal(m, case["k"], seed=seed + again * _AGAIN, dtype=dtype)
    multipliers = nvfp4.multiplier_of(values) * (1 + torch.arange(count) % 3 / 4).float()
    each = torch.repeat_interleave(multipliers, rows.long())[:, None]
    a = nvfp4.quantize(values, global_scale_multiplier=each)
    b = weights(count, case["n"], case["k"], seed=seed + 2)
    left = replace(
        inputs.operand(a, None, subject.device), multiplier=multipliers.to(subject.device)
    )
    right = subject.prepare(
        "grouped_gemm", inputs.operand(b, None, subject.device), backend=case.backend, fill=fill
    )

    def call(
        ops: Charged,
        packed: torch.Tensor,
        scales: torch.Tensor,
        factors: torch.Tensor,
        counts: torch.Tensor,
    ) -> Outputs:
        given = Operand(packed=packed, scales=scales, multiplier=factors, layout=None)
        return (ops.grouped_gemm(given, right, counts, dtype=dtype, backend=case.backend),)

    return Work(
        operation="grouped_gemm",
        inputs=(left.packed, left.scales, left.multiplier, rows),
        call=call,
        judge=lambda made: judge.product(
            made[0],
            expertfaults.grouped_product(a, b, rows),
            suspects=expertfaults.grouped(a, b, rows),
        ),
        names=("product",),
        seed=seed,
        notes={"experts_without_rows": (float((rows == 0).sum()), "1")},
    )


def moe(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make `moe` ready; loads: experts, top_k, tokens, hidden, intermediate, dtype, routing (`inputs.routing`).

    Kernels that add up experts with atomics give other bits in each run, so that two runs are held to the bound of the product.
    """
    dtype, device = inputs.DTYPES[case.word("dtype")], subject.device
    count, width = case["experts"], case["intermediate"]
    hidden = inputs.normal(case["tokens"], case["hidden"], seed=seed + again * _AGAIN, dtype=dtype)
    ids, shares = inputs.routing(
        case["tokens"], count, case["top_k"], kind=case.word("routing"), seed=seed + 5
    )
    # Calibrated on the first inputs whatever `again` is: what it changes are the inputs alone.
    calm = inputs.normal(case["tokens"], case["hidden"], seed=seed, dtype=dtype)
    experts = experts_for(calm, count, width, seed)
    ready = subject.prepare("moe", moved(experts, device), backend=case.backend, fill=fill)

    def call(
        ops: Charged, given: torch.Tensor, which: torch.Tensor, share: torch.Tensor
    ) -> Outputs:
        return (
            ops.moe(given, ready, expert_ids=which, expert_weights=share, backend=case.backend),
        )

    return Work(
        operation="moe",
        inputs=(hidden.to(device), ids.to(device), shares.to(device)),
        call=call,
        judge=lambda made: judge.product(
            made[0],
            product.moe(hidden, experts, expert_ids=ids, expert_weights=shares),
            bound=bounds.requantized(dtype),
            row_bound=bounds.requantized_row(dtype, width),
            suspects=expertfaults.moe(hidden, experts, ids, shares),
        ),
        names=("output",),
        seed=seed,
        exact=False,
        notes={"experts_without_tokens": (float(count - len(set(ids.flatten().tolist()))), "1")},
    )


def experts_for(hidden: torch.Tensor, count: int, width: int, seed: int) -> Experts:
    """Return experts for `hidden`, the second multiplier calibrated on what the first rows make of the first expert."""
    size = hidden.shape[-1]
    gate_up = weights(count, 2 * width, size, seed=seed + 2)
    first = product.linear(hidden[:8].float(), nvfp4.dequantize(nvfp4.select(gate_up, 0)))
    gate, up = first.chunk(2, dim=-1)
    middle = torch.nn.functional.silu(gate) * up
    return Experts(
        gate_up=gate_up,
        down=weights(count, size, width, seed=seed + 3),
        gate_up_activation_multiplier=nvfp4.multiplier_of(hidden).expand(count).contiguous(),
        # Twice as much room as those rows take: a static calibration seldom sees the greatest value.
        down_activation_multiplier=(nvfp4.multiplier_of(middle) / 2).expand(count).contiguous(),
    )


def moved(experts: Experts, device: torch.device) -> Experts:
    """Return experts on a device."""

    def on(one: Nvfp4) -> Nvfp4:
        return Nvfp4(
            packed=one.packed.to(device),
            scales=one.scales.to(device),
            global_scale_multiplier=one.global_scale_multiplier.to(device),
        )

    return Experts(
        gate_up=on(experts.gate_up),
        down=on(experts.down),
        gate_up_activation_multiplier=experts.gate_up_activation_multiplier.to(device),
        down_activation_multiplier=experts.down_activation_multiplier.to(device),
        gate_first=experts.gate_first,
    )


def mxfp4_gemm(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make `mxfp4_gemm` ready; loads: m, n, k, dtype."""
    dtype = inputs.DTYPES[case.word("dtype")]
    made = [
        mxfp4.quantize(inputs.normal(rows, case["k"], seed=seed + offset, dtype=dtype), rule=mxfp4.Rule.CEIL)
        for rows, offset in ((case["m"], again * _AGAIN), (case["n"], 2))
    ]  # fmt: skip
    layout = subject.scale_layout("mxfp4_gemm", case.backend, case["m"])
    left = inputs.mxfp4_operand(made[0], layout, subject.device, fill=fill)
    plain = inputs.mxfp4_operand(made[1], None, subject.device)
    right = subject.prepare("mxfp4_gemm", plain, backend=case.backend, fill=fill)
    numbers = [mxfp4.dequantize(each) for each in made]

    def call(ops: Charged, packed: torch.Tensor, scales: torch.Tensor) -> Outputs:
        given = Operand(packed=packed, scales=scales, multiplier=left.multiplier, layout=layout)
        return (ops.mxfp4_gemm(given, right, dtype=dtype, backend=case.backend),)

    swapped = replace(made[1], packed=_swapped(made[1].packed))
    return Work(
        operation="mxfp4_gemm",
        inputs=(left.packed, left.scales),
        call=call,
        judge=lambda got: judge.product(
            got[0],
            product.linear(*numbers),
            suspects=(
                ("wrong_packing", "the two codes of a byte of B are swapped",
                 product.linear(numbers[0], mxfp4.dequantize(swapped))),
                *productfaults.moved(product.linear(*numbers)),
            ),
        ),
        names=("product",),
        seed=seed,
    )  # fmt: skip


def _swapped(packed: torch.Tensor) -> torch.Tensor:
    codes = e2m1.unpack(packed)
    return e2m1.pack(codes.reshape(*codes.shape[:-1], -1, 2).flip(-1).flatten(-2))
