"""What is under test: one package's NVFP4 operations, each with its backends, under names of this project.

A subject is an adapter: it imports its package when it is made, never before, so that what could be planned is known without
the package. Every operation says what it takes in the terms of `probes.reference.nvfp4`; an adapter turns that into what its
package wants (an inverse for a multiplier, another layout) and back, and adds nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from probes.reason import of_exception, words

if TYPE_CHECKING:
    import torch

    from probes.reference.layout import Layout

_T = TypeVar("_T")


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
    """One package's operations. Each raises NotOfferedError for what it does not have.

    Weights are given to `prepare` once, as a checkpoint has them, and what that returns is handed to the operation: what
    a deployment does once on loading (swizzle, shuffle, repack) is so no part of the operation, nor of its time.
    """

    name: str
    device: torch.device

    def quantize(
        self, values: torch.Tensor, multiplier: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize (M, K) float16 or bfloat16: packed uint8 (M, K/2) and scales as `Operand` has them.

        `layout`: the one that is asked for; one that the package cannot give is NotOfferedError. Scales are returned as the package
        made them, padding included.
        """

    def silu_quantize(
        self,
        gate_up: torch.Tensor,
        multiplier: torch.Tensor,
        *,
        layout: Layout | None,
        backend: str,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize silu(gate) * up of (M, 2 * K), gate first: packed (M, K/2) and scales as `quantize`."""

    def prepare(self, operation: str, weights: Any, *, backend: str, fill: int = 0) -> Any:
        """Bring weights to what a backend's kernel wants, once.

        `weights`: for gemm, w4a16_gemm and mxfp4_gemm an `Operand` (N, K), for grouped_gemm one (E, N, K), both with
        scales in rows (layout None); for moe and w4a16_moe `Experts`. All on the device. `fill`: the byte for padding of scales, where
        the adapter makes it.
        """

    def gemm(
        self, a: Operand, b: Any, alpha: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """Return alpha * A @ B.T of A (M, K), scales as `scale_layout` says, and B as `prepare` made it: (M, N)."""

    def grouped_gemm(
        self, a: Operand, b: Any, rows: torch.Tensor, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """Multiply each group of A's rows (M, K) by its expert of B, as `prepare` made it: (M, N).

        `rows`: int32 (E,), on the host. B's multiplier is (E,), A's is (E,), too: one an expert. Scales of A are in rows; the
        adapter brings them to what its kernel wants, each expert padded by itself.
        """

    def w4a16_gemm(
        self, values: torch.Tensor, b: Any, *, dtype: torch.dtype, backend: str
    ) -> torch.Tensor:
        """Return values @ B.T, values (M, K) not quantized, B as `prepare` made it: the weight-only product (M, N)."""

    def moe(
        self,
        hidden: torch.Tensor,
        experts: Any,
        *,
        expert_ids: torch.Tensor,
        expert_weights: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        """Return the fused experts' output (T, H) in `hidden`'s dtype.

        `experts` as `prepare` made it of `Experts`; `expert_ids` int32 and `expert_weights` float32 (T, top k), as
        `product.moe` has them.
        """

    def w4a16_moe(
        self,
        hidden: torch.Tensor,
        experts: Any,
        *,
        expert_ids: torch.Tensor,
        expert_weights: torch.Tensor,
        backend: str,
    ) -> torch.Tensor:
        """Return what `moe` does of activations that are not quantized: the weight-only experts."""

    def mxfp4_quantize(
        self, values: torch.Tensor, *, layout: Layout | None, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Quantize (M, K) to MXFP4: packed uint8 (M, K/2) and the bytes of E8M0, laid out as scales are."""

    def mxfp4_gemm(self, a: Operand, b: Any, *, dtype: torch.dtype, backend: str) -> torch.Tensor:
        """Return A @ B.T of MXFP4 operands, whose scales are E8M0 and whose multipliers are 1: (M, N)."""

    def kv_cache(
        self,
        *,
        pages: int,
        page_size: int,
        heads: int,
        head_size: int,
        dtype: torch.dtype,
        multipliers: tuple[torch.Tensor, torch.Tensor],
        backend: str,
    ) -> Any:
        """Make an empty paged cache for keys and values of `dtype`, with the global scale multipliers of both.

        What is in it is the adapter's; it is handed to `kv_write`, `kv_read` and `kv_attend` only.
        """

    def kv_write(
        self,
        cache: Any,
        keys: torch.Tensor,
        values: torch.Tensor,
        slots: torch.Tensor,
        *,
        backend: str,
    ) -> None:
        """Write keys and values (T, heads, head size) to `slots`: int64 (T,), page * page size + place, each once."""

    def kv_read(
        self, cache: Any, slots: torch.Tensor, *, backend: str
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Read `slots` (T,) back, dequantised: keys and values (T, heads, head size), of the type that the kernel gives.

        Where the package has no kernel for that, NotOfferedError; the adapter does not decode by itself.
        """

    def kv_attend(
        self,
        cache: Any,
        queries: torch.Tensor,
        tables: torch.Tensor,
        lengths: torch.Tensor,
        *,
        backend: str,
    ) -> torch.Tensor:
        """Decode attention over the cache: queries (R, query heads, head size), one a request, to the same shape.

        `tables`: int32 (R, pages of a request), pages in order. `lengths`: int32 (R,), tokens of each. Softmax of
        q k / sqrt(head size); query heads are a multiple of the cache's heads, neighbours sharing one.
        """

    def scale_layout(self, operation: str, backend: str, rows: int) -> Layout | None:
        """Return the layout in which a backend wants the scales of A for `rows` rows, or (quantize) gives them."""

    def advertised(self, operation: str, backend: str) -> str:
        """Return what the package itself says about running it here, in its own words; "" where it says nothing."""

    def selected(self, operation: str) -> str:
        """Return the kernel or backend that the package itself would choose here; "" where it chooses nothing."""

    def family(self, operation: str, backend: str) -> str:
        """Return the family (`probes.kernelnames`) whose kernels run where the backend is heeded; "" where any may."""

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
            return self.charge(operation, lambda: method(*args, **kwargs))

        return call

    def charge(self, operation: str, work: Callable[[], _T]) -> _T:
        """Run `work`, wait for the device, and charge what went wrong to `operation`."""
        try:
            made = work()
            self.subject.synchronize()
        except (NotOfferedError, ChargedError):
            raise
        except (Exception, SystemExit) as error:  # a package that leaves is no end of the run
            raise ChargedError(operation, error) from error
        return made
