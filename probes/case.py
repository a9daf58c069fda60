"""A case: one probe on one backend with one load. What is planned, run, and reported."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

Value = int | float | str

CAPABILITY: Final[Mapping[str, str]] = {
    "quantize": "quantize",
    "silu_quantize": "quantize",
    "gemm": "gemm",
    "w4a16_gemm": "gemm",
    "grouped_gemm": "moe",
    "moe": "moe",
    "w4a16_moe": "moe",
    "kv_cache": "kv-cache",
    "kv_attend": "kv-cache",
    "mxfp4_quantize": "mxfp4-quantize",
    "mxfp4_gemm": "mxfp4-gemm",
    "serve": "serve",
}
"""The capability that an operation belongs to."""


@dataclass(frozen=True)
class Case:
    """One planned check: `probe` ("correctness.gemm"), `operation`, `backend`, and what is asked of it.

    `load`: parameters by name in order, such as m, n, k, dtype; small numbers and words.
    """

    probe: str
    operation: str
    backend: str
    load: Mapping[str, Value] = field(default_factory=dict)

    @property
    def capability(self) -> str:
        """The capability of the matrix that it is about."""
        return CAPABILITY[self.operation]

    @property
    def loads(self) -> tuple[str, ...]:
        """The load as results hold it: ("m=128", "n=256", "dtype=bfloat16")."""
        return tuple(f"{name}={value}" for name, value in self.load.items())

    @property
    def name(self) -> str:
        """One word for the case, without spaces: `cutlass-m=128-n=256`."""
        return "-".join((self.backend, *self.loads))

    @property
    def identity(self) -> str:
        """What makes it one of a run: `correctness.gemm[cutlass-m=128-n=256]`."""
        return f"{self.probe}[{self.name}]"

    def seed(self, base: int = 0) -> int:
        """Return the seed of the inputs: of the operation and load, not of the backend or the target.

        Every backend and every GPU is so given the same numbers. A cryptographic hash, since Python's own
        changes from process to process.
        """
        told = "\0".join((self.operation, *self.loads, str(base)))
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:4], "big")

    def __getitem__(self, name: str) -> int:
        """Return a whole-number parameter. Raises TypeError for another kind."""
        value = self.load[name]
        if not isinstance(value, int):
            raise TypeError(f"{name}={value} is no whole number")
        return value

    def word(self, name: str) -> str:
        """Return a parameter as a word."""
        return str(self.load[name])
