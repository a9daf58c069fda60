"""vLLM's NVFP4 cache, written by `reshape_and_cache_flash(…, "nvfp4")`.

A page is K data, K scales, V data, V scales, each for all heads and places. Scales of K are in rows; those of V are in the order
of TensorRT-LLM's attention kernels for 10x, four places interleaved, whatever the GPU. Sources:
`csrc/libtorch_stable/nvfp4_kv_cache_kernels.cu`, `vllm/utils/torch_utils.py` (`nvfp4_split_data_scale`). Of 9 bytes 8 are data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

import torch

from probes.reference import nvfp4
from probes.subject import NotOfferedError
from probes.subjects import package

DEQUANTIZE: Final = ("flashinfer.quantization", "flashinfer.quantization.fp4_quantization")
"""Where FlashInfer's `nvfp4_kv_dequantize` stands: it was exported later than made."""

_INTERLEAVED: Final = 4
"""Places whose V scales are interleaved."""


_MULTIPLE: Final = _INTERLEAVED * nvfp4.BLOCK
"""Head sizes for which that order stays within its four places; the writer checks for multiples of 16 alone."""


@dataclass(frozen=True, kw_only=True)
class Cache:
    """`pages`: uint8 (pages, 2 * heads, page size, data and scales of a head), keys' heads first; `inverses` of the multipliers."""

    pages: torch.Tensor
    dtype: torch.dtype
    inverses: tuple[torch.Tensor, torch.Tensor]


def empty(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    multipliers: tuple[torch.Tensor, torch.Tensor],
    device: torch.device,
) -> Cache:
    """Make a cache of zeros; `shape`: pages, page size, heads, head size."""
    if "nvfp4" not in get_args(package.function("vllm.config.cache", "CacheDType")):
        raise NotOfferedError("this release of vLLM has no KV cache of type nvfp4")
    pages, places, heads, size = shape
    if size % _MULTIPLE:
        raise NotOfferedError(f"V's scales take heads of multiples of {_MULTIPLE}, not of {size}")
    each = size // 2 + size // nvfp4.BLOCK
    first, second = (one.reciprocal().reshape(1) for one in multipliers)
    return Cache(
        pages=torch.zeros(pages, 2 * heads, places, each, dtype=torch.uint8, device=device),
        dtype=dtype,
        inverses=(first, second),
    )


def write(cache: Cache, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor) -> None:
    """Write (T, heads, head size) to `slots`, int64 (T,), as vLLM's FlashInfer backend does on 10x."""
    write_to = package.operator("_C_cache_ops", "reshape_and_cache_flash")
    first, second = cache.pages.transpose(1, 2).tensor_split(2, dim=-2)
    write_to(keys, values, first, second, slots, "nvfp4", *cache.inverses)


def read(cache: Cache, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Read `slots` back by FlashInfer's kernel: keys and values (T, heads, head size). vLLM has none of its own for it."""
    decode = package.first(DEQUANTIZE, "nvfp4_kv_dequantize")
    pages, both, places, full = cache.pages.shape
    heads = both // 2
    made = []
    for index, side in enumerate(cache.pages.tensor_split(2, dim=1)):
        codes, scales = side.flatten(1).tensor_split((heads * places * full // 9 * 8,), dim=1)
        told = scales.reshape(pages, heads, places, full // 9)
        if index:
            told = _in_rows(told)
        whole = (codes.reshape(pages, heads, places, -1), told)
        picked = [each[slots // places, :, slots % places] for each in whole]
        flat = [each.flatten(0, 1).contiguous() for each in picked]
        values = decode(flat[0], flat[1], cache.inverses[index], output_dtype=cache.dtype)
        made.append(values.reshape(*picked[0].shape[:2], -1))
    return made[0], made[1]


def _in_rows(scales: torch.Tensor) -> torch.Tensor:
    """Undo the order of V's scales: (pages, heads, places, columns).

    Place t and column s lie in row t // 4 * 4 + s // (columns / 4) and column s % (columns / 4) * 4 + t % 4.
    """
    pages, heads, places, columns = scales.shape
    shape = (
        pages,
        heads,
        places // _INTERLEAVED,
        _INTERLEAVED,
        columns // _INTERLEAVED,
        _INTERLEAVED,
    )
    # (…, s // (columns / 4), s % (columns / 4), t % 4) to (…, t % 4, s // (columns / 4), s % (columns / 4))
    return scales.reshape(shape).permute(0, 1, 2, 5, 3, 4).reshape(scales.shape)
