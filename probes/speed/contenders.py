"""Who races for each operation: native kernels, and what they are held against on the same numbers."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch.nn.functional import linear

from probes.case import Case
from probes.correctness import inputs
from probes.reference import nvfp4, product
from probes.reference.layout import Layout, unswizzle
from probes.reference.nvfp4 import Nvfp4
from probes.reference.product import Experts
from probes.request import Request
from probes.speed import roofline
from probes.speed.entry import AGAIN, LAYER, NATIVE, Entry, Field
from probes.speed.timer import Work
from probes.subject import Charged, Operand

_FP8: Final = torch.float8_e4m3fn
_ROWS: Final = 16
"""Rows of which the numbers are checked; the correctness probes check all of them, on other shapes."""

_CHUNK: Final = 4096
_DISTINCT: Final = 4
"""Experts with weights of their own; the others repeat them, elsewhere in memory."""


def gemm(subject: Charged, case: Case, run: Request) -> Field:
    """Enter a product (M, K) x (N, K) in bfloat16, its operands quantized before: the kernel by itself.

    `layer` quantizes the activation as well, as a layer has to; FP8's and W4A16's activations are given as they
    take them.
    """
    entry, backend, m = Entry(subject, run), case.backend, case["m"]
    seed, dtype = case.seed(run.seed), torch.bfloat16
    values = inputs.normal(m, case["k"], seed=seed, dtype=dtype).to(subject.device)
    weights = inputs.normal(case["n"], case["k"], seed=seed + 2, dtype=dtype).to(subject.device)
    a, b = _quantized(values), _quantized(weights)
    alpha, layout = product.alpha(a, b), subject.scale_layout("gemm", backend, m)

    def native() -> Work:
        left, flat = inputs.operand(a, layout, subject.device), _operand(b)
        right, scale = subject.prepare("gemm", flat, backend=backend), alpha.clone()
        left = _copied(left)
        return lambda: entry.raw.gemm(left, right, scale, dtype=dtype, backend=backend)

    def weight_only(chosen: str) -> Work:
        held = entry.raw.prepare("w4a16_gemm", _operand(b), backend=chosen)
        return lambda: entry.raw.w4a16_gemm(values, held, dtype=dtype, backend=chosen)

    def layer() -> Work:
        first, scale = entry.first("quantize"), a.global_scale_multiplier
        right = entry.raw.prepare("gemm", _operand(b), backend=backend)

        def work() -> object:
            packed, scales = entry.raw.quantize(values, scale, layout=layout, backend=first)
            left = Operand(packed=packed, scales=scales, multiplier=scale, layout=layout)
            return entry.raw.gemm(left, right, alpha, dtype=dtype, backend=backend)

        return work

    got = entry.native(NATIVE, "gemm", native())
    entry.native(AGAIN, "gemm", native())
    want = linear(values, weights)
    entry.bar("w4a16_gemm", weight_only, want)
    entry.baseline("bf16", lambda: lambda: linear(values, weights), want)
    entry.baseline("fp8", lambda: _fp8(values, weights), want)
    entry.baseline(LAYER, layer, want)
    some = torch.linspace(0, m - 1, min(m, _ROWS)).long().to(subject.device)
    return Field(
        works=entry.works,
        cost=roofline.gemm(m, case["n"], case["k"]),
        got=subject.charge("gemm", lambda: got[some]),
        want=product.gemm(_part(a, some), b, alpha=alpha),
        left_out=entry.left_out,
        bar=entry.barred,
    )


def quantize(subject: Charged, case: Case, run: Request) -> Field:
    """Enter a quantizer of (M, K) in bfloat16. There is nothing that does the same in 16 bits to hold it against."""
    entry, backend, m = Entry(subject, run), case.backend, case["m"]
    made = inputs.normal(m, case["k"], seed=case.seed(run.seed), dtype=torch.bfloat16)
    layout = subject.scale_layout("quantize", backend, m)

    def native(values: torch.Tensor, multiplier: torch.Tensor) -> Work:
        return lambda: entry.raw.quantize(values, multiplier, layout=layout, backend=backend)

    values = made.to(subject.device)
    right = _quantized(values)
    multiplier = right.global_scale_multiplier
    packed, scales = entry.native(NATIVE, "quantize", native(values, multiplier))
    entry.native(AGAIN, "quantize", native(values.clone(), multiplier.clone()))

    def decoded() -> torch.Tensor:
        held = Nvfp4(
            packed=packed,
            scales=_in_rows(scales, layout, right.scales).view(_FP8),
            global_scale_multiplier=multiplier,
        )
        return nvfp4.dequantize(held)[:_ROWS]

    return Field(
        works=entry.works,
        cost=roofline.quantize(m, case["k"]),
        got=subject.charge("quantize", decoded),
        want=nvfp4.dequantize(right)[:_ROWS],
        left_out={},
    )


def moe(subject: Charged, case: Case, run: Request) -> Field:
    """Enter fused experts on (tokens, hidden) in bfloat16, tokens spread evenly at random."""
    entry, backend, tokens = Entry(subject, run), case.backend, case["m"]
    count, top_k, hidden = case["experts"], case["top_k"], case["hidden"]
    seed = case.seed(run.seed)
    # Without outliers: through two products they make of 4 bits something that W4A16 is not near to.
    made_here = torch.randn(tokens, hidden, generator=inputs.generator(seed))
    values = made_here.to(subject.device, torch.bfloat16)
    weights = _experts(count, hidden, case["intermediate"], seed, values)
    chance = torch.rand(tokens, count, generator=inputs.generator(seed + 3))
    ids = chance.topk(top_k).indices.to(subject.device, torch.int32)
    shares = torch.full((tokens, top_k), 1 / top_k, device=subject.device)

    def made(operation: str, chosen: str) -> Work:
        held, call = (
            entry.raw.prepare(operation, weights, backend=chosen),
            getattr(entry.raw, operation),
        )
        return lambda: call(values, held, expert_ids=ids, expert_weights=shares, backend=chosen)

    got = entry.native(NATIVE, "moe", subject.charge("moe", lambda: made("moe", backend)))
    entry.native(AGAIN, "moe", subject.charge("moe", lambda: made("moe", backend)))
    entry.bar("w4a16_moe", lambda chosen: made("w4a16_moe", chosen), got)
    some = slice(0, _ROWS)
    return Field(
        works=entry.works,
        cost=roofline.moe(
            tokens, top_k, len(set(ids.flatten().tolist())), hidden, case["intermediate"]
        ),
        got=subject.charge("moe", lambda: got[some]),
        want=product.moe(values[some], weights, expert_ids=ids[some], expert_weights=shares[some]),
        left_out=entry.left_out,
        bar=entry.barred,
    )


def _experts(
    count: int, hidden: int, intermediate: int, seed: int, values: torch.Tensor
) -> Experts:
    device, distinct = values.device, min(count, _DISTINCT)
    stacks = []
    for index, (n, k) in enumerate(((2 * intermediate, hidden), (hidden, intermediate))):
        made = inputs.normal(distinct, n, k, seed=seed + 4 + 2 * index, dtype=torch.bfloat16)
        ones = [_quantized(each) for each in (made.to(device) / k**0.5)]
        every = [ones[expert % distinct] for expert in range(count)]
        stacks.append(
            Nvfp4(
                packed=torch.stack([each.packed for each in every]),
                scales=torch.stack([each.scales.view(torch.uint8) for each in every]).view(_FP8),
                global_scale_multiplier=torch.stack(
                    [each.global_scale_multiplier for each in every]
                ).reshape(-1, 1, 1),
            )
        )
    gate, up = linear(values[:_ROWS].float(), nvfp4.dequantize(nvfp4.select(stacks[0], 0))).chunk(
        2, dim=-1
    )
    # Seen on one expert and some tokens: the others get room, or their scales would saturate.
    middle = 4 * torch.nn.functional.silu(gate) * up
    return Experts(
        gate_up=stacks[0],
        down=stacks[1],
        gate_up_activation_multiplier=nvfp4.multiplier_of(values).expand(count).clone(),
        down_activation_multiplier=nvfp4.multiplier_of(middle).expand(count).clone(),
    )


def _fp8(values: torch.Tensor, weights: torch.Tensor) -> Work:
    """Return a product in FP8, scaled by rows where this device and torch can, else by tensors."""
    try:
        work = _scaled(values, weights, by_rows=True)
        work()
    except (RuntimeError, ValueError):
        return _scaled(values, weights, by_rows=False)
    return work


def _scaled(values: torch.Tensor, weights: torch.Tensor, *, by_rows: bool) -> Work:
    most, pairs = torch.finfo(_FP8).max, []
    for matrix in (values.float(), weights.float()):
        amax = matrix.abs().amax(1, keepdim=True) if by_rows else matrix.abs().amax()
        scale = amax.clamp_min(1e-12) / most
        pairs.append(((matrix / scale).to(_FP8), scale))
    (a, a_scale), (b, b_scale) = pairs
    b_scale = b_scale.t() if by_rows else b_scale
    return lambda: torch._scaled_mm(  # noqa: SLF001 - the name that every release of torch 2 has
        a, b.t(), scale_a=a_scale, scale_b=b_scale, out_dtype=torch.bfloat16
    )


def _quantized(values: torch.Tensor) -> Nvfp4:
    """Quantize (N, K) by the reference, some rows at a time: it computes in float64."""
    multiplier = nvfp4.multiplier_of(values.abs().amax())
    parts = [
        nvfp4.quantize(part, global_scale_multiplier=multiplier)
        for part in torch.split(values, _CHUNK)
    ]
    return Nvfp4(
        packed=torch.cat([each.packed for each in parts]),
        scales=torch.cat([each.scales.view(torch.uint8) for each in parts]).view(_FP8),
        global_scale_multiplier=multiplier,
    )


def _operand(whole: Nvfp4) -> Operand:
    """Return weights as a checkpoint has them, in memory of their own."""
    return _copied(inputs.operand(whole, None, whole.packed.device))


def _copied(operand: Operand) -> Operand:
    return Operand(
        packed=operand.packed.clone(),
        scales=operand.scales.clone(),
        multiplier=operand.multiplier.clone(),
        layout=operand.layout,
    )


def _part(whole: Nvfp4, rows: torch.Tensor) -> Nvfp4:
    return Nvfp4(
        packed=whole.packed[rows],
        scales=whole.scales.view(torch.uint8)[rows].view(_FP8),
        global_scale_multiplier=whole.global_scale_multiplier,
    )


def _in_rows(scales: torch.Tensor, layout: Layout | None, like: torch.Tensor) -> Any:
    told = scales.view(torch.uint8)
    if layout is None:
        return told[: like.shape[0], : like.shape[1]]
    return unswizzle(told, rows=like.shape[0], columns=like.shape[1], layout=layout)
