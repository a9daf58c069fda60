"""FlashInfer's fused experts: CUTLASS, TensorRT-LLM's cubins and CuTe DSL, each with its order of rows.

All want up over gate. TensorRT-LLM's rows are interleaved and shuffled by FlashInfer's own indices; CuTe DSL's go by turns of 64.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from probes.reference.layout import Layout
from probes.reference.product import Experts
from probes.subject import NotOfferedError, Operand
from probes.subjects import package, scales

BACKENDS: Final = ("cutlass", "trtllm", "cute-dsl")
ASKED: Final = {
    "cutlass": "cutlass_fused_moe",
    "trtllm": "trtllm_fp4_block_scale_moe",
    "cute-dsl": "cute_dsl_fused_moe_nvfp4",
}
_PLACE: Final = "flashinfer.fused_moe"
_TILE: Final = 128
_TURN: Final = 64
_RENORMALIZE: Final = 1
"""Of RoutingMethodType; with experts that are chosen already it decides nothing."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Weights as a backend wants them, the activations' multipliers (one for all experts), alphas float32 (E,)."""

    gate_up: Operand
    down: Operand
    activations: tuple[torch.Tensor, torch.Tensor]
    alphas: tuple[torch.Tensor, torch.Tensor]

    @property
    def sizes(self) -> tuple[int, int]:
        """The number of experts, and the intermediate size."""
        return self.down.packed.shape[0], self.down.packed.shape[-1] * 2


def prepare(experts: Experts, backend: str, fill: int) -> Prepared:
    """Bring experts to what a backend takes. Raises NotOfferedError for activations with a multiplier for each expert."""
    gate_up, down = scales.tensor_of(experts.gate_up), scales.tensor_of(experts.down)
    if experts.gate_first:
        gate_up = scales.halves_swapped(gate_up)
    given = (experts.gate_up_activation_multiplier, experts.down_activation_multiplier)
    if any(each.dim() and not bool((each == each[0]).all()) for each in given):
        raise NotOfferedError("one multiplier for the activations of all experts")
    one, two = (each.reshape(-1)[0].reshape(1) for each in given)
    count = down.packed.shape[0]
    alphas = [
        (activation.double() * weight.multiplier.double().reshape(-1)).reciprocal().float()
        for activation, weight in ((one, gate_up), (two, down))
    ]
    if backend == "trtllm":
        gate_up, down = _shuffled(gate_up, gated=True), _shuffled(down, gated=False)
    else:
        if backend == "cute-dsl":
            gate_up = _by_turns(gate_up)
        gate_up, down = (
            scales.swizzled(each, Layout.ROWS_128, fill=fill) for each in (gate_up, down)
        )
    return Prepared(
        gate_up=gate_up,
        down=down,
        activations=(one, two),
        alphas=(alphas[0].expand(count).contiguous(), alphas[1].expand(count).contiguous()),
    )


def _shuffled(weights: Operand, *, gated: bool) -> Operand:
    """Permute rows by FlashInfer's indices, and swizzle the scales by its function: flat bytes an expert."""
    place = package.function(f"{_PLACE}.core", _indices(gated=gated))
    interleave = package.first(("flashinfer",), "block_scale_interleave")
    held: dict[Any, torch.Tensor] = {}
    rows = place(held, weights.packed[0], _TILE)
    columns = place(held, weights.scales[0], _TILE, num_elts_per_sf=16)
    placed = [interleave(each[columns]).reshape(-1) for each in weights.scales]
    return replace(
        weights,
        packed=weights.packed[:, rows].contiguous(),
        scales=torch.stack(placed).view(torch.uint8),
        layout=Layout.ROWS_128,
    )


def _indices(*, gated: bool) -> str:
    return (
        "_maybe_get_cached_w3_w1_permute_indices" if gated else "get_w2_permute_indices_with_cache"
    )


