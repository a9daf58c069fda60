"""FlashInfer's NVFP4 cache in pages of (places, heads): written by its kernels, read back and attended to by them.

Scales of keys and of values are in rows: what its FA2 and XQA kernels read. TensorRT-LLM's order of V's scales, for 10x, is
vLLM's to write. `k_scale` and `v_scale` are inverses of the multipliers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch

from probes.reference import nvfp4
from probes.subject import NotOfferedError
from probes.subjects import package

WRITERS: Final = ("append", "kv_quantize")
"""`nvfp4_quantize_append_paged_kv_cache_with_slot_mapping`, and `nvfp4_kv_quantize` whose output is laid into the pages here."""

_PLACES: Final = ("flashinfer.quantization", "flashinfer.quantization.fp4_quantization")
"""Where the functions of one tensor stand: they were exported later than made."""

READERS: Final = ("fa2", "xqa")
_WORKSPACE: Final = 128 << 20


@dataclass(frozen=True, kw_only=True)
class Cache:
    """`data` uint8 (pages, places, heads, size/2) and `scales` E4M3 (…, size/16), keys' and values'; `inverses` float32 (1,)."""

    data: tuple[torch.Tensor, torch.Tensor]
    scales: tuple[torch.Tensor, torch.Tensor]
    inverses: tuple[torch.Tensor, torch.Tensor]
    dtype: torch.dtype

    @cached_property
    def factors(self) -> tuple[float, float]:
        """The inverses on the host, fetched once: nothing may wait for the device while a CUDA graph is captured."""
        return float(self.inverses[0]), float(self.inverses[1])


def empty(
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    multipliers: tuple[torch.Tensor, torch.Tensor],
    device: torch.device,
) -> Cache:
    """Make a cache of zeros; `shape`: pages, places, heads, head size."""
    size = shape[-1]

    def zeros(last: int) -> torch.Tensor:
        return torch.zeros(*shape[:-1], last, dtype=torch.uint8, device=device)

    first, second = (one.reciprocal().reshape(1) for one in multipliers)
    told = (zeros(size // nvfp4.BLOCK), zeros(size // nvfp4.BLOCK))
    return Cache(
        data=(zeros(size // 2), zeros(size // 2)),
        scales=(told[0].view(torch.float8_e4m3fn), told[1].view(torch.float8_e4m3fn)),
        inverses=(first, second),
        dtype=dtype,
    )


def write(
    cache: Cache, keys: torch.Tensor, values: torch.Tensor, slots: torch.Tensor, backend: str
) -> None:
    """Write (T, heads, head size) to `slots`, int64 (T,)."""
    if backend == "kv_quantize":
        run = package.first(_PLACES, "nvfp4_kv_quantize")
        pages, places = slots // cache.data[0].shape[1], slots % cache.data[0].shape[1]
        for index, each in enumerate((keys, values)):
            packed, made = run(each.reshape(-1, each.shape[-1]), cache.inverses[index])
            cache.data[index][pages, places] = packed.reshape(*each.shape[:2], -1)
            told = made.view(torch.uint8).reshape(*each.shape[:2], -1)
            cache.scales[index].view(torch.uint8)[pages, places] = told
        return
    name = "nvfp4_quantize_append_paged_kv_cache_with_slot_mapping"
    run = package.first(("flashinfer", "flashinfer.page"), name)
    run(keys, values, slots, cache.data, cache.scales, *cache.inverses, kv_layout="NHD")


def read(cache: Cache, slots: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Read `slots` back by `nvfp4_kv_dequantize`: keys and values (T, heads, head size)."""
    run = package.first(_PLACES, "nvfp4_kv_dequantize")
    places = cache.data[0].shape[1]
    made = []
    for data, told, inverse in zip(cache.data, cache.scales, cache.inverses, strict=True):
        picked = [each.view(torch.uint8)[slots // places, slots % places] for each in (data, told)]
        codes, each = (one.flatten(0, 1).contiguous() for one in picked)
        values = run(codes, each, inverse, output_dtype=cache.dtype)
        made.append(values.reshape(*picked[0].shape[:2], -1))
    return made[0], made[1]


def attend(
    cache: Cache, queries: torch.Tensor, tables: torch.Tensor, lengths: torch.Tensor, backend: str
) -> torch.Tensor:
    """Return decode attention (R, query heads, head size); `tables` int32 (R, pages), `lengths` int32 (R,)."""
    if backend == "fa2":
        return _fa2(cache, queries, tables, lengths)
    keys, values = cache.factors
    run = package.function("flashinfer.decode", "trtllm_batch_decode_with_kv_cache")
    if not {"kv_cache_sf", "backend"} <= package.parameters(run):
        raise NotOfferedError("decode attention of this release takes no NVFP4 cache")
    made: torch.Tensor = run(
        query=queries,
        kv_cache=cache.data,
        workspace_buffer=_room(queries.device),
        block_tables=tables,
        seq_lens=lengths,
        max_seq_len=tables.shape[1] * cache.data[0].shape[1],
        bmm1_scale=keys / queries.shape[-1] ** 0.5,
        bmm2_scale=values,
        kv_layout="NHD",
        backend=backend,
        kv_cache_sf=cache.scales,
    )
    return made


def _room(device: torch.device) -> torch.Tensor:
    """Return a workspace of zeros, which XQA's counters are to be before their first use."""
    return torch.zeros(_WORKSPACE, dtype=torch.uint8, device=device)


def _fa2(
    cache: Cache, queries: torch.Tensor, tables: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Plan and run FlashInfer's own decode on tensor cores, as its wrapper has it."""
    if queries.is_cuda and torch.cuda.is_current_stream_capturing():
        raise NotOfferedError("its plan waits for the device, and is made outside of a CUDA graph")
    wrapper = package.function("flashinfer", "BatchDecodeWithPagedKVCacheWrapper")
    if "kv_cache_sf" not in package.parameters(wrapper.run):
        raise NotOfferedError("decode attention of this release takes no NVFP4 cache")
    places, heads, half = cache.data[0].shape[1:]
    counts = (lengths + places - 1) // places
    indices = torch.cat([row[:count] for row, count in zip(tables, counts.tolist(), strict=True)])
    starts = torch.nn.functional.pad(counts.cumsum(0), (1, 0)).to(torch.int32)
    room = _room(queries.device)
    planned: Any = wrapper(room, kv_layout="NHD", use_tensor_cores=True, backend="fa2")
    planned.plan(
        starts,
        indices.to(torch.int32),
        (lengths - 1) % places + 1,
        queries.shape[1],
        heads,
        half * 2,
        places,
        q_data_type=queries.dtype,
        kv_data_type=torch.uint8,
    )
    made: torch.Tensor = planned.run(
        queries,
        cache.data,
        k_scale=cache.factors[0],
        v_scale=cache.factors[1],
        kv_cache_sf=cache.scales,
    )
    return made
