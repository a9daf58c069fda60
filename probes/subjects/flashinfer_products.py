"""FlashInfer's products: `mm_fp4`, `mm_bf16_fp4` and the grouped ones, with the weights that their backends want."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from probes.reference import nvfp4
from probes.reference.layout import Layout, padded, swizzle
from probes.subject import NotOfferedError, Operand
from probes.subjects import package, scales

LOW_LATENCY: Final = "trtllm-8x4"
GEMM: Final = (
    "cutlass",
    "cudnn",
    "trtllm",
    LOW_LATENCY,
    "cute-dsl",
    "cutedsl_low_latency",
    "b12x",
)
"""Backends of `mm_fp4`; trtllm twice, with scales of A in 128x4 and in 8x4."""

WEIGHT_ONLY: Final = (
    "cute-dsl",
    "cudnn",
    "cute-dsl-native",
    "blackwell-native",
    "blackwell-tiled",
)
GROUPED: Final = ("groupwise", "cudnn")
"""`group_gemm_nvfp4_nt_groupwise`, for 12x, and `grouped_mm_fp4`, of cuDNN."""

ASKED: Final = {
    "gemm": "mm_fp4",
    "mxfp4_gemm": "mm_fp4",
    "w4a16_gemm": "mm_bf16_fp4",
}
"""Where a table of backends stands for an operation."""

_TILE: Final = 128
"""Rows of an epilogue tile of TensorRT-LLM's kernels, for which A's shuffles are made."""


@dataclass(frozen=True, kw_only=True)
class WeightOnly:
    """What `prepare_bf16_fp4_weights` returned: codes, scales and alpha, each as its backend wants it."""

    packed: Any
    scales: Any
    alpha: Any


def prepare(operation: str, weights: Operand, backend: str, fill: int) -> Any:
    """Bring weights, scales in rows, to what a backend wants."""
    if backend in ("trtllm", LOW_LATENCY):
        return _shuffled(weights)
    placed = scales.swizzled(weights, Layout.ROWS_128, fill=fill)
    if operation != "w4a16_gemm":
        return placed
    _offered("mm_bf16_fp4", backend)
    run = package.function("flashinfer.gemm", "prepare_bf16_fp4_weights")
    inverse = weights.multiplier.reciprocal().reshape(1)
    made = run(placed.packed, scales.e4m3(placed.scales), inverse, backend=backend)
    return WeightOnly(packed=made[0], scales=made[1], alpha=made[2])


def _offered(name: str, backend: str) -> Any:
    """Return a function of `flashinfer.gemm`. Raises NotOfferedError where it, or the backend, is not in this release."""
    run = package.function("flashinfer.gemm", name)
    offered = getattr(run, "is_backend_supported", None)
    if offered is not None and not offered(backend):
        raise NotOfferedError(f"{name} of this release has no backend {backend}")
    return run


def _shuffled(weights: Operand) -> Operand:
    """Shuffle rows for TensorRT-LLM's kernels by FlashInfer's own functions, which swizzle the scales to 128x4 too."""
    rows = package.function("flashinfer", "shuffle_matrix_a")
    placed = package.function("flashinfer", "shuffle_matrix_sf_a")
    return replace(
        weights,
        packed=rows(weights.packed, _TILE),
        scales=placed(weights.scales, _TILE).view(torch.uint8).reshape(-1),
        layout=Layout.ROWS_128,
    )


def multiply(
    a: Operand,
    b: Operand,
    alpha: torch.Tensor | None,
    dtype: torch.dtype,
    backend: str,
    *,
    block: int = nvfp4.BLOCK,
) -> torch.Tensor:
    """Return A @ B.T by `mm_fp4`: (M, N); `block` 16 for NVFP4, 32 for MXFP4, whose alpha is None."""
    asked = backend.removesuffix("-8x4")
    run = _offered("mm_fp4", asked)
    left, right = (scales.plane(each, block=block) for each in (a, b))
    made: torch.Tensor = run(
        a.packed,
        b.packed.T,
        left,
        right.T,
        alpha,
        dtype,
        block_size=block,
        use_8x4_sf_layout=a.layout is Layout.ROWS_8,
        backend=asked,
        use_nvfp4=block == nvfp4.BLOCK,
    )
    return made


def weight_only(
    values: torch.Tensor, b: WeightOnly, dtype: torch.dtype, backend: str
) -> torch.Tensor:
    """Return values @ B.T by `mm_bf16_fp4`: (M, N)."""
    run = _offered("mm_bf16_fp4", backend)
    made: torch.Tensor = run(values, b.packed, b.scales, b.alpha, backend=backend, out_dtype=dtype)
    return made


def grouped(
    a: Operand, b: Operand, rows: torch.Tensor, dtype: torch.dtype, backend: str
) -> torch.Tensor:
    """Return each group's product (M, N): `a` (M, K) scales in rows, `b` (E, N, K) in 128x4, `rows` int32 (E,)."""
    counts = rows.tolist()
    alphas = (a.multiplier.double() * b.multiplier.double()).reciprocal().float()
    if backend == "cudnn":
        return _by_cudnn(a, b, counts, alphas, dtype)
    run = package.function("flashinfer.gemm", "group_gemm_nvfp4_nt_groupwise")
    starts = scales.starts(counts, 4)
    places = _places(counts, starts, a.packed.device)
    made = run(
        _spread(a.packed, places, starts[-1]),
        b.packed,
        _tiles(a.scales, counts, starts),
        scales.plane(b),
        package.numbers(tuple(starts), a.packed.device),
        alpha=alphas,
        out_dtype=dtype,
    )
    picked: torch.Tensor = made[places]
    return picked


