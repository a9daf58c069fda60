"""Inputs that quantizers get wrong: each a float32 matrix (rows, K), K a multiple of 32, by name."""

from __future__ import annotations

from collections.abc import Callable

import torch


def _random(rows: int, columns: int, *, spread: float = 1.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * spread


def zeros() -> torch.Tensor:
    values = torch.zeros(8, 64)
    values[::2] = -0.0
    return values


def zero_blocks() -> torch.Tensor:
    values = _random(32, 128)
    values[:, 32:64] = 0.0
    values[5] = -0.0
    return values


def ties() -> torch.Tensor:
    """Every block reaches 6 and its multiplier comes out as 448, a scale of 448: codes are the values."""
    halves = torch.tensor([0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0, 6.0])
    return torch.cat((halves, -halves)).repeat(16, 8)


def ties_of_scales() -> torch.Tensor:
    """Blocks of one magnitude each, midway between the scales that E4M3 has."""
    scales = torch.arange(2, 128, dtype=torch.uint8).view(torch.float8_e4m3fn).to(torch.float32)
    midway = torch.cat(((scales[:-2] + scales[1:-1]) / 2, torch.tensor([448.0, 448.0])))
    return (midway * 6).repeat_interleave(32).reshape(-1, 64)


def all_equal() -> torch.Tensor:
    return torch.full((16, 64), 0.1)


def equal_blocks() -> torch.Tensor:
    return _random(64, 8).repeat_interleave(32, dim=-1)


def small_scales() -> torch.Tensor:
    """One value of 1, blocks down to 2**-40 of it: scales that are denormal in E4M3, or 0."""
    powers = torch.exp2(-torch.arange(64, dtype=torch.float32) * 0.625)
    values = _random(64, 64) * powers[:, None]
    values[0, 0] = 16.0
    return values


def denormal() -> torch.Tensor:
    """Float32 denormals all over; the multiplier is beyond float32."""
    return _random(32, 64, spread=1e-39)


def greatest() -> torch.Tensor:
    values = _random(32, 64).sign() * torch.finfo(torch.float32).max
    values[1:] *= torch.rand(31, 64, generator=torch.Generator().manual_seed(1))
    return values


def outlier() -> torch.Tensor:
    values = _random(128, 128)
    values[17, 33] = -1e4
    return values


def weights() -> torch.Tensor:
    """As of a linear layer: normal, 0.02, with a few rows that are ten times larger."""
    values = _random(512, 2048, spread=0.02, seed=3)
    values[::97] *= 10
    return values


def activations() -> torch.Tensor:
    """As after a normalisation: a few channels are a hundred times larger than the rest; odd row count."""
    values = _random(257, 4096, seed=4)
    values[:, 13::1024] *= 100
    return values


CASES: dict[str, Callable[[], torch.Tensor]] = {
    each.__name__: each
    for each in (
        zeros,
        zero_blocks,
        ties,
        ties_of_scales,
        all_equal,
        equal_blocks,
        small_scales,
        denormal,
        greatest,
        outlier,
        weights,
        activations,
    )
}
