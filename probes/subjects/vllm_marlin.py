"""vLLM's weight-only product by Marlin, weights repacked by vLLM itself as for a layer that was just loaded."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

import torch

from probes.reference import product
from probes.subject import Operand
from probes.subjects import package, scales

_PLACES: Final = (
    "vllm.model_executor.layers.fused_moe.experts.marlin_moe",
    "vllm.model_executor.layers.fused_moe.fused_marlin_moe",
)
"""Where `fused_marlin_moe` stands: since 0.27 or before, and up to 0.20."""

UTILITIES: Final = "vllm.model_executor.layers.quantization.utils.marlin_utils_fp4"


def prepare(weights: Operand, device: torch.device) -> Any:
    """Return a layer as vLLM's loaders leave it: repacked weights, permuted scales, global scale (an inverse), by its own function.

    The weights are for bfloat16 activations, whose format decides how Marlin's scales are stored.
    """
    repack = package.function(UTILITIES, "prepare_fp4_layer_for_marlin")
    layer: Any = torch.nn.Module()
    layer.output_size_per_partition = weights.packed.shape[0]
    layer.input_size_per_partition = weights.packed.shape[1] * 2
    layer.params_dtype = torch.bfloat16
    given = {
        "weight": weights.packed,
        "weight_scale": scales.e4m3(weights.scales),
        _global_name(): weights.multiplier.reciprocal().reshape(1),
    }
    for name, value in given.items():
        setattr(layer, name, torch.nn.Parameter(value.to(device), requires_grad=False))
    repack(layer)
    return layer


def multiply(values: torch.Tensor, layer: Any, dtype: torch.dtype) -> torch.Tensor:
    """Return values @ weights.T of (M, K) bfloat16: (M, N)."""
    apply = package.function(UTILITIES, "apply_fp4_marlin_linear")
    name = _global_name()
    made: torch.Tensor = apply(
        input=values,
        weight=layer.weight,
        weight_scale=layer.weight_scale,
        workspace=getattr(layer, "workspace", None),
        size_n=layer.output_size_per_partition,
        size_k=layer.input_size_per_partition,
        **{name: getattr(layer, name)},
    )
    return made.to(dtype)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """What `prepare_nvfp4_moe_layer_for_marlin` returned: codes, scales and global scale of both products."""

    gate_up: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    down: tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def prepare_experts(experts: product.Experts) -> Experts:
    """Repack experts, gate over up, for bfloat16 activations; since 0.20 or so, where a function does that without a layer."""
    repack = package.function(UTILITIES, "prepare_nvfp4_moe_layer_for_marlin")
    gate_up, down = scales.tensor_of(experts.gate_up), scales.tensor_of(experts.down)
    if not experts.gate_first:
        gate_up = scales.halves_swapped(gate_up)
    count, hidden = down.packed.shape[:2]
    inner = down.packed.shape[2] * 2
    layer = SimpleNamespace(
        num_experts=count,
        hidden_size=hidden,
        intermediate_size_per_partition=inner,
        params_dtype=torch.bfloat16,
    )
    given = [
        part
        for each in (gate_up, down)
        for part in (each.packed, scales.e4m3(each.scales), each.multiplier.reciprocal())
    ]
    made = repack(layer, *given, is_act_and_mul=True)
    return Experts(gate_up=tuple(made[:3]), down=tuple(made[3:]))


def run_experts(
    hidden: torch.Tensor, experts: Experts, ids: torch.Tensor, weights: torch.Tensor
) -> torch.Tensor:
    """Return the weight-only experts' output (T, H)."""
    fused = package.first(_PLACES, "fused_marlin_moe")
    kinds = package.function("vllm.scalar_type", "scalar_types")
    made: torch.Tensor = fused(
        hidden_states=hidden,
        w1=experts.gate_up[0],
        w2=experts.down[0],
        bias1=None,
        bias2=None,
        w1_scale=experts.gate_up[1],
        w2_scale=experts.down[1],
        topk_weights=weights,
        topk_ids=ids,
        quant_type_id=kinds.float4_e2m1f.id,
        global_num_experts=experts.down[0].shape[0],
        global_scale1=experts.gate_up[2],
        global_scale2=experts.down[2],
    )
    return made


def _global_name() -> str:
    """Return what a release calls a layer's global scale: `weight_scale_2` up to 0.12 or so, `weight_global_scale` since."""
    names = package.parameters(package.function(UTILITIES, "apply_fp4_marlin_linear"))
    return "weight_global_scale" if "weight_global_scale" in names else "weight_scale_2"
