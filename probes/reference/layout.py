"""Scale layouts: the order in which kernels want the scales of a matrix in memory, both ways.

Linear is row by row. The swizzled ones cut the matrix into tiles of 128x4 or 8x4 scales, pad it to whole tiles,
and lay tile after tile, those of one tile row first. Inside a tile the scale of row r and column c is at

    128x4:  (r % 32) * 16 + (r // 32) * 4 + c       512 bytes a tile
    8x4:    r * 4 + c                                32 bytes a tile

Sources: NVIDIA cuBLAS documentation, "1D Block Scaling Factors Layout" (128x4); TensorRT-LLM's and FlashInfer's
`get_sf_out_offset_128x4` and `get_sf_out_offset_8x4`. 8x4 is what their low-latency GEMM reads for few rows.
NVFP4 and MXFP4 share the layouts: a column is a block, of 16 or of 32 values.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

import torch

COLUMNS: Final = 4
_GROUP: Final = 32  # rows of a 128x4 tile that lie 16 bytes apart


class Layout(Enum):
    """A swizzled layout; the value is the number of rows in a tile."""

    ROWS_128 = 128
    ROWS_8 = 8


def padded(rows: int, columns: int, *, layout: Layout) -> tuple[int, int]:
    """Return the rows and columns of the scales once padded to whole tiles."""
    return -(-rows // layout.value) * layout.value, -(-columns // COLUMNS) * COLUMNS


def swizzle(scales: torch.Tensor, *, layout: Layout, fill: int = 0) -> torch.Tensor:
    """Put scales in the order of `layout`: (…, rows, columns) to (…, bytes), of the same one-byte dtype.

    `bytes` is padded rows times padded columns. Leading dimensions are matrices of their own, each padded. `fill`
    is the byte that padding gets: 0, or 0x7F (a NaN of E4M3) to show whether a kernel reads it. Raises
    ValueError where an element is not one byte or there are fewer than two dimensions.
    """
    if scales.element_size() != 1 or scales.dim() < 2:  # noqa: PLR2004  rows and columns
        raise ValueError("scales are one byte each, in rows and columns")
    rows, columns = scales.shape[-2:]
    high, wide = padded(rows, columns, layout=layout)
    # Padding by bytes: not every torch can fill or copy a float8 tensor.
    whole = torch.full(
        (*scales.shape[:-2], high, wide), fill, dtype=torch.uint8, device=scales.device
    )
    whole[..., :rows, :columns] = scales.view(torch.uint8)
    group, row = _inner(layout)
    tiles = whole.reshape(
        *scales.shape[:-2], high // layout.value, group, row, wide // COLUMNS, COLUMNS
    )
    # (tile row, group, row, tile column, column) to (tile row, tile column, row, group, column)
    return tiles.transpose(-4, -2).flatten(-5).view(scales.dtype)


def unswizzle(swizzled: torch.Tensor, *, rows: int, columns: int, layout: Layout) -> torch.Tensor:
    """Undo `swizzle` and drop the padding: (…, bytes) to (…, rows, columns), of the same one-byte dtype.

    Raises ValueError where the number of bytes is not that of padded rows and columns.
    """
    high, wide = padded(rows, columns, layout=layout)
    if swizzled.element_size() != 1 or swizzled.shape[-1] != high * wide:
        raise ValueError(
            f"{rows} x {columns} scales take {high * wide} bytes in {layout.name}, not {swizzled.shape[-1]}"
        )
    group, row = _inner(layout)
    lead = swizzled.shape[:-1]
    tiles = swizzled.view(torch.uint8).reshape(
        *lead, high // layout.value, wide // COLUMNS, row, group, COLUMNS
    )
    whole = tiles.transpose(-4, -2).reshape(*lead, high, wide)
    return whole[..., :rows, :columns].contiguous().view(swizzled.dtype)


def _inner(layout: Layout) -> tuple[int, int]:
    """Return a tile's groups of rows and the rows of a group."""
    rows = min(layout.value, _GROUP)
    return layout.value // rows, rows
