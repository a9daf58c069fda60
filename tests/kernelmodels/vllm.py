"""Models of vLLM's operators: its own schemas take the call, the reference answers it.

Sources: `csrc/libtorch_stable/quantization/fp4`, `csrc/…/moe_data.cu`, `csrc/…/nvfp4_kv_cache_kernels.cu`.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import torch

from probes.reference import mxfp4
from probes.reference.layout import Layout
from tests.kernelmodels import contract, flashinfer

Given = dict[str, Any]
_library: Any = torch.library.Library
_HELD: list[Any] = []
_REGISTERS = "vllm.model_executor.layers.quantization.utils.marlin_utils_fp4"
"""A module that registers operators of its own when it is imported."""


def install(calls: list[str]) -> None:
    """Implement each operator that this release has for the CPU; the name of each one that runs is added to `calls`."""
    importlib.import_module(_REGISTERS)
    torch._scaled_mm = _scaled(calls)
    if importlib.util.find_spec("flashinfer") is not None:
        flashinfer.install(calls)
        _reach(importlib.import_module("vllm.utils.flashinfer"))
    for (namespace, name), model in MODELS.items():
        held = getattr(torch.ops, namespace)
        if not hasattr(held, name):
            continue
        library: Any = _library(namespace, "IMPL")
        _HELD.append(library)
        for overload in getattr(held, name).overloads():
            operator = getattr(getattr(held, name), overload)
            full = name if overload == "default" else f"{name}.{overload}"
            library.impl(full, _bound(operator, model, f"{namespace}.{full}", calls), "CPU")


def _reach(wrappers: Any) -> None:
    """Let vLLM's operator around `mm_fp4`, which is registered for GPUs alone, call it on the CPU as well."""
    held = getattr(wrappers, "flashinfer_mm_fp4", None)
    if held is not None:
        held.register_kernel("cpu")(held._init_fn)


def _scaled(calls: list[str]) -> Any:
    def run(
        a: torch.Tensor,
        b: torch.Tensor,
        *,
        scale_a: torch.Tensor,
        scale_b: torch.Tensor,
        out_dtype: torch.dtype,
    ) -> torch.Tensor:
        calls.append("aten._scaled_mm")
        told = a.view(torch.uint8), b.t().view(torch.uint8)
        made = contract.multiplied(*told, (scale_a, scale_b), torch.ones(1))
        return made.to(out_dtype)

    return run


def _bound(operator: Any, model: Callable[[Given], Any], name: str, calls: list[str]) -> Any:
    arguments = [argument.name for argument in operator._schema.arguments]

    def run(*values: Any, **named: Any) -> Any:
        calls.append(name)
        return model(dict(zip(arguments, values, strict=False)) | named)

    return run


def _quantize(given: Given) -> Any:
    made = contract.quantized(given["input"], given["input_scale"])
    layout = Layout.ROWS_128 if given.get("is_sf_swizzled_layout", True) else None
    told = contract.placed(made.scales, layout)
    if "output" not in given:
        return made.packed, told
    contract.put(given["output"], made.packed)
    contract.put(given["output_scale"], told)
    return None


def _silu(given: Given) -> None:
    made = contract.quantized(contract.silu_and_mul(given["input"]), given["input_global_scale"])
    contract.put(given["result"], made.packed)
    contract.put(given["result_block_scale"], contract.placed(made.scales, Layout.ROWS_128))


def _multiply(given: Given) -> None:
    planes = given["block_scale_a"], given["block_scale_b"]
    given["out"].copy_(contract.multiplied(given["a"], given["b"], planes, given["alpha"]))


def _groups(given: Given) -> Any:
    """Yield number, rows of A, and first row of scales of each group."""
    firsts = given["expert_offsets"].tolist()
    tiles = given["sf_offsets"].tolist()
    for expert, (rows, n, k) in enumerate(given["problem_sizes"].tolist()):
        if (n, k) != (given["b"].shape[1], given["b"].shape[2] * 2):
            raise ValueError(f"problem {n} x {k} is not that of the weights")
        if rows:
            yield expert, slice(firsts[expert], firsts[expert] + rows), tiles[expert]


def _group_multiply(given: Given) -> None:
    for expert, rows, tile in _groups(given):
        planes = given["a_blockscale"][tile:], given["b_blockscales"][expert]
        alpha = given["alphas"][expert]
        made = contract.multiplied(given["a"][rows], given["b"][expert], planes, alpha)
        given["out"][rows] = made.to(given["out"].dtype)


def _group_multiply_mxfp4(given: Given) -> None:
    for expert, rows, tile in _groups(given):
        planes = given["a_blockscale"][tile:], given["b_blockscales"][expert]
        made = contract.multiplied_mxfp4(given["a"][rows], given["b"][expert], planes)
        given["out"][rows] = made.to(given["out"].dtype)


