"""Targets: the GPUs that a user can buy, as `targets.yaml` states them."""

from __future__ import annotations

from functools import cache
from typing import Annotated

from msgspec import Meta

from matrix.model import Model
from matrix.vocabulary import Machine

Name = Annotated[str, Meta(pattern=r"^sm\d{2,3}$")]
RunTarget = Annotated[str, Meta(pattern=r"^(sm\d{2,3}|cpu)$")]
"""Where a result was made: a target's name, or `cpu`, on which the suite proves itself; no cell is of that."""
Toolkit = Annotated[str, Meta(pattern=r"^\d{2}\.\d$")]


@cache
def _number(compute_capability: str) -> int:
    major, minor = compute_capability.split(".")
    return int(major) * 10 + int(minor)


class Rates(Model, frozen=True, kw_only=True):
    """Peak dense rates of one product, without sparsity, in 10^12 operations a second.

    `None` where the vendor states no figure. `memory_gb_s` is bandwidth in 10^9 bytes a second.
    `source` names the document that states the figures.
    """

    product: str
    fp4_tflops: float | None
    fp8_tflops: float | None
    bf16_tflops: float | None
    memory_gb_s: float | None
    source: str


class Target(Model, frozen=True, kw_only=True):
    """A GPU family member: compute capability, family, CPU machines, products, limits.

    `compute_capability` is major.minor ("12.1"). `family` groups capabilities that share
    family-specific (`f`) machine code: "sm12x". `fp4` is false where the hardware has no FP4 matrix
    instruction (the sm90 control). `first_cuda` is the first toolkit whose ptxas accepts the target.
    `shared_memory_bytes` is what one thread block can have.
    """

    name: Name
    compute_capability: Annotated[str, Meta(pattern=r"^\d{1,2}\.\d$")]
    family: Annotated[str, Meta(pattern=r"^sm\d{1,2}x$")]
    fp4: bool
    machines: tuple[Machine, ...]
    products: tuple[str, ...]
    first_cuda: Toolkit
    shared_memory_bytes: int
    rates: tuple[Rates, ...] = ()
    note: str = ""

    @property
    def capability(self) -> int:
        """Compute capability as one number, as CUDA's `__CUDA_ARCH__ / 10`: 12.1 is 121."""
        return _number(self.compute_capability)


class TargetsFile(Model, frozen=True, kw_only=True):
    """The content of `targets.yaml`."""

    targets: tuple[Target, ...]
