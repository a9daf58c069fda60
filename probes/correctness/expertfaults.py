"""Suspects for a wrong product of experts, grouped or fused; see `probes.correctness.productfaults`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from probes.correctness import productfaults
from probes.correctness.judge import Suspect
from probes.reference import nvfp4, product
from probes.reference.nvfp4 import Nvfp4
from probes.reference.product import Experts


def grouped_product(a: Nvfp4, b: Nvfp4, rows: torch.Tensor) -> torch.Tensor:
    """Return what a grouped product has to be: A (M, K), B (E, N, K), `rows` (E,), to float32 (M, N)."""
    return product.grouped(nvfp4.dequantize(a), nvfp4.dequantize(b), rows=rows)


def grouped(a: Nvfp4, b: Nvfp4, rows: torch.Tensor) -> Iterator[Suspect]:
    """Yield the suspects of a grouped product."""
    right = grouped_product(a, b, rows)
    for told, other in _whose(b):
        yield "wrong_numbers", told, grouped_product(a, other, rows)
    for told, other in _multipliers(b):
        yield "wrong_scale", told, grouped_product(a, other, rows)
    whole = torch.full_like(a.global_scale_multiplier, float(a.global_scale_multiplier[0]))
    told = "the rows of every expert have the multiplier of the first"
    yield "wrong_scale", told, grouped_product(replace(a, global_scale_multiplier=whole), b, rows)
    for reason, told, change in productfaults.CHANGES:
        yield reason, f"{told} of A", grouped_product(change(a), b, rows)
        yield reason, f"{told} of B", grouped_product(a, change(b), rows)
    yield from productfaults.moved(right)


def moe(
    hidden: torch.Tensor, experts: Experts, ids: torch.Tensor, shares: torch.Tensor
) -> Iterator[Suspect]:
    """Yield the suspects of a fused mixture of experts."""

    def run(
        given: Experts = experts, which: torch.Tensor = ids, weights: torch.Tensor = shares
    ) -> torch.Tensor:
        try:
            return product.moe(hidden, given, expert_ids=which, expert_weights=weights)
        except ValueError:  # a middle that is infinite, which the reference refuses: no suspect
            return torch.full(hidden.shape, torch.nan)

    count = experts.down.packed.shape[0]
    yield "wrong_numbers", "the router's weights are left out", run(weights=torch.ones_like(shares))
    even = torch.full_like(shares, 1 / shares.shape[1])
    yield "wrong_numbers", "every expert of a token has the same weight", run(weights=even)
    yield (
        "wrong_numbers",
        "the router's weights are in the reverse order",
        run(weights=shares.flip(1)),
    )
    yield "wrong_numbers", "the router's weights are applied twice", run(weights=shares * shares)
    for shift, whose in ((1, "next"), (-1, "one before")):
        told = f"each token goes to the {whose} expert"
        yield "wrong_numbers", told, run(which=(ids + shift) % count)
    for choice in range(min(shares.shape[1], 8)):
        without = shares.clone()
        without[:, choice] = 0
        yield "wrong_numbers", f"choice {choice} of every token is left out", run(weights=without)
    only = torch.zeros_like(shares)
    only[:, 0] = shares[:, 0]
    yield "wrong_numbers", "only the first choice of every token counts", run(weights=only)
    yield (
        "wrong_numbers",
        "gate and up are swapped",
        run(replace(experts, gate_first=not experts.gate_first)),
    )
    for name in ("gate_up", "down"):
        yield from _of_weights(experts, name, run)
    yield from productfaults.moved(run())


def _of_weights(
    experts: Experts, name: str, run: Callable[[Experts], torch.Tensor]
) -> Iterator[Suspect]:
    """Yield suspects of one of the two weights, and of the activation that it multiplies."""
    held: Nvfp4 = getattr(experts, name)
    for told, other in _whose(held):
        yield "wrong_numbers", f"{told} ({name})", run(_with(experts, name, other))
    for told, other in _multipliers(held):
        yield "wrong_scale", f"{told} ({name})", run(_with(experts, name, other))
    for reason, told, change in productfaults.CHANGES:
        yield reason, f"{told} of {name}", run(_with(experts, name, change(held)))


def _with(experts: Experts, name: str, held: Nvfp4) -> Experts:
    return replace(experts, gate_up=held) if name == "gate_up" else replace(experts, down=held)


def _whose(b: Nvfp4) -> Iterator[tuple[str, Nvfp4]]:
    for shift, whose in ((1, "before"), (-1, "after")):
        yield (
            f"each expert has the weights of the one {whose} it",
            Nvfp4(
                packed=b.packed.roll(shift, 0),
                scales=b.scales.view(torch.uint8).roll(shift, 0).view(b.scales.dtype),
                global_scale_multiplier=b.global_scale_multiplier.roll(shift, 0),
            ),
        )


def _multipliers(b: Nvfp4) -> Iterator[tuple[str, Nvfp4]]:
    m = b.global_scale_multiplier
    for told, other in (
        ("every expert has the multiplier of the first", m[:1].expand_as(m).contiguous()),
        ("each expert has the multiplier of the one before it", m.roll(1, 0)),
        ("each expert has the multiplier of the one after it", m.roll(-1, 0)),
        ("the experts' multipliers are inverted", 1 / m),
        ("the experts' multipliers are left out", torch.ones_like(m)),
    ):
        yield told, replace(b, global_scale_multiplier=other)