def _by_turns(weights: Operand) -> Operand:
    """Lay 64 rows of the upper half, 64 of the lower, and so on."""

    def turned(rows: torch.Tensor) -> torch.Tensor:
        count, high = rows.shape[:2]
        if high % (2 * _TURN):
            raise NotOfferedError(f"CuTe DSL takes turns of {_TURN} rows, not {high} in all")
        parts = rows.reshape(count, 2, high // (2 * _TURN), _TURN, -1)
        return parts.transpose(1, 2).reshape(rows.shape).contiguous()

    return replace(weights, packed=turned(weights.packed), scales=turned(weights.scales))


def run(
    hidden: torch.Tensor, experts: Prepared, ids: torch.Tensor, weights: torch.Tensor, backend: str
) -> torch.Tensor:
    """Return the experts' output (T, H) in `hidden`'s dtype; `ids` int32 and `weights` float32 (T, top k)."""
    return {"cutlass": _cutlass, "trtllm": _trtllm, "cute-dsl": _cute_dsl}[backend](
        hidden, experts, ids, weights
    )


def _cutlass(
    hidden: torch.Tensor, experts: Prepared, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    fused = package.function(_PLACE, "cutlass_fused_moe")
    planes = [scales.plane(each).view(torch.int32) for each in (experts.gate_up, experts.down)]
    made = fused(
        input=hidden,
        token_selected_experts=ids.to(torch.int32),
        token_final_scales=weights,
        fc1_expert_weights=experts.gate_up.packed.view(torch.long),
        fc2_expert_weights=experts.down.packed.view(torch.long),
        output_dtype=hidden.dtype,
        quant_scales=[
            experts.activations[0].reshape(()),
            planes[0],
            experts.alphas[0],
            experts.activations[1].reshape(()),
            planes[1],
            experts.alphas[1],
        ],
    )
    return _only(made)


def _quantized(hidden: torch.Tensor, experts: Prepared) -> tuple[torch.Tensor, torch.Tensor]:
    quantize = package.function("flashinfer", "fp4_quantize")
    packed, made = quantize(hidden, experts.activations[0], is_sf_swizzled_layout=False)
    return packed, scales.e4m3(made.view(torch.uint8).reshape(hidden.shape[0], -1))


def _trtllm(
    hidden: torch.Tensor, experts: Prepared, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    fused = package.function(_PLACE, "trtllm_fp4_block_scale_routed_moe")
    if hidden.dtype != torch.bfloat16:
        raise NotOfferedError("trtllm_fp4_block_scale_routed_moe gives bfloat16 alone")
    packed, told = _quantized(hidden, experts)
    count, inner = experts.sizes
    planes = [scales.e4m3(scales.plane(each)) for each in (experts.gate_up, experts.down)]
    nothing = dict.fromkeys(
        (
            "routing_bias",
            "gemm1_bias",
            "gemm1_alpha",
            "gemm1_beta",
            "gemm1_clamp_limit",
            "gemm2_bias",
            "n_group",
            "topk_group",
            "routed_scaling_factor",
        )
    )
    made = fused(
        topk_ids=_routed(fused, ids, weights),
        hidden_states=packed,
        hidden_states_scale=told,
        gemm1_weights=experts.gate_up.packed,
        gemm1_weights_scale=planes[0],
        gemm2_weights=experts.down.packed,
        gemm2_weights_scale=planes[1],
        output1_scale_scalar=experts.alphas[0] * experts.activations[1],
        output1_scale_gate_scalar=experts.alphas[0],
        output2_scale_scalar=experts.alphas[1],
        num_experts=count,
        top_k=ids.shape[1],
        intermediate_size=inner,
        local_expert_offset=0,
        local_num_experts=count,
        routing_method_type=_RENORMALIZE,
        **nothing,
        **package.known(fused, {"tile_tokens_dim": None}),
    )
    return _only(made)


def _routed(fused: Any, ids: torch.Tensor, weights: torch.Tensor) -> Any:
    """Return ids and weights as a pair, or (up to 0.6) in one number: the id above a bfloat16 weight."""
    if "Tuple" in str(package.annotation(fused, "topk_ids")):
        return ids.to(torch.int32), weights
    low = weights.to(torch.bfloat16).view(torch.int16).to(torch.int32) & 0xFFFF
    return (ids.to(torch.int32) << 16) | low


def _cute_dsl(
    hidden: torch.Tensor, experts: Prepared, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    fused = package.first((_PLACE, "flashinfer"), "cute_dsl_fused_moe_nvfp4")
    place = package.function("flashinfer.cute_dsl.utils", "convert_sf_to_mma_layout")
    packed, told = _quantized(hidden, experts)
    count = experts.sizes[0]
    planes = []
    for each in (experts.gate_up, experts.down):
        plane = scales.plane(each)
        sizes = {"m": plane.shape[1], "k": plane.shape[2] * 16, "num_groups": count}
        planes.append(place(plane.reshape(-1, plane.shape[2]), **sizes))
    made = fused(
        x=packed,
        x_sf=told.view(torch.uint8).unsqueeze(-1),
        token_selected_experts=ids.to(torch.int32),
        token_final_scales=weights,
        w1_weight=experts.gate_up.packed,
        w1_weight_sf=planes[0],
        w1_alpha=experts.alphas[0],
        fc2_input_scale=experts.activations[1],
        w2_weight=experts.down.packed,
        w2_weight_sf=planes[1],
        w2_alpha=experts.alphas[1],
        num_experts=count,
        top_k=ids.shape[1],
        output_dtype=hidden.dtype,
    )
    return _only(made)


def _only(made: Any) -> torch.Tensor:
    output: torch.Tensor = made[0] if isinstance(made, (list, tuple)) else made
    return output
