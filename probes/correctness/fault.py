"""Something wrong with a tensor: the word for it, and where."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Fault:
    """Something wrong with a tensor: `reason`, a word of `probes.reason`, and `text`, one sentence."""

    reason: str
    text: str


def where(wrong: torch.Tensor) -> str:
    """Say where a mask (…, columns) is true: everywhere, in which rows, or in which columns; leading dimensions are rows."""
    flat = wrong.reshape(-1, wrong.shape[-1]) if wrong.dim() else wrong.reshape(1, 1)
    rows, columns = flat.any(dim=1).nonzero().flatten(), flat.any(dim=0).nonzero().flatten()
    count, total = int(flat.sum()), flat.numel()
    told = f"{count} of {total}"
    if count in {0, total}:
        return told
    if len(rows) < len(flat):
        return f"{told}, in {_run('row', rows, len(flat))}"
    if len(columns) < flat.shape[1]:
        return f"{told}, in {_run('column', columns, flat.shape[1])}"
    return f"{told}, the first at row {int(rows[0])}, column {int(flat[rows[0]].nonzero()[0])}"


def _run(name: str, found: torch.Tensor, of: int) -> str:
    first, last, count = int(found[0]), int(found[-1]), len(found)
    if count == 1:
        return f"{name} {first} of {of}"
    if last - first + 1 == count:
        tail = ", the tail" if last == of - 1 else ""
        return f"{name}s {first} to {last} of {of}{tail}"
    return f"{count} {name}s of {of}, from {first} to {last}"


def zero_rows(got: torch.Tensor, want: torch.Tensor) -> torch.Tensor:
    """Return the indices of rows (last dimension) that are all zero and should not be."""
    flat, right = got.reshape(-1, got.shape[-1]), want.reshape(-1, want.shape[-1])
    return ((flat == 0).all(-1) & (right != 0).any(-1)).nonzero().flatten()
