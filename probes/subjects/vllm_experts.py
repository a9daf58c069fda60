"""vLLM's grouped product and fused experts, both by CUTLASS: `cutlass_fp4_moe_mm` and `run_cutlass_moe_fp4`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from probes.reference.layout import Layout
from probes.reference.product import Experts
from probes.subject import Operand
from probes.subjects import package, scales

_OPERATORS: Final = "vllm._custom_ops"
_PLACES: Final = (
    "vllm.model_executor.layers.fused_moe.experts.cutlass_moe",
    "vllm.model_executor.layers.fused_moe.cutlass_moe",
)
"""Where `run_cutlass_moe_fp4` stands: since 0.20, and before."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Weights in the order gate over up, scales in 128x4 per expert, and one number an expert for the rest."""

    gate_up: Operand
    down: Operand
    activations: tuple[torch.Tensor, torch.Tensor]
    alphas: tuple[torch.Tensor, torch.Tensor]


def prepare(experts: Experts, *, fill: int) -> Prepared:
    """Bring experts to what the fused kernel takes: multipliers of activations and alphas, float32 (E,) each."""
    gate_up, down = scales.tensor_of(experts.gate_up), scales.tensor_of(experts.down)
    if not experts.gate_first:
        gate_up = scales.halves_swapped(gate_up)
    count = down.packed.shape[0]
    given = (experts.gate_up_activation_multiplier, experts.down_activation_multiplier)
    activations = tuple(each.expand(count).contiguous() for each in given)
    alphas = tuple(
        (activation.double() * weight.multiplier.double()).reciprocal().float()
        for activation, weight in zip(activations, (gate_up, down), strict=True)
    )
    return Prepared(
        gate_up=scales.swizzled(gate_up, Layout.ROWS_128, fill=fill),
        down=scales.swizzled(down, Layout.ROWS_128, fill=fill),
        activations=(activations[0], activations[1]),
        alphas=(alphas[0], alphas[1]),
    )


def run(
    hidden: torch.Tensor, experts: Prepared, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the experts' output (T, H) in `hidden`'s dtype; `ids` and `weights` are (T, top k)."""
    fused = package.first(_PLACES, "run_cutlass_moe_fp4")
    tokens, size = hidden.shape
    count, inner = experts.down.packed.shape[0], experts.down.packed.shape[-1] * 2
    many = ids.numel()

    def room(*shape: int) -> torch.Tensor:
        return torch.empty(*shape, dtype=hidden.dtype, device=hidden.device)

    output = room(tokens, size)
    given: dict[str, Any] = {
        "output": output,
        "a": hidden,
        "a1_gscale": experts.activations[0],
        "w1_fp4": experts.gate_up.packed,
        "w1_blockscale": scales.e4m3(scales.plane(experts.gate_up)),
        "w1_alphas": experts.alphas[0],
        "a2_gscale": experts.activations[1],
        "w2_fp4": experts.down.packed,
        "w2_blockscale": scales.e4m3(scales.plane(experts.down)),
        "w2_alphas": experts.alphas[1],
        "topk_weights": weights,
        "topk_ids": ids,
        "workspace13": room(many, max(2 * inner, size)),
        "workspace2": room(many, inner),
        "m": tokens,
        "n": inner,
        "k": size,
        "e": count,
        "device": hidden.device,
    }
    if "activation" in package.parameters(fused):
        given["activation"] = _silu()
    fused(**given)
    return output


def _silu() -> Any:
    """Return the activation SiLU as a release names it: an enumeration's member, or the word."""
    kinds = package.module("vllm.model_executor.layers.fused_moe.activation")
    return kinds.MoEActivation.SILU


def multiply(a: Operand, b: Operand, rows: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return each group's product (M, N): `a` (M, K) scales in rows, `b` (E, N, K) in 128x4, `rows` int32 (E,)."""
    group_mm = package.function(_OPERATORS, "cutlass_fp4_moe_mm")
    counts = rows.tolist()
    n, k = b.packed.shape[-2], b.packed.shape[-1] * 2
    device = a.packed.device
    sizes = package.numbers(tuple(each for count in counts for each in (count, n, k)), device)
    out = torch.empty(a.packed.shape[0], n, dtype=dtype, device=device)
    alphas = (a.multiplier.double() * b.multiplier.double()).reciprocal().float()
    group_mm(
        out,
        a.packed,
        b.packed,
        scales.e4m3(scales.grouped(a.scales, counts)),
        scales.e4m3(scales.plane(b)),
        alphas,
        sizes.reshape(-1, 3),
        package.numbers(tuple(scales.starts(counts)[:-1]), device),
        package.numbers(tuple(scales.starts(counts, Layout.ROWS_128.value)[:-1]), device),
    )
    return out
