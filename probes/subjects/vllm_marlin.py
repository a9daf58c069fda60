"""vLLM's weight-only product by Marlin, weights repacked by vLLM itself as for a layer that was just loaded."""

from __future__ import annotations

from typing import Any, Final

import torch

from probes.subject import Operand
from probes.subjects import package, scales

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


def _global_name() -> str:
    """Return what a release calls a layer's global scale: `weight_scale_2` up to 0.12 or so, `weight_global_scale` since."""
    names = package.parameters(package.function(UTILITIES, "apply_fp4_marlin_linear"))
    return "weight_global_scale" if "weight_global_scale" in names else "weight_scale_2"
