"""What a kernel's product has to come to: linear, grouped and MoE layers over dequantised operands.

Operands are dequantised to float32 and multiplied in float32, so that what is left of a difference to a kernel
is its order of summation and its output type. `dtype=torch.float64` tells how much the reference itself is off.
TF32 and reduced bf16 sums are not used on the CPU; on a GPU, set torch.backends.cuda.matmul.allow_tf32 to False.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from probes.reference import e2m1, e4m3, nvfp4
from probes.reference.nvfp4 import Nvfp4


def linear(
    activations: torch.Tensor, weights: torch.Tensor, *, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return activations @ weights.T: (…, M, K) and (…, N, K), dequantised, to (…, M, N) of `dtype`."""
    return activations.to(dtype) @ weights.to(dtype).transpose(-2, -1)


def alpha(activations: Nvfp4, weights: Nvfp4) -> torch.Tensor:
    """Return 1 / (multiplier of the activations * multiplier of the weights): float32.

    It is what GEMM kernels take as `alpha`: they multiply codes by block scales and apply this to the sum.
    """
    product = (
        activations.global_scale_multiplier.double() * weights.global_scale_multiplier.double()
    )
    return product.reciprocal().to(torch.float32)


def gemm(
    activations: Nvfp4, weights: Nvfp4, *, alpha: torch.Tensor, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Return alpha * (codes * scales of A) @ (codes * scales of B).T, as a kernel is given them.

    Operands of shapes (M, K) and (N, K), `alpha` float32 of shape (); returns (M, N) of `dtype`. The operands'
    multipliers are not read: a wrong alpha gives the wrong product that it gives in a kernel.
    """
    return linear(_scaled(activations), _scaled(weights), dtype=dtype) * alpha.to(dtype)


def grouped(
    activations: torch.Tensor,
    weights: torch.Tensor,
    *,
    rows: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Multiply each group of rows by its expert's weights: (M, K) and (E, N, K) to (M, N) of `dtype`.

    `rows`: int (E,), how many rows each expert has, 0 included; the rows of expert 0 come first. Raises
    ValueError where they do not add up to M.
    """
    counts = rows.tolist()
    if len(counts) != weights.shape[0] or sum(counts) != activations.shape[0]:
        raise ValueError(
            f"{counts} rows do not share {activations.shape[0]} among {weights.shape[0]} experts"
        )
    parts = zip(torch.split(activations, counts), weights, strict=True)
    return torch.cat([linear(part, weight, dtype=dtype) for part, weight in parts])


def attention(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return softmax(q k / sqrt(size)) v of one request's queries over its cache: float32 (query heads, size).

    `queries`: (query heads, size); `keys` and `values`: dequantised, (tokens, heads, size). Query heads are a multiple of
    heads, and neighbours share one, as in grouped-query attention.
    """
    group = queries.shape[0] // keys.shape[1]
    key, value = (each.float().repeat_interleave(group, dim=1) for each in (keys, values))
    scores = torch.einsum("hd,thd->ht", queries.float(), key) / queries.shape[-1] ** 0.5
    return torch.einsum("ht,thd->hd", scores.softmax(dim=-1), value)


@dataclass(frozen=True, kw_only=True)
class Experts:
    """The weights of E gated experts with hidden size H and intermediate size I.

    `gate_up`: (E, 2 * I, H), gate over up, or up over gate where `gate_first` is False (FlashInfer's CUTLASS
    kernels want that); `down`: (E, H, I). The activation of each product is quantized with the multiplier of
    that name: float32, of shape () or (E,).
    """

    gate_up: Nvfp4
    down: Nvfp4
    gate_up_activation_multiplier: torch.Tensor
    down_activation_multiplier: torch.Tensor
    gate_first: bool = True


def moe(
    hidden: torch.Tensor,
    experts: Experts,
    *,
    expert_ids: torch.Tensor,
    expert_weights: torch.Tensor,
    dtype: torch.dtype = torch.float32,
) -> torch.Tensor:
    """Return the output of a mixture of gated experts, every product with NVFP4 operands: (T, H) of `dtype`.

    `hidden`: float32, float16 or bfloat16 (T, H). `expert_ids`: int (T, top k). `expert_weights`: float (T, top
    k), applied to the experts' outputs, not to their inputs. Each token's row is quantized, multiplied by gate
    and up, passed through silu(gate) * up, rounded to the dtype of `hidden` (that is what the kernels hand on),
    quantized again and multiplied by down.
    """
    total = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    for expert in range(experts.down.packed.shape[0]):
        tokens, choices = torch.nonzero(expert_ids == expert, as_tuple=True)
        if tokens.numel():
            out = _expert(hidden[tokens], experts, expert, dtype)
            total.index_add_(0, tokens, out * expert_weights[tokens, choices, None].to(dtype))
    return total


def _expert(rows: torch.Tensor, experts: Experts, expert: int, dtype: torch.dtype) -> torch.Tensor:
    """Return expert's output for `rows` (T, H), in `dtype`."""
    both = linear(
        _rounded(rows, experts.gate_up_activation_multiplier, expert),
        nvfp4.dequantize(nvfp4.select(experts.gate_up, expert)),
        dtype=dtype,
    )
    first, second = both.chunk(2, dim=-1)
    gate, up = (first, second) if experts.gate_first else (second, first)
    middle = (torch.nn.functional.silu(gate) * up).to(rows.dtype)
    return linear(
        _rounded(middle, experts.down_activation_multiplier, expert),
        nvfp4.dequantize(nvfp4.select(experts.down, expert)),
        dtype=dtype,
    )


def _rounded(values: torch.Tensor, multipliers: torch.Tensor, expert: int) -> torch.Tensor:
    """Return what is left of `values` after quantizing with the expert's multiplier."""
    multiplier = multipliers[expert] if multipliers.dim() else multipliers
    return nvfp4.dequantize(nvfp4.quantize(values, global_scale_multiplier=multiplier))


def _scaled(operand: Nvfp4) -> torch.Tensor:
    """Return codes times block scales, without the multiplier: float32, exact."""
    values = nvfp4.blocks(e2m1.decode(e2m1.unpack(operand.packed)), nvfp4.BLOCK)
    return (values * e4m3.decode(operand.scales).unsqueeze(-1)).flatten(-2)
