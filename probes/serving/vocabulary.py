"""A tokenizer made on the spot: byte-level BPE over words of three letters, as large as the models' vocabulary.

`vllm bench serve --dataset-name random` draws token ids, decodes them and encodes the text again; nothing may get lost on
the way, or prompts would differ in length. Here nearly every token is a space and up to three letters, so that text splits
where tokens did. Every id that a model without weights generates has a text.
"""

from __future__ import annotations

import itertools
import json
import string
from functools import cache
from typing import Any, Final

SIZE: Final = 18560
"""Tokens, a multiple of 64: 256 bytes, 26 + 26^2 + 26^3 words, special tokens, and what fills it up."""

_SPACE: Final = "Ġ"
"""How byte-level BPE writes a space (GPT-2's table of bytes)."""

_SPECIAL: Final = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_FIRST: Final = 256 + 26 + 26**2 + 26**3
END, _, _, VISION_START, VISION_END, IMAGE, VIDEO = range(_FIRST, _FIRST + len(_SPECIAL))

_CHAT: Final = (
    "{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}"
    "{%- if message.content is string %}{{- message.content }}{%- else %}"
    "{%- for part in message.content %}"
    "{%- if 'image' in part or 'image_url' in part or part.type == 'image' %}"
    "{{- '<|vision_start|><|image_pad|><|vision_end|>' }}"
    "{%- elif 'text' in part %}{{- part.text }}{%- endif %}"
    "{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)

_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Where text is split before merging: the published pattern of the models whose tokenizer class is named below."""


@cache
def files() -> dict[str, str]:
    """Return the content of a tokenizer's files by name, as Hugging Face's libraries read them."""
    words, merges = _words()
    vocabulary = {word: number for number, word in enumerate((*_bytes(), *words))}
    added = [*_SPECIAL, *(f"<|fill_{number}|>" for number in range(SIZE - _FIRST - len(_SPECIAL)))]
    tokens: list[dict[str, Any]] = [
        {
            "id": _FIRST + number, "content": token, "special": token in _SPECIAL,
            "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
        }
        for number, token in enumerate(added)
    ]  # fmt: skip
    level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    split = {"type": "Split", "pattern": {"Regex": _SPLIT}, "behavior": "Isolated", "invert": False}
    whole = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": tokens,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "post_processor": level,
        "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": vocabulary, "merges": merges,
        },
    }  # fmt: skip
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token["id"]): {key: value for key, value in token.items() if key != "id"}
            for token in tokens
        },
        "additional_special_tokens": list(_SPECIAL[1:]),
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "chat_template": _CHAT,
        "eos_token": _SPECIAL[0],
        "errors": "replace",
        "model_max_length": 32768,
        "pad_token": _SPECIAL[0],
        "unk_token": None,
    }
    return {
        "tokenizer.json": json.dumps(whole, ensure_ascii=False),
        "tokenizer_config.json": json.dumps(settings, ensure_ascii=False),
        "vocab.json": json.dumps(vocabulary, ensure_ascii=False),
        "merges.txt": "\n".join(["#version: 0.2", *merges, ""]),
        "chat_template.json": json.dumps({"chat_template": _CHAT}),
    }


def _words() -> tuple[list[str], list[str]]:
    """Return every word of one to three letters after a space, and the merges that make it, the short ones first."""
    words, merges = [], []
    for length in (1, 2, 3):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            word = _SPACE + "".join(letters)
            words.append(word)
            merges.append(f"{word[:-1]} {word[-1]}")
    return words, merges


def _bytes() -> list[str]:
    """Return GPT-2's letter for each byte: printable ones stand for themselves, the others follow from U+0100 on."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    rest = itertools.count(256)
    return [chr(byte) if byte in printable else chr(next(rest)) for byte in range(256)]
