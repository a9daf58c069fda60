"""What can be wrong with a KV cache: vectors in other places, or with other numbers in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch

from probes import nvfp4, product, productfaults
from probes.fault import Fault
from probes.judge import Suspect
from probes.nvfp4 import Nvfp4

_ALIKE: Final = 0.999
"""Cosine of a vector with itself through bfloat16: above 1 - 2^-16; of two different ones: around 0."""

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

    `queries` (R, query heads, size); `keys` and `values` (T, heads, size), the requests' tokens one after the other, `lengths` of
    them.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor
    lengths: list[int]

    def product(
        self, keys: torch.Tensor | None = None, values: torch.Tensor | None = None, fewer: int = 0
    ) -> torch.Tensor:
        """Return the right output, or that of other keys and values, or of `fewer` tokens each."""
        one = torch.split(self.keys if keys is None else keys, self.lengths)
        two = torch.split(self.values if values is None else values, self.lengths)
        return torch.stack(
            [
                product.attention(
                    query, key[: max(1, len(key) - fewer)], value[: max(1, len(key) - fewer)]
                )
                for query, key, value in zip(self.queries, one, two, strict=True)
            ]
        )

    def suspects(self) -> Iterator[Suspect]:
        """Yield what the output would be, were something misplaced."""
        keys, values = self.keys, self.values
        yield "kv_corruption", "keys and values are swapped", self.product(values, keys)
        yield "kv_corruption", "keys stand for values", self.product(keys, keys)
        for shift, whose in ((1, "before"), (-1, "after")):
            both = keys.roll(shift, 1), values.roll(shift, 1)
            yield "kv_corruption", f"each head reads the one {whose} it", self.product(*both)
            yield (
                "kv_corruption",
                f"each head reads the values of the one {whose} it",
                self.product(keys, both[1]),
            )
            both = keys.roll(shift, 0), values.roll(shift, 0)
            yield "kv_corruption", f"each token is the one {whose} it", self.product(*both)
            yield (
                "kv_corruption",
                f"each token has the value of the one {whose} it",
                self.product(keys, both[1]),
            )
        yield (
            "kv_corruption",
            "heads are in the reverse order",
            self.product(keys.flip(1), values.flip(1)),
        )
        yield "kv_corruption", "the last token of each request is left out", self.product(fewer=1)
        right = self.product()
        yield "kv_corruption", "each request has the output of the one before it", right.roll(1, 0)
        yield "kv_corruption", "each request has the output of the one after it", right.roll(-1, 0)
        yield (
            "wrong_numbers",
            "query heads share heads in turns, not as neighbours",
            self._in_turns(),
        )
        size = keys.shape[-1] ** 0.5
        for told, factor in (
            ("scores are not divided", size),
            ("scores are divided twice", 1 / size),
        ):
            yield "wrong_scale", f"{told} by the root of the head size", self.product(keys * factor)

    def _in_turns(self) -> torch.Tensor:
        heads, group = self.keys.shape[1], self.queries.shape[1] // self.keys.shape[1]
        order = torch.arange(self.queries.shape[1]).reshape(group, heads).T.flatten()
        turned = Attention(self.queries[:, order], self.keys, self.values, self.lengths).product()
        return turned[:, order.argsort()]