def _data(given: Given) -> None:
    """Sort (token, choice) pairs by expert, as `get_cutlass_moe_mm_data` does."""
    ids, count = given["topk_ids"], given["num_experts"]
    n, k = given["n"], given["k"]
    high = 2 * n if given.get("is_gated", True) else n
    order = torch.argsort(ids.reshape(-1), stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(order.numel())
    given["input_permutation"].copy_(order // ids.shape[1])
    given["output_permutation"].copy_(place)
    rows = torch.bincount(ids.reshape(-1).long(), minlength=count)
    for name, sizes in (("problem_sizes1", (high, k)), ("problem_sizes2", (k, n))):
        given[name].copy_(torch.tensor([[m, *sizes] for m in rows.tolist()]))
    tiles = (rows + 127) // 128 * 128
    for name, each in (("expert_offsets", rows), ("blockscale_offsets", tiles)):
        given[name].copy_(torch.nn.functional.pad(each.cumsum(0), (1, 0)))


def _experts_quantize(given: Given, *, silu: bool = False) -> None:
    values = contract.silu_and_mul(given["input"]) if silu else given["input"]
    starts = given["input_offset_by_experts"].tolist()
    tiles = given["output_scale_offset_by_experts"].tolist()
    for expert in range(len(starts) - 1):
        rows = slice(starts[expert], starts[expert + 1])
        if rows.start == rows.stop:
            continue
        if "input_global_scale" in given:
            made = contract.quantized(values[rows], given["input_global_scale"][expert])
            told = contract.placed(made.scales, Layout.ROWS_128)
        else:
            one = mxfp4.quantize(values[rows], rule=mxfp4.Rule.CEIL)
            made, told = one, contract.placed(one.exponents, Layout.ROWS_128)  # type: ignore[assignment]
        given["output"][rows] = made.packed
        contract.put(given["output_scale"][tiles[expert] :], told)


def _activate(given: Given) -> None:
    names = list(given)
    given[names[0]].copy_(contract.silu_and_mul(given[names[1]]))


def _rows(given: Given) -> None:
    given["output_tensor"].copy_(given["input_tensor"][given["dst2src_map"].long()])


def _qutlass(given: Given) -> torch.Tensor:
    planes = given["A_sf"], given["B_sf"]
    return contract.multiplied(given["A"], given["B"], planes, given["alpha"]).bfloat16()


def _qutlass_mxfp4(given: Given) -> torch.Tensor:
    planes = given["A_sf"], given["B_sf"]
    alpha: torch.Tensor = given["alpha"]
    return (contract.multiplied_mxfp4(given["A"], given["B"], planes) * alpha).bfloat16()


def _cache(given: Given) -> None:
    """Write a page as K data, K scales, V data, V scales, V's scales by fours of places."""
    if given["kv_cache_dtype"] != "nvfp4":
        raise ValueError(f"no model for a cache of {given['kv_cache_dtype']}")
    for index, side in enumerate(("key", "value")):
        cache, inverse = given[f"{side}_cache"], given["k_scale" if index == 0 else "v_scale"]
        _, places, heads, full = cache.shape
        if cache.stride()[1:] != (full, places * full, 1):
            raise ValueError(f"heads are not before places: {cache.stride()}")
        data = full * 8 // 9
        made = contract.quantized(given[side], inverse.reciprocal())
        told = made.scales.view(torch.uint8)
        for token, slot in enumerate(given["slot_mapping"].tolist()):
            page, place = divmod(slot, places)
            start = cache.storage_offset() + page * cache.stride(0)
            flat = torch.as_strided(cache, (heads * places * full,), (1,), start)
            codes = flat[: heads * places * data].view(heads, places, data)
            scales = flat[heads * places * data :].view(heads, places, full - data)
            codes[:, place] = made.packed[token]
            for column in range(full - data):
                row, at = place, column
                if index:
                    group = (full - data) // 4
                    row, at = place // 4 * 4 + column // group, column % group * 4 + place % 4
                scales[:, row, at] = told[token, :, column]


def _repack(given: Given) -> torch.Tensor:
    return torch.zeros(given["size_k"] // 16, given["size_n"] * 2, dtype=torch.int32)


def _fused(given: Given) -> torch.Tensor:
    made: torch.Tensor | None = given.get("c_or_none")
    if made is None:
        made = torch.empty(given["size_m"] * given["top_k"], given["size_n"], dtype=torch.bfloat16)
    return made.zero_()


def _marlin(given: Given) -> torch.Tensor:
    """Return zeros: Marlin's permutations are not modelled, the call is."""
    return torch.zeros(given["size_m"], given["size_n"], dtype=given["a"].dtype)


MODELS: dict[tuple[str, str], Callable[[Given], Any]] = {
    ("_C", "scaled_fp4_quant"): _quantize,
    ("_C", "silu_and_mul_nvfp4_quant"): _silu,
    ("_C", "cutlass_scaled_fp4_mm"): _multiply,
    ("_C", "cutlass_fp4_group_mm"): _group_multiply,
    ("_C", "cutlass_mxfp4_group_mm"): _group_multiply_mxfp4,
    ("_C", "get_cutlass_moe_mm_data"): _data,
    ("_C", "scaled_fp4_experts_quant"): _experts_quantize,
    ("_C", "silu_and_mul_scaled_fp4_experts_quant"): lambda given: _experts_quantize(
        given, silu=True
    ),
    ("_C", "mxfp4_experts_quant"): _experts_quantize,
    ("_C", "silu_and_mul"): _activate,
    ("_C", "marlin_gemm"): _marlin,
    ("_C", "gptq_marlin_gemm"): _marlin,
    ("_C", "gptq_marlin_repack"): _repack,
    ("vllm", "marlin_gemm"): _marlin,
    ("_moe_C", "shuffle_rows"): _rows,
    ("_moe_C", "moe_align_block_size"): lambda _given: None,
    ("_moe_C", "moe_sum"): lambda given: given["output"].copy_(given["input"].sum(1)) and None,
    ("_moe_C", "moe_wna16_marlin_gemm"): _fused,
    ("_C_cache_ops", "reshape_and_cache_flash"): _cache,
    ("_qutlass_C", "matmul_nvf4_bf16_tn"): _qutlass,
    ("_qutlass_C", "matmul_mxf4_bf16_tn"): _qutlass_mxfp4,
}
