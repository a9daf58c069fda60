"""vLLM that chooses in its quantization schemes, as they are made: 0.12.0, and W4A16 layers up to 0.20.

A checkpoint's quantization configuration is given to the library's own class for it, which is asked for the
method of a layer. The method that it makes holds the choice, or calls one function alone. No weights are made.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import Any

from probes.selection import stated, vllm_cache, vllm_oracle
from probes.selection.answer import Answer, Candidate, unknown, words
from probes.selection.stated import Gpu

_QUANTIZATION = "vllm.model_executor.layers.quantization"
_COMPRESSED = f"{_QUANTIZATION}.compressed_tensors.compressed_tensors"
_MODELOPT = f"{_QUANTIZATION}.modelopt"
_CHECKS = f"{_QUANTIZATION}.utils.quant_utils"
_MARLIN = f"{_QUANTIZATION}.utils.marlin_utils_fp4"
_FLASHINFER = "vllm.utils.flashinfer"
_SUPPORT = f"{_QUANTIZATION}.utils.flashinfer_fp4_moe"
_LINEAR = "vllm.model_executor.layers.linear"
_MOE = "vllm.model_executor.layers.fused_moe"

MODULES = (_COMPRESSED, _MODELOPT, _LINEAR, f"{_MOE}.layer", f"{_MOE}.config")

_GROUP = {"num_bits": 4, "type": "float", "symmetric": True, "group_size": 16}
_WEIGHTS = {**_GROUP, "strategy": "tensor_group", "dynamic": False}
_ACTIVATIONS = {**_GROUP, "strategy": "tensor_group", "dynamic": "local"}

_LAYER = "model.layers.0.self_attn.o_proj"
_EXPERTS = "model.layers.0.mlp.experts"

CALLS = {
    "flashinfer-cutlass": "mm_fp4(cutlass)",
    "flashinfer-trtllm": "mm_fp4(trtllm)",
    "flashinfer-cudnn": "mm_fp4(cudnn)",
}

_FUNCTIONS = {"cutlass": "cutlass_scaled_fp4_mm"}
"""The function that multiplies, for a backend whose name says no more than who wrote it."""

_MULTIPLY = frozenset(
    {"apply_fp4_marlin_linear", "cutlass_scaled_fp4_mm", "flashinfer_scaled_fp4_mm", "run_nvfp4_emulations"}
)  # fmt: skip
"""What multiplies an NVFP4 weight. A scheme without a choice names one of them in its body."""

ASKED_FOR: dict[str, dict[str, object]] = {
    **vllm_oracle.ASKED_FOR,
    "dense_w4a4": {
        "checkpoint": "compressed-tensors nvfp4-pack-quantized; ModelOpt where it says so",
        "activations": "NVFP4",
        "VLLM_NVFP4_GEMM_BACKEND": "not set",
    },
    "dense_w4a16": {
        "checkpoint": "compressed-tensors nvfp4-pack-quantized",
        "activations": "BF16",
    },
    **{
        kind: {
            **{
                name: value
                for name, value in vllm_oracle.ASKED_FOR[kind].items()
                if name not in ("moe_backend", "activation", "routing")
            },
            "checkpoint": "compressed-tensors nvfp4-pack-quantized",
            "VLLM_USE_FLASHINFER_MOE_FP4": "not set",
        }
        for kind in ("moe_w4a4", "moe_w4a16")
    },
}

LATER = {**vllm_oracle.ASKED_FOR, "dense_w4a16": ASKED_FOR["dense_w4a16"]}
"""For releases of which only the W4A16 layers are asked here."""


def _module(name: str) -> Any:
    return importlib.import_module(name)


def _compressed(*, weight_only: bool) -> Any:
    """Return the library's own object for a compressed-tensors checkpoint's configuration."""
    group = {
        "targets": ["Linear"],
        "weights": _WEIGHTS,
        "input_activations": None if weight_only else _ACTIVATIONS,
        "output_activations": None,
    }
    return _module(_COMPRESSED).CompressedTensorsConfig.from_config(
        {
            "quant_method": "compressed-tensors",
            "format": "nvfp4-pack-quantized",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head"],
        }
    )


def _modelopt() -> Any:
    told = {"quant_algo": "NVFP4", "kv_cache_quant_algo": None, "group_size": 16}
    return _module(_MODELOPT).ModelOptNvFp4Config.from_config(
        {"quantization": {**told, "exclude_modules": ["lm_head"]}}
    )


def _bare(module: str, name: str) -> Any:
    """Return a layer of the library's own class that holds nothing: its kind alone is asked for."""
    kind = getattr(_module(module), name)
    layer = kind.__new__(kind)
    _module("torch").nn.Module.__init__(layer)
    return layer


def _linear(configuration: Any) -> Any:
    """Return what a linear layer of a checkpoint computes with: its scheme, or its method."""
    layer = _bare(_LINEAR, "LinearBase")
    method = configuration.get_quant_method(layer, _LAYER)
    return getattr(layer, "scheme", method)


