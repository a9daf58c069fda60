"""Experts: another right rounding stays inside the bounds, each fault has its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.correctness import bounds, expertfaults, inputs, judge, multiplying
from probes.reference import nvfp4, product
from probes.reference.product import Experts

pytestmark = pytest.mark.torch

COUNT, WIDTH = 4, 64
HIDDEN = inputs.normal(24, 64, seed=1, dtype=torch.bfloat16)
EXPERTS = multiplying.experts_for(HIDDEN, COUNT, WIDTH, 1)
IDS, SHARES = inputs.routing(24, COUNT, 2, kind="even", seed=3)


def run(
    experts: Experts = EXPERTS, ids: torch.Tensor = IDS, shares: torch.Tensor = SHARES
) -> torch.Tensor:
    return product.moe(HIDDEN, experts, expert_ids=ids, expert_weights=shares)


def told(got: torch.Tensor) -> tuple[str, str]:
    fault, _ = judge.product(
        got.to(torch.bfloat16),
        run(),
        bound=bounds.requantized(torch.bfloat16),
        row_bound=bounds.requantized_row(torch.bfloat16, WIDTH),
        suspects=expertfaults.moe(HIDDEN, EXPERTS, IDS, SHARES),
    )
    return ("", "") if fault is None else (fault.reason, fault.text)


def early(
    hidden: torch.Tensor, experts: Experts, ids: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Return the output of kernels that store gate and up in the input's type before the activation, and the middle once more."""
    total = torch.zeros(hidden.shape)
    for expert in range(len(experts.down.packed)):
        tokens, choices = torch.nonzero(ids == expert, as_tuple=True)
        if not len(tokens):
            continue
        rows = product._rounded(hidden[tokens], experts.gate_up_activation_multiplier, expert)
        both = rows @ nvfp4.dequantize(nvfp4.select(experts.gate_up, expert)).T
        gate, up = both.to(hidden.dtype).chunk(2, -1)
        middle = torch.nn.functional.silu(gate) * up
        again = product._rounded(middle, experts.down_activation_multiplier, expert)
        out = again @ nvfp4.dequantize(nvfp4.select(experts.down, expert)).T
        total.index_add_(0, tokens, out.to(hidden.dtype).float() * shares[tokens, choices, None])
    return total


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("seed", range(8))
def test_another_rounding_of_the_middle_is_right(dtype: torch.dtype, seed: int) -> None:
    hidden = inputs.normal(24, 64, seed=seed, dtype=dtype)
    experts = multiplying.experts_for(hidden, COUNT, WIDTH, seed)
    ids, shares = inputs.routing(24, COUNT, 2, kind="even", seed=seed)
    want = product.moe(hidden, experts, expert_ids=ids, expert_weights=shares)
    got = early(hidden, experts, ids, shares).to(dtype)
    fault, figures = judge.product(
        got, want, bound=bounds.requantized(dtype), row_bound=bounds.requantized_row(dtype, WIDTH)
    )
    assert fault is None
    # As far as the derivation says that two right kernels may be apart, at most.
    assert figures["relative_l2"][0] < bounds.requantized(dtype) / 2 * 1.2


WRONG: dict[str, Callable[[], torch.Tensor]] = {
    "the router's weights are left out": lambda: run(shares=torch.ones_like(SHARES)),
    "every expert of a token has the same weight": lambda: run(shares=torch.full_like(SHARES, 0.5)),
    "each token goes to the next expert": lambda: run(ids=(IDS + 1) % COUNT),
    "gate and up are swapped": lambda: run(replace(EXPERTS, gate_first=False)),
    "only the first choice of every token counts": lambda: run(
        shares=SHARES * torch.tensor([1.0, 0.0])
    ),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_mixture_is_named(words: str) -> None:
    reason, text = told(WRONG[words]())
    assert reason == "wrong_numbers"
    assert text == words or "choice 1 of every token" in text


def test_multipliers_of_another_expert_are_a_wrong_scale() -> None:
    m = EXPERTS.gate_up.global_scale_multiplier
    first = replace(EXPERTS.gate_up, global_scale_multiplier=(m * 0 + m[0] * 4))
    assert told(run(replace(EXPERTS, gate_up=first)))[0] in ("wrong_scale", "wrong_numbers")
    down = replace(EXPERTS.down, global_scale_multiplier=torch.ones_like(m))
    reason, text = told(run(replace(EXPERTS, down=down)))
    assert reason == "wrong_scale"
    assert "left out (down)" in text


ROWS = inputs.shares(37, 5, kind="even", seed=9)
VALUES = inputs.normal(37, 64, seed=4, dtype=torch.bfloat16)
A = nvfp4.quantize(VALUES, global_scale_multiplier=nvfp4.multiplier_of(VALUES).expand(37, 1))
B = multiplying.weights(5, 32, 64, seed=5)


def test_a_grouped_product_with_the_weights_of_another_expert_is_named() -> None:
    other, scale = (
        next(iter(each(B)))[1] for each in (expertfaults._whose, expertfaults._multipliers)
    )
    for wrong, reason in ((other, "wrong_numbers"), (scale, "wrong_scale")):
        got = expertfaults.grouped_product(A, wrong, ROWS).to(torch.bfloat16)
        fault, _ = judge.product(
            got, expertfaults.grouped_product(A, B, ROWS), suspects=expertfaults.grouped(A, B, ROWS)
        )
        assert fault is not None
        assert fault.reason == reason
        assert "expert" in fault.text
