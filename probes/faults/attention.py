"""Faults in the KV cache: what is written, where, and what attention reads."""

from __future__ import annotations

from typing import Any

import torch

from probes.faults.fault import Planted, fault

BOTH = ("correctness_cache.*", "correctness_again.*.kv_*")
"""A cache that is written wrong shows where it is read, and where attention reads it."""

_SAME = ("wrong_numbers", "wrong_scale", "all_zero")


@fault("Q", "kv_cache", "kv_corruption", probes=BOTH, also=_SAME)
class HeadOffByOne(Planted):
    """Each head's keys are written to the next head."""

    def kv_write(
        self, cache: Any, keys: torch.Tensor, values: torch.Tensor, *args: Any, **kwargs: Any
    ) -> None:
        super().kv_write(cache, keys.roll(1, dims=1), values, *args, **kwargs)


@fault("Q", "kv_cache", "kv_corruption", probes=BOTH, also=_SAME)
class KeysAndValuesSwapped(Planted):
    """Keys lie where values belong, and the other way round."""

    def kv_write(self, cache: Any, *args: Any, **kwargs: Any) -> None:
        super().kv_write(cache, *args, **kwargs)
        cache.packed.copy_(cache.packed.flip(0))
        cache.scales.copy_(cache.scales.flip(0))


@fault("Q", "kv_cache", "kv_corruption", probes=BOTH, also=_SAME)
class SlotsShifted(Planted):
    """Every token is written one slot further."""

    def kv_write(
        self,
        cache: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        **kwargs: Any,
    ) -> None:
        moved = (slots + 1) % cache.packed.shape[1]
        super().kv_write(cache, keys, values, moved, **kwargs)


@fault("Q", "kv_cache", "kv_corruption", probes=BOTH, also=_SAME)
class SecondPageInTheFirst(Planted):
    """The page is left out of the address, so that every page is written over the first."""

    def kv_write(
        self,
        cache: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        **kwargs: Any,
    ) -> None:
        super().kv_write(cache, keys, values, slots % cache.page_size, **kwargs)


@fault("GQ", "kv_cache", "wrong_scale", probes=BOTH, also=("wrong_numbers", "kv_corruption"))
class CacheScaleOfTheKeys(Planted):
    """Values are written with the global scale of the keys."""

    def kv_write(
        self,
        cache: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        **kwargs: Any,
    ) -> None:
        super().kv_write(cache, keys, values, slots, **kwargs)
        key, value = cache.multipliers
        both = self.kv_cache(
            pages=cache.packed.shape[1] // cache.page_size,
            page_size=cache.page_size,
            heads=cache.packed.shape[2],
            head_size=cache.packed.shape[3] * 2,
            dtype=cache.dtype,
            multipliers=(key, key if bool(key != value) else key * 2),
            backend=kwargs["backend"],
        )
        super().kv_write(both, keys, values, slots, **kwargs)
        cache.packed[1] = both.packed[1]
        cache.scales[1] = both.scales[1]


@fault("Q", "kv_attend", "kv_corruption", probes=BOTH, also=_SAME)
class LastTokenForgotten(Planted):
    """Attention ends one token early: fluent, and wrong."""

    def kv_attend(
        self,
        cache: Any,
        queries: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        **kwargs: Any,
    ) -> Any:
        return super().kv_attend(cache, queries, tables, (lengths - 1).clamp_min(1), **kwargs)


@fault("Q", "kv_attend", "kv_corruption", probes=BOTH, also=("wrong_numbers",))
class PagesOutOfOrder(Planted):
    """The table of pages is read backwards."""

    def kv_attend(
        self,
        cache: Any,
        queries: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        **kwargs: Any,
    ) -> Any:
        return super().kv_attend(cache, queries, tables.flip(-1), lengths, **kwargs)


@fault("Q", "kv_attend", "kv_corruption", probes=BOTH, also=("wrong_numbers",))
class HeadsOfTheNextGroup(Planted):
    """Query heads read the keys and values of another group."""

    def kv_attend(self, cache: Any, queries: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        return super().kv_attend(cache, queries.roll(1, dims=1), *args, **kwargs)
