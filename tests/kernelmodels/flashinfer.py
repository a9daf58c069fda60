"""Models of the kernels behind FlashInfer's Python: what it would compile and load is answered by the reference.

Sources: `csrc/nv_internal/…/quantization`, `csrc/fp4_gemm_cutlass.cu`, `csrc/fp4_kv_quantization.cu`, `page.cuh`,
`gemm/group_gemm_nvfp4_groupwise_sm120.cuh`, `csrc/fused_moe/cutlass_backend`. A kernel without a model ends the call: ReachedError.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from probes.reference import mxfp4, nvfp4, product
from probes.reference.layout import Layout
from tests.kernelmodels import contract
from tests.kernelmodels.survey import ReachedError


def install(calls: list[str]) -> None:
    """Answer for what FlashInfer builds and loads; the name of each kernel that runs is added to `calls`."""
    _state_capability()
    core: Any = importlib.import_module("flashinfer.jit.core")
    core.JitSpec.build_and_load = lambda spec: Module(spec.name, calls)
    loader: Any = importlib.import_module("flashinfer.jit.cubin_loader")
    loader.download_file = lambda source, *_args, **_kwargs: _reached(f"download {source}")
    for library, name, end in (
        ("cutlass.cute", "compile", Compiler()),
        ("cudnn", "create_handle", lambda *_args: _reached("cudnn.create_handle")),
    ):
        try:
            setattr(importlib.import_module(library), name, end)
        except ImportError:
            continue


def _reached(what: str) -> None:
    raise ReachedError(what)


def _state_capability() -> None:
    """Let FlashInfer ask a CPU for its compute capability: modules hold the function by name, so its code is what changes."""
    utils = importlib.import_module("flashinfer.utils")
    for name, answer in (("get_compute_capability", _capability), ("device_support_pdl", _pdl)):
        function = getattr(utils, name)
        getattr(function, "__wrapped__", function).__code__ = answer.__code__


def _capability(device: Any) -> Any:
    del device
    import torch  # noqa: PLC0415 - runs as FlashInfer's code, with FlashInfer's globals

    return torch.cuda.get_device_capability()


def _pdl(device: Any) -> bool:
    del device
    return False


class Compiler:
    """In the place of `cute.compile`, which needs a GPU for what it makes."""

    def __call__(self, kernel: Any, *_args: Any, **_kwargs: Any) -> Any:
        """End the call."""
        raise ReachedError(f"cute.compile of {getattr(kernel, '__name__', type(kernel).__name__)}")

    def __getitem__(self, _options: Any) -> Compiler:
        """Take options."""
        return self


class Module:
    """In the place of a compiled module: functions that have a model."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name, self._calls = name, calls

    def __call__(self, *given: Any) -> Any:
        """End the call: a kernel that was compiled by itself."""
        raise ReachedError(f"{self._name} with {len(given)} arguments")

    def __getattr__(self, function: str) -> Callable[..., Any]:
        model = MODELS.get(function)

        def run(*given: Any) -> Any:
            self._calls.append(f"{self._name}.{function}")
            if model is None:
                raise ReachedError(f"{self._name}.{function} with {len(given)} arguments")
            return model(*given)

        return run


def _layout(swizzled: bool, rows_of_8: bool) -> Layout | None:
    if not swizzled:
        return None
    return Layout.ROWS_8 if rows_of_8 else Layout.ROWS_128


def _quantize(  # noqa: PLR0917 - as the kernel takes them
    values: torch.Tensor,
    multiplier: torch.Tensor | None,
    packed: torch.Tensor,
    scales: torch.Tensor,
    block: int,
    powers: bool,
    swizzled: bool,
    rows_of_8: bool,
    *rest: Any,
) -> None:
    del block, rest
    layout = _layout(swizzled, rows_of_8)
    if powers:
        one = mxfp4.quantize(values, rule=mxfp4.Rule.CEIL)
        contract.put(packed, one.packed)
        contract.put(scales, contract.placed(one.exponents, layout))
        return
    if multiplier is None:
        raise ValueError("NVFP4 takes a global scale")
    made = contract.quantized(values, multiplier)
    contract.put(packed, made.packed)
    contract.put(scales, contract.placed(made.scales, layout))


def _interleave(scales: torch.Tensor, out: torch.Tensor) -> None:
    contract.put(out, contract.placed(scales, Layout.ROWS_128))


def _multiply(  # noqa: PLR0917 - as the kernel takes them
    a: torch.Tensor,
    b: torch.Tensor,
    a_scales: torch.Tensor,
    b_scales: torch.Tensor,
    alpha: torch.Tensor,
    out: torch.Tensor,
    *rest: Any,
) -> None:
    del rest
    if not (b.is_contiguous() and b_scales.is_contiguous()):
        raise ValueError("B and its scales are row by row for the kernel")
    out.copy_(contract.multiplied(a, b, (a_scales, b_scales), alpha))


