"""Three small models for `vllm serve --load-format dummy`: real architectures and layer shapes, few layers, no weights.

A folder holds what vLLM reads of a checkpoint that has no weights: config.json, a tokenizer (probes.serving.vocabulary), and for the vision model
what its processor reads. Layer shapes are those of the models named at `MODELS`, so that the kernels that are chosen and
their tiles are the ones that users meet; only the number of layers is cut.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from probes.serving import vocabulary

Config = dict[str, Any]

NATIVE: Final = ("modelopt", "compressed-tensors")
"""The formats in which NVFP4 checkpoints come."""

BASELINE: Final = "awq"
"""What NVFP4 has to beat: 4-bit weights, 16-bit activations, groups of 128."""

_QWEN3: Final[Config] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": vocabulary.END,
    "eos_token_id": vocabulary.END,
    "head_dim": 128,
    "hidden_act": "silu",
    "initializer_range": 0.02,
    "max_position_embeddings": 32768,
    "num_hidden_layers": 8,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1000000,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": vocabulary.SIZE,
}

_DENSE: Final[Config] = _QWEN3 | {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 4096,
    "intermediate_size": 12288,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
}

_MOE: Final[Config] = _QWEN3 | {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "decoder_sparse_step": 1,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "norm_topk_prob": True,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "output_router_logits": False,
    "router_aux_loss_coef": 0.001,
}

_TEXT: Final[Config] = {key: value for key, value in _DENSE.items() if key != "architectures"} | {
    "model_type": "qwen3_vl_text",
    "rope_scaling": {
        "mrope_interleaved": True,
        "mrope_section": [24, 20, 20],
        "rope_type": "default",
    },
}

_VISION: Final[Config] = {
    "architectures": ["Qwen3VLForConditionalGeneration"],
    "model_type": "qwen3_vl",
    "image_token_id": vocabulary.IMAGE,
    "video_token_id": vocabulary.VIDEO,
    "vision_start_token_id": vocabulary.VISION_START,
    "vision_end_token_id": vocabulary.VISION_END,
    "text_config": _TEXT,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "vision_config": {
        "deepstack_visual_indexes": [1, 3, 5],
        "depth": 8,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_size": 1152,
        "in_channels": 3,
        "initializer_range": 0.02,
        "intermediate_size": 4304,
        "model_type": "qwen3_vl",
        "num_heads": 16,
        "num_position_embeddings": 2304,
        "out_hidden_size": 4096,
        "patch_size": 16,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
    },
}

MODELS: Final[Mapping[str, Config]] = {"dense": _DENSE, "moe": _MOE, "vision": _VISION}
"""Layer shapes of Qwen3-8B (8 of 36 layers), Qwen3-30B-A3B (8 of 48) and Qwen3-VL-8B (8 of 36, its vision
tower 8 of 27), from their published configurations."""

_UNQUANTIZED: Final[Mapping[str, tuple[str, ...]]] = {
    "dense": (),
    "moe": ("gate",),
    "vision": ("visual",),
}
"""What stays in 16 bits beside the head, as published NVFP4 and AWQ checkpoints have it: routers, vision towers."""

_PICTURES: Final[Config] = {
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "merge_size": 2,
    "patch_size": 16,
    "rescale_factor": 1 / 255,
    "size": {"longest_edge": 16777216, "shortest_edge": 65536},
    "temporal_patch_size": 2,
}


def write(folder: Path, model: str, form: str) -> Path:
    """Write the folder of a model ("dense", "moe", "vision") in a format (of NATIVE, or BASELINE); return it."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(
        folder / "config.json", MODELS[model] | {"quantization_config": quantization(model, form)}
    )
    for name, content in vocabulary.files().items():
        (folder / name).write_text(content, encoding="utf-8")
    if model == "vision":
        pictures = _PICTURES | {"image_processor_type": "Qwen2VLImageProcessorFast"}
        _write(
            folder / "preprocessor_config.json", pictures | {"processor_class": "Qwen3VLProcessor"}
        )
        moving = _PICTURES | {"video_processor_type": "Qwen3VLVideoProcessor"}
        _write(
            folder / "video_preprocessor_config.json",
            moving | {"processor_class": "Qwen3VLProcessor"},
        )
    return folder


def quantization(model: str, form: str) -> Config:
    """Return a checkpoint's `quantization_config`, with the fields that nvidia-modelopt, llm-compressor and AutoAWQ write."""
    kept = _UNQUANTIZED[model]
    if form == "modelopt":
        left = ["lm_head", *(f"*{name}*" if name == "visual" else f"*mlp.{name}" for name in kept)]
        return {
            "quant_method": "modelopt",
            "quant_algo": "NVFP4",
            "producer": {"name": "modelopt", "version": "0.39.0"},
            "config_groups": {
                "group_0": {
                    "input_activations": {
                        "dynamic": False,
                        "num_bits": 4,
                        "type": "float",
                        "group_size": 16,
                    },
                    "weights": {"dynamic": False, "num_bits": 4, "type": "float", "group_size": 16},
                    "targets": ["Linear"],
                }
            },
            "ignore": left,
        }
    if form == "compressed-tensors":
        half: Config = {
            "actorder": None, "block_structure": None, "group_size": 16, "num_bits": 4,
            "observer_kwargs": {}, "strategy": "tensor_group", "symmetric": True, "type": "float",
        }  # fmt: skip
        left = [
            "lm_head",
            *(f"re:.*{name}.*" if name == "visual" else f"re:.*mlp.{name}$" for name in kept),
        ]
        return {
            "quant_method": "compressed-tensors",
            "format": "nvfp4-pack-quantized",
            "quantization_status": "compressed",
            "global_compression_ratio": None,
            "kv_cache_scheme": None,
            "config_groups": {
                "group_0": {
                    "format": "nvfp4-pack-quantized",
                    "input_activations": half | {"dynamic": "local", "observer": "minmax"},
                    "output_activations": None,
                    "weights": half | {"dynamic": False, "observer": "minmax"},
                    "targets": ["Linear"],
                }
            },
            "ignore": left,
        }
    if form == BASELINE:
        return {
            "quant_method": "awq",
            "bits": 4,
            "group_size": 128,
            "version": "gemm",
            "zero_point": True,
            "modules_to_not_convert": [
                "lm_head",
                *(f"mlp.{name}" if name == "gate" else name for name in kept),
            ],
        }
    raise ValueError(f"{form} is no format of these models")


def _write(file: Path, content: Config) -> None:
    file.write_text(json.dumps(content, indent=1), encoding="utf-8")