def _by_cudnn(
    a: Operand, b: Operand, counts: list[int], alphas: torch.Tensor, dtype: torch.dtype
) -> torch.Tensor:
    """Multiply groups padded to whole tiles of scales; its alpha is one for all, so that each group's own follows in float32."""
    run = package.function("flashinfer.grouped_mm", "grouped_mm_fp4")
    starts = scales.starts(counts, Layout.ROWS_128.value)
    places = _places(counts, starts, a.packed.device)
    made = run(
        _spread(a.packed, places, starts[-1]),
        b.packed,
        scales.e4m3(scales.grouped(a.scales, counts)),
        scales.e4m3(scales.plane(b)),
        package.numbers(tuple(starts), a.packed.device),
        out_dtype=torch.float32,
    )
    whose = tuple(group for group, count in enumerate(counts) for _ in range(count))
    each = alphas[package.numbers(whose, alphas.device, torch.int64)]
    picked: torch.Tensor = (made[places] * each[:, None]).to(dtype)
    return picked


def _places(counts: list[int], starts: list[int], device: torch.device) -> torch.Tensor:
    """Return the row that each row of A has once its group starts at a given one: int64 (M,)."""
    told = [
        start + row for count, start in zip(counts, starts, strict=False) for row in range(count)
    ]
    return package.numbers(tuple(told), device, torch.int64)


def _spread(packed: torch.Tensor, places: torch.Tensor, rows: int) -> torch.Tensor:
    made = packed.new_zeros(rows, packed.shape[1])
    made[places] = packed
    return made


def _tiles(flat: torch.Tensor, counts: list[int], starts: list[int]) -> torch.Tensor:
    """Lay each group's tiles where `group_gemm_nvfp4_nt_groupwise` looks: (start + group * 127) // 128 tiles from the first."""
    high = Layout.ROWS_128.value
    wide = padded(1, flat.shape[-1], layout=Layout.ROWS_128)[1]
    first = [(start + group * (high - 1)) // high for group, start in enumerate(starts)]
    made = flat.new_zeros(first[-1] * high, wide)
    for part, tile in zip(torch.split(flat, counts), first, strict=False):
        placed = swizzle(part, layout=Layout.ROWS_128).reshape(-1, wide)
        made[tile * high : tile * high + placed.shape[0]] = placed
    return made
