"""vLLM's choice of an attention backend for an NVFP4 KV cache: the backends that its platform ranks."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any, get_args

from probes.selection import stated
from probes.selection.answer import Answer, Candidate, words
from probes.selection.stated import Gpu

_SELECTOR = "vllm.v1.attention.selector"

MODULES = (_SELECTOR, "vllm.v1.attention.backends.flashinfer")

WARM = tuple(
    f"vllm.v1.attention.backends.{name}"
    for name in ("flash_attn", "triton_attn", "flex_attention", "turboquant_attn")
)

_HEAD_SIZE, _HEADS = 128, 32

ASKED_FOR: dict[str, object] = {
    "kv_cache_dtype": "nvfp4",
    "head_size": _HEAD_SIZE,
    "attention_heads": _HEADS,
    "dtype": "bfloat16",
    "attention_backend": "auto",
    "latent_attention": False,
    "sinks": False,
    "sliding_window": False,
}


def _module(name: str) -> Any:
    return importlib.import_module(name)


def cache(gpu: Gpu) -> Answer:
    """Ask for the attention backend that takes an NVFP4 cache; a release before the dtype refuses it."""
    del gpu
    if "nvfp4" not in get_args(_module("vllm.config.cache").CacheDType):
        return Answer("none", reason="this release has no nvfp4 among its --kv-cache-dtype values")
    selector = _module(_SELECTOR)
    platform = _module("vllm.platforms").current_platform
    config = selector.AttentionSelectorConfig(
        head_size=_HEAD_SIZE,
        dtype=_module("torch").bfloat16,
        kv_cache_dtype="nvfp4",
        block_size=None,
    )
    with stated.configured():
        valid, refused = platform.get_valid_backends(
            device_capability=platform.get_device_capability(),
            attn_selector_config=config,
            num_heads=_HEADS,
        )
        ranked = [_valid(each) for each in valid]
        ranked += [
            (priority, Candidate(backend.name, supported=False, reason="; ".join(reasons)))
            for backend, (priority, reasons) in refused.items()
        ]
        asked = tuple(candidate for _, candidate in sorted(ranked, key=lambda each: each[0]))
        order = tuple(candidate.name for candidate in asked)
        try:
            path = platform.get_attn_backend_cls(None, config, num_heads=_HEADS)
        except ValueError:
            told = "no attention backend takes an NVFP4 cache of this kind"
            return Answer("none", reason=told, candidates=asked, order=order)
        if refused_later := _refusal(path):
            return Answer("none", reason=refused_later, candidates=asked, order=order)
    kernel = path.rsplit(".", 1)[-1]
    able = [candidate for candidate in asked if candidate.supported]
    name = next((each.name for each in able if each.kernel == kernel), kernel)
    return Answer("chosen", name, kernel, "", asked, order)


def _refusal(path: str) -> str:
    """Return why the backend that was chosen refuses the cache when a server starts; "" where it does not.

    Up to 0.24 the choice does not look at the family of the GPU: the builder of the backend's metadata does.
    It is made here as a server makes it, on the CPU; only an error that names the dtype is its refusal, as
    others may come of the model that is not there.
    """
    place, _, name = path.rpartition(".")
    try:
        builder = getattr(_module(place), name).get_builder_cls()
        builder(_layer(), [], _served(), _module("torch").device("cpu"))
    except Exception as error:  # noqa: BLE001 - what is not there without a model is no refusal
        return words(error) if "nvfp4" in str(error) else ""
    return ""


def _layer() -> Any:
    """Describe one layer's cache, as far as a builder looks at it."""
    return SimpleNamespace(
        block_size=16,
        num_kv_heads=_HEADS // 4,
        head_size=_HEAD_SIZE,
        dtype=_module("torch").uint8,
        kv_quant_mode="nvfp4",
    )


def _served() -> Any:
    """Make the library's default configuration with an NVFP4 cache, and a model as far as a builder looks at it."""
    made = _module("vllm.config").VllmConfig()
    made.cache_config.cache_dtype = "nvfp4"
    model = SimpleNamespace(
        max_model_len=4096,
        dtype=_module("torch").bfloat16,
        get_num_attention_heads=lambda _: _HEADS,
    )
    object.__setattr__(made, "model_config", model)
    return made


def _valid(found: Any) -> tuple[int, Candidate]:
    """Return rank and candidate of a valid backend: a record, or (up to 0.20) a pair."""
    if hasattr(found, "backend_class"):
        backend, rank, kind = found.backend, found.priority, found.backend_class
    else:
        (backend, rank), kind = found, found[0].get_class()
    return rank, Candidate(backend.name, supported=True, kernel=kind.__name__)
