"""A world with a clock of its own: works that last as long as they say, on a timer that no machine disturbs."""

from __future__ import annotations

import random
from collections.abc import Callable

import torch

from probes.speed.timer import HostTimer


class World:
    """Seconds pass only where something spends them."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def spend(self, seconds: float) -> None:
        self.seconds += seconds

    def nanoseconds(self) -> int:
        return round(self.seconds * 1e9)

    def timer(self) -> HostTimer:
        made = HostTimer(self.nanoseconds, self.nanoseconds, self.spend)
        made._scratch = torch.zeros(1, dtype=torch.uint8)  # no cache in this world
        return made

    def lasting(self, seconds: float, noise: float = 0.0, seed: int = 0) -> Callable[[], None]:
        """Return a work that lasts `seconds`, give or take log-normal noise."""
        rng = random.Random(seed)
        return lambda: self.spend(seconds * rng.lognormvariate(0, noise))
