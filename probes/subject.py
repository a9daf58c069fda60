"""What is under test: one package's NVFP4 operations, each with its backends, under names of this project.

A subject is an adapter: it imports its package when it is made, never before, so that what could be planned is known without
the package. Every operation says what it takes in the terms of `probes.nvfp4`; an adapter turns that into what its
package wants (an inverse for a multiplier, another layout) and back, and adds nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from probes.reason import of_exception, words

if TYPE_CHECKING:
    import torch

    from probes.layout import Layout
    from probes.product import Experts


class NotOfferedError(Exception):
    """The package under test has no such operation, backend or variant in this release."""


class ChargedError(Exception):
    """What an operation of the package under test did wrong: `operation`, `reason`, and in words."""

    def __init__(self, operation: str, error: BaseException) -> None:
        super().__init__(f"{operation}: {words(error)}")
        self.operation = operation
        self.reason = of_exception(error)


@dataclass(frozen=True, kw_only=True)
class Operand:
    """A quantized matrix as kernels take it.

    `packed`: uint8 (…, rows, K/2), low nibble first. `scales`: the bytes of E4M3 block scales, uint8, in `layout`: (…, rows, K/16)
    where that is None (linear), else flat (…, bytes of the padded tiles). `multiplier`: the float32 global scale
    multiplier, of shape () or (E,).
    """

    packed: torch.Tensor
    scales: torch.Tensor
    multiplier: torch.Tensor
    layout: Layout | None


class Subject(Protocol):
    """One package's operations. Each raises NotOfferedError for what it does not have."""

    name: str
    device: torch.device

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize (M, K) float16 or bfloat16: packed uint8 (M, K/2) and scales as `Operand` has them."""

    def silu_quantize(
        self,
        gate_up: torch.Tensor,
        multiplier: torch.Tensor,
        *,
        layout: Layout | None,
        backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize silu(gate) * up of (M, 2 * K), gate first: packed (M, K/2) and scales."""

    def gemm(
        self, a: Operand, b: Operand, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """Return alpha * A @ B.T of operands (M, K) and (N, K), scales as `scale_layout` says: (M, N)."""

    def grouped_gemm(
        self, a: Operand, b: Operand, rows: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """Multiply each group of A's rows (M, K) by its expert of B (E, N, K): (M, N).

        `rows`: int32 (E,). B's multiplier is (E,), A's is (E,), too: one an expert. Scales of A are linear; the
        adapter brings them to what its kernel wants, each expert padded by itself.
        """

    def moe(
        self,
        hidden: torch.Tensor,
        experts: Experts,
        *,
        expert_ids: torch.Tensor,
        expert_weights: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        """Return the fused experts' output (T, H) in `hidden`'s dtype; arguments as `product.moe` has them."""

    def kv_write(
        self,
        values: torch.Tensor,
        multiplier: torch.Tensor,
        slots: torch.Tensor,
        *,
        blocks: int,
        backend: str,
    ) -> Any:
        """Write keys or values (T, heads, head size) to `slots` (T,) of a new cache of `blocks` blocks of 16."""

    def kv_read(self, cache: Any, slots: torch.Tensor, *, backend: str) -> torch.Tensor:
        """Read `slots` (T,) back, dequantised: float32 (T, heads, head size)."""

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """Return the layout in which a backend's operation wants or gives scales for `rows` rows."""

    def advertised(self, operation: str, backend: str) -> str:
        """Return what the package itself says about running it here, in its own words; "" where it says nothing."""

    def synchronize(self) -> None:
        """Wait for the device, so that an error is raised by the operation that made it."""


Offers = Mapping[str, tuple[str, ...]]
"""Backends by operation: what an adapter knows how to call, in any release that it is for."""

Maker = Callable[["torch.device"], Subject]


class Charged:
    """A subject whose every operation waits for the device, and whose failures are charged to it.

    Raises ChargedError for what the package did, NotOfferedError for what it does not have.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject
        self.name = subject.name
        self.device = subject.device

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self.subject, operation)

        def call(*args: object, **kwargs: object) -> Any:
            try:
                made = method(*args, **kwargs)
                self.subject.synchronize()
            except (NotOfferedError, ChargedError):
                raise
            except (Exception, SystemExit) as error:  # a package that leaves is no end of the run
                raise ChargedError(operation, error) from error
            return made

        return call
