"""A KV cache whose vectors lie elsewhere is corrupt; one whose numbers are wrong has the reason for that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.correctness import bounds, cachefaults, caching, inputs, judge
from probes.reference import e2m1, nvfp4
from probes.reference.nvfp4 import Nvfp4

pytestmark = pytest.mark.torch

KEYS, VALUES = (caching.half(20, 3, 64, seed=seed, dtype=torch.bfloat16) for seed in (1, 4))
K, V = KEYS.numbers, VALUES.numbers


def told(keys: torch.Tensor, values: torch.Tensor) -> tuple[str, str]:
    made = (keys.to(torch.bfloat16), values.to(torch.bfloat16))
    fault, _ = caching._read(made, KEYS, VALUES)
    return ("", "") if fault is None else (fault.reason, fault.text)


def test_what_was_written_is_right() -> None:
    assert told(K, V) == ("", "")


MOVED: dict[str, tuple[Callable[[], tuple[torch.Tensor, torch.Tensor]], str]] = {
    "swapped": (lambda: (V, K), "keys and values are swapped"),
    "heads": (lambda: (K.roll(1, 1), V.roll(1, 1)), "each head holds the one 1 behind of it"),
    "heads of values": (lambda: (K, V.roll(-1, 1)), "each head holds the one 1 ahead of it"),
    "slots": (lambda: (K.roll(1, 0), V.roll(1, 0)), "each token holds the one 1 behind of it"),
    "tokens": (lambda: (K.flip(0), V.flip(0)), "tokens are permuted"),
    "half": (lambda: (torch.cat((K[:10], 0 * K[10:])), V), "30 of 120 vectors are zero: keys of tokens 10 to 19"),
}  # fmt: skip


@pytest.mark.parametrize("name", MOVED)
def test_vectors_in_another_place_are_a_corrupt_cache(name: str) -> None:
    make, words = MOVED[name]
    reason, text = told(*make())
    assert reason == "kv_corruption"
    assert words in text


def changed(change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    packed = e2m1.pack(change(e2m1.unpack(KEYS.held.packed)))
    return nvfp4.dequantize(
        Nvfp4(
            packed=packed,
            scales=KEYS.held.scales,
            global_scale_multiplier=KEYS.held.global_scale_multiplier,
        )
    )


def test_wrong_numbers_in_the_right_place_have_their_own_reason() -> None:
    m = float(KEYS.held.global_scale_multiplier)
    assert told(K * m, V)[0] == "wrong_scale"
    assert told(changed(lambda codes: codes & 7), V)[0] == "sign_lost"
    swapped = changed(lambda codes: codes.reshape(20, 3, -1, 2).flip(-1).flatten(-2))
    assert told(swapped, V) == ("wrong_packing", "keys: the two codes of a byte are swapped")
    assert told(torch.zeros_like(K), torch.zeros_like(V))[0] == "all_zero"
    broken = K.clone()
    broken[19] = torch.nan
    assert told(broken, V)[0] == "nan_or_inf"


LENGTHS = [9, 7, 4]
QUERIES = inputs.normal(3, 6, 64, seed=8, dtype=torch.bfloat16)
TABLES = torch.tensor([[4, 1, 0], [2, 3, 5], [6, 7, 8]])
CACHE = tuple(torch.cat((each, each.flip(0)))[:36] for each in (K, V))
RIGHT = cachefaults.Attention(QUERIES, CACHE[0], CACHE[1], TABLES, LENGTHS, 4)


def attended(got: torch.Tensor) -> tuple[str, str]:
    fault, _ = judge.product(
        got.to(torch.bfloat16),
        RIGHT.product(),
        bound=bounds.ATTENTION,
        row_bound=2 * bounds.ATTENTION,
        suspects=RIGHT.suspects(),
    )
    return ("", "") if fault is None else (fault.reason, fault.text)


def test_attention_with_queries_in_e4m3_is_right() -> None:
    short = QUERIES.to(torch.float8_e4m3fn).to(torch.bfloat16)
    assert attended(replace(RIGHT, queries=short).product()) == ("", "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"keys": CACHE[1], "values": CACHE[0]}, "keys and values are swapped"),
        (
            {each: RIGHT.__dict__[each].roll(1, 1) for each in ("keys", "values")},
            "each head reads the one before it",
        ),
        ({"values": CACHE[1].roll(-1, 0)}, "each token has the value of the one after it"),
        ({"tables": TABLES.flip(1)}, "pages are in the reverse order"),
        ({"tables": TABLES.roll(1, 0)}, "each request has the pages of the one before it"),
        ({"queries": QUERIES.roll(1, 1)}, "each query head has the query of the one before it"),
    ],
)
def test_attention_over_misplaced_vectors_is_named(change: dict[str, Any], words: str) -> None:
    assert attended(replace(RIGHT, **change).product()) == ("kv_corruption", words)


def test_attention_that_leaves_out_a_token_is_named() -> None:
    assert attended(RIGHT.product(fewer=1))[1] == "the last token of each request is left out"
    assert "in turns" in attended(RIGHT._in_turns())[1]


def test_values_that_were_written_under_another_scale_are_a_wrong_scale() -> None:
    factor = VALUES.held.global_scale_multiplier
    other = nvfp4.quantize(VALUES.given, global_scale_multiplier=factor * 0.7)
    assert told(K, nvfp4.dequantize(other) * 0.7)[0] == "wrong_scale"


def test_keys_and_values_that_are_swapped_and_quantized_anew_are_found() -> None:
    factors = VALUES.held.global_scale_multiplier * 1.3, KEYS.held.global_scale_multiplier / 1.3
    both = (
        nvfp4.dequantize(nvfp4.quantize(each.given, global_scale_multiplier=factor))
        for each, factor in zip((VALUES, KEYS), factors, strict=True)
    )
    assert told(*both) == ("kv_corruption", "keys and values are swapped")
