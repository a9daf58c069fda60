"""What kernels are documented to compute, by the reference, on the CPU: the parts that models of several packages share."""

from __future__ import annotations

import torch

from probes.reference import e2m1, mxfp4, nvfp4, product
from probes.reference.layout import Layout, padded, swizzle, unswizzle
from probes.reference.mxfp4 import Mxfp4
from probes.reference.nvfp4 import Nvfp4

LAYOUTS = {128: Layout.ROWS_128, 8: Layout.ROWS_8}


def quantized(values: torch.Tensor, multiplier: torch.Tensor) -> Nvfp4:
    """Quantize (M, K) by one multiplier, of any shape with one element."""
    return nvfp4.quantize(values, global_scale_multiplier=multiplier.reshape(()).float())


def put(target: torch.Tensor, made: torch.Tensor) -> None:
    """Write bytes over a tensor's storage, from its first element on."""
    flat = made.contiguous().view(torch.uint8).reshape(-1)
    target.view(torch.uint8).reshape(-1)[: flat.numel()] = flat


def placed(scales: torch.Tensor, layout: Layout | None) -> torch.Tensor:
    """Return scale bytes in `layout`."""
    told = scales.view(torch.uint8)
    return told if layout is None else swizzle(told, layout=layout)


def in_rows(
    flat: torch.Tensor, rows: int, columns: int, layout: Layout = Layout.ROWS_128
) -> torch.Tensor:
    """Read scales of one matrix from the first bytes of a tensor: (rows, columns)."""
    high, wide = padded(rows, columns, layout=layout)
    told = flat.contiguous().view(torch.uint8).reshape(-1)[: high * wide]
    return unswizzle(told, rows=rows, columns=columns, layout=layout)


def dequantized(packed: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    """Return codes times block scales: float32 (M, K)."""
    return nvfp4.dequantize(
        Nvfp4(
            packed=packed.contiguous().view(torch.uint8),
            scales=scales.view(torch.float8_e4m3fn),
            global_scale_multiplier=torch.ones(()),
        )
    )


def multiplied(
    a: torch.Tensor,
    b: torch.Tensor,
    scales: tuple[torch.Tensor, torch.Tensor],
    alpha: torch.Tensor,
    layout: Layout = Layout.ROWS_128,
) -> torch.Tensor:
    """Return alpha * A @ B.T of packed (M, K/2) and (N, K/2), scales swizzled, A's in `layout`: float32 (M, N)."""
    columns = a.shape[1] // 8
    left = dequantized(a, in_rows(scales[0], a.shape[0], columns, layout))
    right = dequantized(b, in_rows(scales[1], b.shape[0], columns))
    return product.linear(left, right) * alpha.reshape(-1)[0]


def multiplied_mxfp4(
    a: torch.Tensor, b: torch.Tensor, scales: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Return A @ B.T of MXFP4 operands, scales in 128x4: float32 (M, N)."""
    sides = [
        mxfp4.dequantize(
            Mxfp4(packed=packed, exponents=in_rows(told, packed.shape[0], packed.shape[1] // 16))
        )
        for packed, told in zip((a, b), scales, strict=True)
    ]
    return product.linear(*sides)


def silu_and_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """Return silu(gate) * up of (M, 2 * K), gate first, in the dtype of the input."""
    gate, up = gate_up.float().chunk(2, dim=-1)
    return (torch.nn.functional.silu(gate) * up).to(gate_up.dtype)


def decoded(packed: torch.Tensor, scales: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Return codes times scales times an inverse multiplier: float32 (M, K)."""
    values = e2m1.decode(e2m1.unpack(packed)).reshape(*scales.shape, nvfp4.BLOCK)
    told = scales.view(torch.float8_e4m3fn).float().unsqueeze(-1)
    return (values * told).flatten(-2) * inverse.reshape(())