def _group_multiply(  # noqa: PLR0917 - as the kernel takes them
    room: torch.Tensor,
    more: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    a_scales: torch.Tensor,
    b_scales: torch.Tensor,
    out: torch.Tensor,
    alpha: torch.Tensor,
    starts: torch.Tensor,
    *rest: Any,
) -> None:
    del room, more, rest
    places = starts.tolist()
    for group in range(len(places) - 1):
        rows = slice(places[group], places[group + 1])
        if rows.start % 4:
            raise ValueError("a group starts at a multiple of 4")
        first = (rows.start + group * 127) // 128 * 128
        if rows.start < rows.stop:
            planes = a_scales[first:], b_scales[group]
            made = contract.multiplied(a[rows], b[group], planes, alpha[group])
            out[rows] = made.to(out.dtype)


def _kv_quantize(
    values: torch.Tensor, inverse: torch.Tensor, packed: torch.Tensor, scales: torch.Tensor
) -> None:
    made = contract.quantized(values, inverse.reciprocal())
    contract.put(packed, made.packed)
    contract.put(scales, made.scales)


def _kv_dequantize(
    packed: torch.Tensor, scales: torch.Tensor, inverse: torch.Tensor, out: torch.Tensor
) -> None:
    out.copy_(contract.decoded(packed, scales, inverse))


def _append(  # noqa: PLR0917 - as the kernel takes them
    keys: torch.Tensor,
    values: torch.Tensor,
    slots: torch.Tensor,
    key_data: torch.Tensor,
    value_data: torch.Tensor,
    key_scales: torch.Tensor,
    value_scales: torch.Tensor,
    key_inverse: torch.Tensor,
    value_inverse: torch.Tensor,
    layout: int,
) -> None:
    if layout != 0:
        raise ValueError("no model for heads before places")
    places = key_data.shape[1]
    for each, data, scales, inverse in (
        (keys, key_data, key_scales, key_inverse),
        (values, value_data, value_scales, value_inverse),
    ):
        made = contract.quantized(each, inverse.reciprocal())
        data[slots // places, slots % places] = made.packed
        told = scales.view(torch.uint8)
        told[slots // places, slots % places] = made.scales.view(torch.uint8)


class Experts:
    """The runner that `init` of the fused experts' module returns."""

    def get_tactic_num(self, *_args: Any) -> int:
        """Offer one tactic."""
        return 1

    def get_gemm1_tactic_count(self, *_args: Any) -> int:
        """Offer one tactic."""
        return 1

    get_gemm2_tactic_count = get_gemm1_tactic_count

    def run_moe(self, *given: Any) -> None:
        """Fill the output, rows of the first product up over gate."""
        out, hidden, ids, weights, first, _, second, _, scales = given[:9]
        count, size = second.shape[0], out.shape[1]
        inner = first.shape[1] // 2
        sides = []
        for packed, told, rows in ((first, scales[1], 2 * inner), (second, scales[4], size)):
            codes = packed.view(torch.uint8)
            flat = told.view(torch.uint8).reshape(count, -1)
            columns = codes.shape[-1] // 8
            linear = [contract.in_rows(each, rows, columns) for each in flat]
            sides.append((codes, torch.stack(linear).view(torch.float8_e4m3fn)))
        experts = product.Experts(
            gate_up=_weights(sides[0], scales[0], scales[2]),
            down=_weights(sides[1], scales[3], scales[5]),
            gate_up_activation_multiplier=scales[0],
            down_activation_multiplier=scales[3],
            gate_first=False,
        )
        if (
            hidden.dtype == torch.uint8
        ):  # quantized by the caller: on the grid, and quantized to the same once more
            codes = hidden
            told = contract.in_rows(given[9], codes.shape[0], codes.shape[1] // 8)
            hidden = (contract.dequantized(codes, told) / scales[0].reshape(())).to(out.dtype)
        made = product.moe(hidden, experts, expert_ids=ids, expert_weights=weights)
        out.copy_(made)


def _weights(
    side: tuple[torch.Tensor, torch.Tensor], activation: torch.Tensor, alphas: torch.Tensor
) -> nvfp4.Nvfp4:
    """Read a multiplier of weights back out of alpha = 1 / (activation's * weights')."""
    multiplier = (alphas.double() * activation.double()).reciprocal().float().reshape(-1, 1, 1)
    return nvfp4.Nvfp4(packed=side[0], scales=side[1], global_scale_multiplier=multiplier)


MODELS: dict[str, Callable[..., Any]] = {
    "fp4_quantize": _quantize,
    "block_scale_interleave_sm100": _interleave,
    "block_scale_interleave": _interleave,
    "fp4_gemm": _multiply,
    "fp4_gemm_tactic_num": lambda: 1,
    "group_gemm_nvfp4_nt_groupwise": _group_multiply,
    "nvfp4_kv_quant": _kv_quantize,
    "nvfp4_kv_dequant": _kv_dequantize,
    "nvfp4_quantize_append_paged_kv_cache_with_slot_mapping": _append,
    "init": lambda *_: Experts(),
    "set_deepgemm_jit_include_dirs": lambda *_: None,
}
