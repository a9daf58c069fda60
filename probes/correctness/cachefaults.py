"""What can be wrong with a KV cache: vectors in other places, or with other numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import torch

from probes.correctness import productfaults
from probes.correctness.fault import Fault
from probes.correctness.judge import Suspect
from probes.reference import nvfp4, product
from probes.reference.nvfp4 import Nvfp4

_ALIKE: Final = 0.97
"""Cosine of a vector quantized under one scale with itself under another: two errors of about 0.1 each leave 0.99; of two different
vectors: around 0, and up to 0.9 where both have an outlier in one place."""

_ANEW: Final = 0.2
"""Relative L2 error of numbers that were quantized under another scale, but for their factor: as above."""

_SHARE: Final = 0.9
_MOST: Final = 256


def moved(
    made: tuple[torch.Tensor, ...], wanted: tuple[torch.Tensor, torch.Tensor]
) -> Fault | None:
    """Return the fault of keys and values, both (T, heads, size), of which vectors are those of another place.

    None where most wrong vectors are nobody's: then their numbers are wrong, and not their places.
    """
    if any(got.shape != want.shape for got, want in zip(made, wanted, strict=True)):
        return None
    want = torch.stack([each.double() for each in wanted])
    got = torch.stack([each.detach().double().cpu() for each in made])
    flat, right = got.flatten(0, 2), want.flatten(0, 2)
    wrong = ((flat - right).norm(dim=-1) > 0.05 * right.norm(dim=-1)).nonzero().flatten()
    if not len(wrong) or not bool(flat.any()):
        return None
    empty = (flat[wrong] == 0).all(-1)
    if bool(empty.all()):
        told = f"{len(wrong)} of {len(flat)} vectors are zero"
        return Fault("kv_corruption", f"{told}: {_places(wrong, want.shape)}")
    some = wrong[~empty][:_MOST]
    unit = torch.nn.functional.normalize(right, dim=-1)
    cosine = torch.nn.functional.normalize(flat[some], dim=-1) @ unit.T
    best, whose = cosine.max(dim=-1)
    # A vector that is where it belongs but for a factor has moved nowhere.
    found = (best >= _ALIKE) & (whose != some)
    if float(found.double().mean()) < _SHARE:
        return None
    return Fault("kv_corruption", _journey(some[found], whose[found], want.shape))


def rescaled(got: torch.Tensor, want: torch.Tensor) -> Fault | None:
    """Return the fault of numbers that are right but for a factor and for having been quantized anew with it."""
    left, right = got.detach().double().cpu(), want.double()
    factor = float((left * right).sum() / right.square().sum().clamp_min(1e-300))
    rest = float((left - factor * right).norm() / (factor * right).norm().clamp_min(1e-300))
    if factor <= 0 or abs(factor - 1) <= 1 / 32 or rest > _ANEW:
        return None
    return Fault(
        "wrong_scale", f"quantized and read under other scales: a factor of about {factor:.4g}"
    )


def _journey(here: torch.Tensor, there: torch.Tensor, shape: torch.Size) -> str:
    """Say where the vectors that stand in a place come from."""
    _, tokens, heads, _ = shape
    here_at, there_at = (_split(each, tokens, heads) for each in (here, there))
    halves = bool((here_at[0] != there_at[0]).all())
    token = torch.unique((there_at[1] - here_at[1]) % tokens).tolist()
    head = torch.unique((there_at[2] - here_at[2]) % heads).tolist()
    if halves and token == [0] and head == [0]:
        return "keys and values are swapped"
    if token == [0] and len(head) == 1 and not halves:
        return f"each head holds the one {_signed(head[0], heads)} of it"
    if token == [0] and not halves:
        return "heads are permuted"
    if head == [0] and len(token) == 1 and not halves:
        return f"each token holds the one {_signed(token[0], tokens)} of it"
    if head == [0] and not halves:
        return f"tokens are permuted: {len(here)} vectors lie in the place of another"
    return f"{len(here)} vectors lie in the place of another"


def _split(index: torch.Tensor, tokens: int, heads: int) -> tuple[torch.Tensor, ...]:
    return index // (tokens * heads), index // heads % tokens, index % heads


def _signed(step: int, of: int) -> str:
    return f"{step} ahead" if step <= of // 2 else f"{of - step} behind"


def _places(index: torch.Tensor, shape: torch.Size) -> str:
    which, token, head = _split(index, shape[1], shape[2])
    names = " and ".join(
        name for at, name in enumerate(("keys", "values")) if bool((which == at).any())
    )
    return f"{names} of tokens {int(token.min())} to {int(token.max())}, heads {int(head.min())} to {int(head.max())}"


def elements(held: Nvfp4) -> Iterator[Suspect]:
    """Yield suspects of what is read back of `held` (T, heads, size), flattened to (T, heads * size)."""
    right = nvfp4.dequantize(held)
    m = float(held.global_scale_multiplier)
    for told, factor in (
        ("the global scale is taken as its inverse", m * m),
        ("the global scale is left out", m),
        ("the global scale is applied twice", 1 / m),
    ):
        yield "wrong_scale", told, (right * factor).flatten(1)
    for reason, told, change in productfaults.CHANGES:
        if "row" not in told and "column" not in told:
            yield reason, told, nvfp4.dequantize(change(held)).flatten(1)


@dataclass(frozen=True)
class Attention:
    """Decode attention as it has to be.

    `queries` (R, query heads, size); `keys` and `values` (slots, heads, size): the whole cache, zeros where nothing was written;
    `tables` (R, pages), `lengths` of R requests.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    tables: torch.Tensor
    lengths: list[int]
    page_size: int

    def product(self, fewer: int = 0) -> torch.Tensor:
        """Return the right output, or that of `fewer` tokens each: float32 (R, query heads, size)."""
        made = []
        for query, table, length in zip(self.queries, self.tables, self.lengths, strict=True):
            at = torch.arange(max(1, length - fewer))
            slots = table[at // self.page_size].long() * self.page_size + at % self.page_size
            made.append(product.attention(query, self.keys[slots], self.values[slots]))
        return torch.stack(made)

    def suspects(self) -> Iterator[Suspect]:
        """Yield what the output would be, were something misplaced."""
        yield from self._of("keys and values are swapped", keys=self.values, values=self.keys)
        yield from self._of("keys stand for values", values=self.keys)
        for shift, whose in ((1, "before"), (-1, "after")):
            key, value = (each.roll(shift, 1) for each in (self.keys, self.values))
            yield from self._of(f"each head reads the one {whose} it", keys=key, values=value)
            yield from self._of(f"each head reads the values of the one {whose} it", values=value)
            yield from self._of(
                f"each query head has the query of the one {whose} it",
                queries=self.queries.roll(shift, 1),
            )
            key, value = (each.roll(shift, 0) for each in (self.keys, self.values))
            yield from self._of(
                f"each token is in the slot of the one {whose} it", keys=key, values=value
            )
            yield from self._of(f"each token has the value of the one {whose} it", values=value)
            yield from self._of(
                f"each request has the pages of the one {whose} it",
                tables=self.tables.roll(shift, 0),
            )
        yield from self._of(
            "heads are in the reverse order", keys=self.keys.flip(1), values=self.values.flip(1)
        )
        yield from self._of("pages are in the reverse order", tables=self.tables.flip(1))
        yield from self._of(
            "every page is the first of its request",
            tables=self.tables[:, :1].expand_as(self.tables),
        )
        yield "kv_corruption", "the last token of each request is left out", self.product(fewer=1)
        right = self.product()
        for shift, whose in ((1, "before"), (-1, "after")):
            yield (
                "kv_corruption",
                f"each request has the output of the one {whose} it",
                right.roll(shift, 0),
            )
            yield (
                "kv_corruption",
                f"each query head has the output of the one {whose} it",
                right.roll(shift, 1),
            )
        yield (
            "wrong_numbers",
            "query heads share heads in turns, not as neighbours",
            self._in_turns(),
        )
        size = self.keys.shape[-1] ** 0.5
        for told, factor in (("not divided", size), ("divided twice", 1 / size)):
            other = replace(self, keys=self.keys * factor)
            yield "wrong_scale", f"scores are {told} by the root of the head size", other.product()

    def _of(self, told: str, **change: torch.Tensor) -> Iterator[Suspect]:
        """Yield what comes of another cache, other queries or other tables."""
        changed: Any = change
        yield "kv_corruption", told, replace(self, **changed).product()

    def _in_turns(self) -> torch.Tensor:
        heads, group = self.keys.shape[1], self.queries.shape[1] // self.keys.shape[1]
        order = torch.arange(self.queries.shape[1]).reshape(group, heads).T.flatten()
        return replace(self, queries=self.queries[:, order]).product()[:, order.argsort()]
