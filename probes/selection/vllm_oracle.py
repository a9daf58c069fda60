"""vLLM with a list of kernel classes, an oracle for experts and attention backends behind the platform: 0.20.2, 0.27.1 and 0.33."""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from probes.selection import stated, vllm_cache
from probes.selection.answer import Answer, Candidate, unknown, words
from probes.selection.stated import Gpu

_LINEAR = "vllm.model_executor.kernels.linear"
_MOE = "vllm.model_executor.layers.fused_moe"
_ORACLE = f"{_MOE}.oracle.nvfp4"
_KEYS = "vllm.model_executor.layers.quantization.utils.quant_utils"

MODULES = (
    _LINEAR,
    _ORACLE,
    f"{_MOE}.config",
    f"{_MOE}.modular_kernel",
    _KEYS,
    *vllm_cache.MODULES,
)

WARM = (
    *(
        f"{_MOE}.experts.{name}"
        for name in (
            "trtllm_nvfp4_moe",
            "flashinfer_cutlass_moe",
            "flashinfer_cutedsl_moe",
            "flashinfer_cutedsl_batched_moe",
            "flashinfer_b12x_moe",
            "flashinfer_moe_ep",
            "marlin_moe",
            "nvfp4_emulation_moe",
        )
    ),
    f"{_MOE}.b12x",
    *vllm_cache.WARM,
    "vllm.v1.executor.abstract",
    "b12x.gemm.blockscaled.api",
    "b12x.moe.fused_moe._impl",
)
"""What the questions would import, once a child; imported before, it is imported once."""

_EXPERTS: dict[str, Any] = {
    "num_experts": 128,
    "experts_per_token": 8,
    "hidden_dim": 2048,
    "intermediate_size": 768,
}

_NVFP4 = "NVFP4: blocks of 16, E4M3 scales (ModelOpt; compressed-tensors nvfp4-pack-quantized)"
_ALONE: dict[str, object] = {"tensor_parallel": 1, "expert_parallel": False, "lora": False}
_MOE_ASKED: dict[str, object] = {
    "checkpoint": _NVFP4,
    **_EXPERTS,
    "activation": "silu",
    "routing": "Renormalize",
    "dtype": "bfloat16",
    "moe_backend": "auto",
    **_ALONE,
}
ASKED_FOR: dict[str, dict[str, object]] = {
    "dense_w4a4": {"checkpoint": _NVFP4, "activations": "NVFP4", "linear_backend": "auto"},
    "dense_w4a16": {"checkpoint": _NVFP4, "activations": "BF16", "linear_backend": "auto"},
    "moe_w4a4": {**_MOE_ASKED, "activations": "NVFP4"},
    "moe_w4a16": {**_MOE_ASKED, "activations": "BF16"},
    "kv_cache": vllm_cache.ASKED_FOR,
}

_WEIGHT_ONLY = (
    "B12xNvFp4W4A16LinearKernel",
    "FlashInferCuteDslNvFp4W4A16LinearKernel",
    "MarlinNvFp4LinearKernel",
    "HummingNvFp4LinearKernel",
)
"""The classes that `init_nvfp4_linear_kernel` allows a W4A16 checkpoint: written in its body, so repeated here."""

_NO_CHOICE = "this release has no choice of a kernel for W4A16 layers"

_QUANTIZES = "it quantizes activations: not for a W4A16 checkpoint"

CALLS = {
    "FlashInferCutlassNvFp4LinearKernel": "mm_fp4(cutlass)",
    "FlashInferTrtllmNvFp4LinearKernel": "mm_fp4(trtllm)",
    "FlashInferCudnnNvFp4LinearKernel": "mm_fp4(cudnn)",
    "FlashInferCuteDslNvFp4LinearKernel": "mm_fp4(cute-dsl)",
    "FlashInferB12xNvFp4LinearKernel": "mm_fp4(b12x)",
    "FlashInferCuteDslNvFp4W4A16LinearKernel": "mm_bf16_fp4(cute-dsl)",
    "FLASHINFER_CUTEDSL": "cute_dsl_fused_moe_nvfp4",
    "FLASHINFER_B12X": "b12x_fused_moe",
}
"""What FlashInfer operation each of these calls, where FlashInfer says for which GPUs it is."""


def _module(name: str) -> Any:
    return importlib.import_module(name)


@contextmanager
def _said(logger: str) -> Iterator[list[str]]:
    """Collect what one of vLLM's modules logs."""
    lines: list[str] = []
    heard = logging.getLogger(logger)
    handler = logging.Handler(logging.DEBUG)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    held = heard.level, heard.propagate
    heard.addHandler(handler)
    heard.setLevel(logging.INFO)
    heard.propagate = False
    try:
        yield lines
    finally:
        heard.removeHandler(handler)
        heard.level, heard.propagate = held


def _dense(gpu: Gpu, *, weight_only: bool) -> Answer:
    del gpu  # the stated platform tells
    linear = _module(_LINEAR)
    choose = linear.init_nvfp4_linear_kernel
    if weight_only and "use_a16" not in inspect.signature(choose).parameters:
        return unknown(_NO_CHOICE)
    listed = linear._POSSIBLE_NVFP4_KERNELS[linear.PlatformEnum.CUDA]  # noqa: SLF001 - upstream's list has no public name
    asked = [
        Candidate(kind.__name__, supported=False, reason=_QUANTIZES, kernel=kind.__name__)
        if weight_only and kind.__name__ not in _WEIGHT_ONLY
        else _kernel(kind)
        for kind in listed
    ]
    order = tuple(kind.__name__ for kind in listed)
    with stated.configured():
        try:
            chosen = type(choose(use_a16=True) if weight_only else choose()).__name__
        except (ValueError, AssertionError) as error:
            return Answer("none", reason=words(error), candidates=tuple(asked), order=order)
    exception = (
        f"a W4A16 checkpoint takes {chosen} here, whatever the list says" if weight_only else ""
    )
    return Answer("chosen", chosen, chosen, "", tuple(asked), order, exception)


