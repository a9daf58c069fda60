"""The KV cache made ready: keys and values written and read back, and attention over what was written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch

from probes.case import Case
from probes.correctness import bounds, cachefaults, inputs, judge
from probes.correctness.fault import Fault
from probes.correctness.quantized import TIE
from probes.correctness.work import Outputs, Work
from probes.finding import Metrics
from probes.reference import nvfp4
from probes.reference.nvfp4 import Nvfp4
from probes.subject import Charged

_AGAIN: Final = 7919
"""Added to a seed for other inputs of the same case."""


@dataclass(frozen=True)
class Half:
    """Keys or values: `given` (T, heads, head size), `held` as a right cache has them, and what that reads back as."""

    given: torch.Tensor
    held: Nvfp4

    @property
    def numbers(self) -> torch.Tensor:
        """What is read back: float32 (T, heads, head size)."""
        return nvfp4.dequantize(self.held)

    @property
    def at_ties(self) -> torch.Tensor:
        """Where another rounding is right, too: bool (T, heads, head size)."""
        factor = self.held.global_scale_multiplier
        scale = nvfp4.scale_tie_distance(self.given, global_scale_multiplier=factor) <= TIE
        code = nvfp4.code_tie_distance(self.given, self.held.scales, global_scale_multiplier=factor)
        return (code <= TIE) | scale.repeat_interleave(nvfp4.BLOCK, dim=-1)


def half(tokens: int, heads: int, size: int, *, seed: int, dtype: torch.dtype) -> Half:
    """Make keys or values, quantized with the multiplier of their own."""
    given = inputs.normal(tokens, heads, size, seed=seed, dtype=dtype)
    return Half(given, nvfp4.quantize(given))


def kv_cache(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make a write and a read ready; loads: tokens, heads, head_size, page_size, dtype.

    Slots are a shuffle of some of the cache's, so that pages are shared, half full and out of order.
    """
    del fill
    dtype, device = inputs.DTYPES[case.word("dtype")], subject.device
    tokens, page = case["tokens"], case["page_size"]
    shape = (tokens, case["heads"], case["head_size"])
    keys = half(*shape, seed=seed + again * _AGAIN, dtype=dtype)
    values = half(*shape, seed=seed + 3 + again * _AGAIN, dtype=dtype)
    pages = -(-tokens // page) + 2
    slots = torch.randperm(pages * page, generator=inputs.generator(seed))[:tokens]
    factors = _factors(keys, values, device)

    def call(ops: Charged, key: torch.Tensor, value: torch.Tensor, where: torch.Tensor) -> Outputs:
        cache = _empty(ops, case, pages, dtype, factors)
        ops.kv_write(cache, key, value, where, backend=case.backend)
        read: Outputs = ops.kv_read(cache, where, backend=case.backend)
        return read

    return Work(
        operation="kv_cache",
        inputs=(keys.given.to(device), values.given.to(device), slots.to(device)),
        call=call,
        judge=lambda made: _read(made, keys, values),
        names=("keys", "values"),
        seed=seed,
    )


def _factors(keys: Half, values: Half, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return (
        keys.held.global_scale_multiplier.to(device),
        values.held.global_scale_multiplier.to(device),
    )


def _empty(
    ops: Charged,
    case: Case,
    pages: int,
    dtype: torch.dtype,
    factors: tuple[torch.Tensor, torch.Tensor],
) -> Any:
    return ops.kv_cache(
        pages=pages,
        page_size=case["page_size"],
        heads=case["heads"],
        head_size=case["head_size"],
        dtype=dtype,
        multipliers=factors,
        backend=case.backend,
    )


def _read(made: Outputs, keys: Half, values: Half) -> tuple[Fault | None, Metrics]:
    """Hold what was read against what was written; what lies at a tie is taken as it came."""
    figures: Metrics = {}
    faults = []
    for name, got, right in (("keys", made[0], keys), ("values", made[1], values)):
        want, ties = right.numbers, right.at_ties
        read = got.detach().float().cpu()
        if read.shape == want.shape:
            want = torch.where(ties & torch.isfinite(read), read, want)
        fault, found = judge.product(
            got.detach().cpu().flatten(1),
            want.flatten(1),
            # Written by rule, read in `got`'s type: once rounded.
            bound=bounds.product(got.dtype),
            suspects=cachefaults.elements(right.held),
        )
        figures = {**figures, **{f"{name}_{each}": figure for each, figure in found.items()}}
        figures = {**figures, f"{name}_at_ties": (float(ties.sum()), "1")}
        faults.append(fault)
    if not any(faults):
        return None, figures
    wanted = (keys.numbers, values.numbers)
    if moved := cachefaults.moved(made, wanted):
        return moved, figures
    named = [
        _named(name, fault, got, want)
        for name, fault, got, want in zip(("keys", "values"), faults, made, wanted, strict=True)
        if fault
    ]
    return named[0], figures


def _named(name: str, fault: Fault, got: torch.Tensor, want: torch.Tensor) -> Fault:
    if fault.reason == "wrong_numbers" and got.shape == want.shape:
        fault = cachefaults.rescaled(got, want) or fault
    return Fault(fault.reason, f"{name}: {fault.text}")


def kv_attend(subject: Charged, case: Case, seed: int, *, again: int = 0, fill: int = 0) -> Work:
    """Make attention over a written cache ready; loads: requests, length, query_heads, heads, head_size, page_size, dtype.

    Requests have `length` tokens, then one less each, and their pages lie out of order.
    """
    del fill
    dtype, device = inputs.DTYPES[case.word("dtype")], subject.device
    count, page = case["requests"], case["page_size"]
    lengths = [max(1, case["length"] - each) for each in range(count)]
    each_pages = -(-case["length"] // page)
    pages = count * each_pages + 1
    tables = torch.randperm(pages, generator=inputs.generator(seed))[: count * each_pages]
    tables = tables.reshape(count, each_pages)
    slots = torch.cat(
        [
            (tables[request, torch.arange(length) // page] * page + torch.arange(length) % page)
            for request, length in enumerate(lengths)
        ]
    )
    shape = (len(slots), case["heads"], case["head_size"])
    keys, values = (half(*shape, seed=seed + offset, dtype=dtype) for offset in (0, 3))
    factors = _factors(keys, values, device)
    cache = _empty(subject, case, pages, dtype, factors)
    subject.kv_write(
        cache,
        keys.given.to(device),
        values.given.to(device),
        slots.to(device),
        backend=case.backend,
    )
    queries = inputs.normal(
        count, case["query_heads"], case["head_size"], seed=seed + 5 + again * _AGAIN, dtype=dtype
    )
    at = (
        tables.to(torch.int32).to(device),
        torch.tensor(lengths, dtype=torch.int32, device=device),
    )

    def call(ops: Charged, given: torch.Tensor, where: torch.Tensor, long: torch.Tensor) -> Outputs:
        return (ops.kv_attend(cache, given, where, long, backend=case.backend),)

    def held(made: Outputs) -> tuple[Fault | None, Metrics]:
        whole = torch.zeros(2, pages * page, *shape[1:])
        whole[0, slots], whole[1, slots] = keys.numbers, values.numbers
        right = cachefaults.Attention(queries, whole[0], whole[1], tables, lengths, page)
        return judge.product(
            made[0],
            right.product(),
            bound=bounds.ATTENTION,
            row_bound=2 * bounds.ATTENTION,
            suspects=right.suspects(),
        )

    return Work(
        operation="kv_attend",
        inputs=(queries.to(device), *at),
        call=call,
        judge=held,
        names=("attention",),
        seed=seed,
    )