def _named(made: Any) -> tuple[str, str]:
    """Return the choice that a scheme or method holds, and the function or "".

    One without a choice is its own class, and the one function that its body names. Raises
    LookupError where it names none or several.
    """
    backend = getattr(made, "backend", None)
    if isinstance(backend, str):
        return backend, _FUNCTIONS.get(backend, "")
    name = type(made).__name__
    body = getattr(made, "apply_weights", None) or made.apply
    named = sorted(_MULTIPLY.intersection(body.__code__.co_names))
    if len(named) != 1:
        raise LookupError(f"what {name} would call is not in one place: {named or 'nothing known'}")
    return name, named[0]


def dense(gpu: Gpu) -> Answer:
    """Ask for a layer with FP4 activations: of both kinds of checkpoint, since each chooses by itself."""
    del gpu  # the stated platform tells
    asked = _able()
    with stated.configured():
        try:
            name, function = _named(_linear(_compressed(weight_only=False)))
        except (ValueError, AssertionError, RuntimeError) as error:
            return Answer("none", reason=words(error), candidates=asked, order=_ORDER)
        other = _other()
    told = "" if other == name else f"of a ModelOpt checkpoint: {other}"
    return Answer("chosen", name, function, told, asked, _ORDER)


def _other() -> str:
    try:
        return _named(_linear(_modelopt()))[0]
    except Exception as error:  # noqa: BLE001 - whatever it raises is its answer
        return words(error)


_ORDER = ("flashinfer-cutlass", "cutlass", "marlin")


def _able() -> tuple[Candidate, ...]:
    checks = (
        ("flashinfer-cutlass", _FLASHINFER, "has_flashinfer"),
        ("cutlass", _CHECKS, "cutlass_fp4_supported"),
        ("marlin", _MARLIN, "is_fp4_marlin_supported"),
    )
    return tuple(_candidate(name, module, check) for name, module, check in checks)


def _candidate(name: str, module: str, check: str) -> Candidate:
    kernel, calls = _FUNCTIONS.get(name, ""), CALLS.get(name, "")
    try:
        able = bool(getattr(_module(module), check)())
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        return Candidate(name, None, words(error), kernel, calls)
    return Candidate(name, able, "" if able else f"{check}() says no", kernel, calls)


def weight_only(gpu: Gpu) -> Answer:
    """Ask for a layer with 16-bit activations: the scheme for it, which calls one function."""
    del gpu
    with stated.configured():
        try:
            name, function = _named(_linear(_compressed(weight_only=True)))
        except (ValueError, AssertionError, RuntimeError) as error:
            return Answer("none", reason=words(error))
        except LookupError as error:
            return unknown(words(error))
    return Answer("chosen", name, function, "", (Candidate(name, supported=True, kernel=function),))


def _experts(gpu: Gpu, *, weight_only: bool) -> Answer:
    del gpu
    asked = tuple(_moe_candidates())
    with stated.configured():
        layer = _bare(f"{_MOE}.layer", "FusedMoE")
        layer.moe_config = vllm_oracle.experts_configuration()
        try:
            method = _compressed(weight_only=weight_only).get_quant_method(layer, _EXPERTS)
        except (ValueError, RuntimeError) as error:
            return Answer("none", reason=words(error), candidates=asked)
        except AttributeError as error:
            if getattr(error, "obj", error) is not None:
                raise
            # It asks the description of the activations, which such a checkpoint has not, unlooked.
            told = f"loading such a checkpoint fails: {words(error)}"
            return Answer("none", reason=told, candidates=asked)
    if hasattr(method, "nvfp4_backend"):
        name = method.nvfp4_backend.name
        asked = tuple(each._replace(name=_LATER.get(each.name, each.name)) for each in asked)
    elif method.use_marlin:
        name = "MARLIN"
    elif method.flashinfer_moe_backend is not None:
        name = method.flashinfer_moe_backend.name
    elif "cutlass_moe_fp4" in method.apply.__code__.co_names:
        name = "cutlass_moe_fp4"
    else:
        return unknown(f"what {type(method).__name__} would call is not known")
    return Answer("chosen", name, "", f"by {type(method).__name__}", asked)


_LATER = {
    "CUTLASS": "FLASHINFER_CUTLASS",
    "CUTEDSL": "FLASHINFER_CUTEDSL",
    "cutlass_moe_fp4": "VLLM_CUTLASS",
}
"""What 0.14 calls the backends of before."""


def _moe_candidates() -> Iterable[Candidate]:
    for name, module, check in (
        ("CUTLASS", _SUPPORT, "is_flashinfer_fp4_cutlass_moe_available"),
        ("CUTEDSL", _SUPPORT, "is_flashinfer_fp4_cutedsl_moe_available"),
        ("cutlass_moe_fp4", _CHECKS, "cutlass_fp4_supported"),
        ("MARLIN", _MARLIN, "is_fp4_marlin_supported"),
    ):
        yield _candidate(name, module, check)


KINDS = {
    "dense_w4a4": dense,
    "dense_w4a16": weight_only,
    "moe_w4a4": lambda gpu: _experts(gpu, weight_only=False),
    "moe_w4a16": lambda gpu: _experts(gpu, weight_only=True),
    "kv_cache": vllm_cache.cache,
}