def _kernel(kind: Any) -> Candidate:
    name = kind.__name__
    try:
        able, reason = kind.is_supported()
        if able:
            config = _module(f"{_LINEAR}.nvfp4").NvFp4LinearLayerConfig()
            able, reason = kind.can_implement(config)
    except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
        return Candidate(name, None, words(error), name, CALLS.get(name, ""))
    return Candidate(name, bool(able), reason or "", name, CALLS.get(name, ""))


def experts_configuration() -> Any:
    """Make the library's own description of the experts, with what it takes of the below."""
    layer = _module(f"{_MOE}.config")
    taken = inspect.signature(layer.FusedMoEConfig).parameters
    offered = {
        **_EXPERTS,
        "num_local_experts": _EXPERTS["num_experts"],
        "num_logical_experts": _EXPERTS["num_experts"],
        "device": "cuda",
        "moe_parallel_config": _alone(layer.FusedMoEParallelConfig),
        "in_dtype": _module("torch").bfloat16,
    }
    if "intermediate_size" not in taken:
        offered["intermediate_size_per_partition"] = _EXPERTS["intermediate_size"]
    if "activation" in taken:
        # Up to 0.16 a word, then a member of an enumeration.
        kinds = getattr(layer, "MoEActivation", None)
        offered["activation"] = kinds.SILU if kinds else "silu"
    if "routing_method" in taken:
        offered["routing_method"] = layer.RoutingMethodType.Renormalize
    return layer.FusedMoEConfig(**{name: offered[name] for name in offered if name in taken})


def _alone(parallel: Any) -> Any:
    """Make the description of one GPU alone, by the name that the release has for it."""
    if hasattr(parallel, "make_no_parallel"):
        return parallel.make_no_parallel()
    taken = inspect.signature(parallel.make).parameters
    offered = {"tp_size_": 1, "pcp_size_": 1, "dp_size_": 1, "sp_size_": 1}
    sizes = {name: offered[name] for name in offered if name in taken}
    return parallel.make(**sizes, vllm_parallel_config=_module("vllm.config").ParallelConfig())


def _experts(gpu: Gpu, *, weight_only: bool) -> Answer:
    del gpu
    oracle, keys = _module(_ORACLE), _module(_KEYS)
    modular = _module(f"{_MOE}.modular_kernel")
    with stated.configured(), _said(_ORACLE) as lines:
        config = experts_configuration()
        scheme = keys.kNvfp4Static, None if weight_only else keys.kNvfp4Dynamic
        standard = modular.FusedMoEActivationFormat.Standard
        asked = [
            candidate
            for backend in oracle.NvFp4MoeBackend
            for candidate in _backend(oracle, backend, config, scheme, standard)
        ]
        try:
            backend, kernel = oracle.select_nvfp4_moe_backend(config, *scheme)
        except (NotImplementedError, ValueError) as error:
            return Answer("none", reason=words(error), candidates=tuple(asked))
    order = _potential(lines)
    # Up to 0.16 a backend without a kernel of the modular kind has none to tell.
    name = kernel.__name__ if kernel else ""
    return Answer("chosen", backend.name, name, "", tuple(asked), order)


def _backend(
    oracle: Any, backend: Any, config: Any, scheme: tuple[Any, Any], standard: Any
) -> Iterator[Candidate]:
    try:
        kernels = oracle.backend_to_kernel_cls(backend)
    except Exception as error:  # noqa: BLE001 - a backend that does not import says so
        yield Candidate(backend.name, None, words(error))
        return
    for kernel in kernels if isinstance(kernels, (list, tuple)) else [kernels]:
        try:
            able, reason = kernel.is_supported_config(kernel, config, *scheme, standard)
        except Exception as error:  # noqa: BLE001 - whatever a check raises is its answer
            yield Candidate(backend.name, None, words(error), kernel.__name__)
        else:
            calls = CALLS.get(backend.name, "")
            yield Candidate(backend.name, bool(able), reason or "", kernel.__name__, calls)


def _potential(lines: list[str]) -> tuple[str, ...]:
    """Return the order that the oracle logs: "… out of potential backends: ['A', 'B']."."""
    for line in lines:
        if found := re.search(r"potential backends: (\[.*\])", line):
            return tuple(ast.literal_eval(found[1]))
    return ()


def reachable() -> bool:
    """Ask vLLM itself whether NVIDIA's repository of cubins answers; it remembers what it found."""
    return bool(_module("vllm.utils.flashinfer").has_nvidia_artifactory())


def state_reachable(answer: bool) -> None:  # noqa: FBT001 - a value, not a flag
    """Answer that question without the network from now on, in this process."""
    _module("vllm.utils.flashinfer").has_nvidia_artifactory = lambda: answer


KINDS = {
    "dense_w4a4": lambda gpu: _dense(gpu, weight_only=False),
    "dense_w4a16": lambda gpu: _dense(gpu, weight_only=True),
    "moe_w4a4": lambda gpu: _experts(gpu, weight_only=False),
    "moe_w4a16": lambda gpu: _experts(gpu, weight_only=True),
    "kv_cache": vllm_cache.cache,
}
