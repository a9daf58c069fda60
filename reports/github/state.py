"""What was posted last, kept small enough for a comment's hidden marker: what the next post is compared with."""

from __future__ import annotations

import hashlib
import zlib
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from matrix.cell import Cell, Report
from matrix.model import Model

_LARGEST: Final = 4_000_000
"""Bytes of a state that is unpacked: far more than any matrix needs, and no bomb."""


class Key(NamedTuple):
    """Which cell."""

    stack: str
    target: str
    machine: str
    environment: str
    capability: str


class Seen(NamedTuple):
    """What was said of it, as far as a reader compares it."""

    verdict: str
    reason: str
    executed: str


State = Mapping[Key, Seen]


class Packed(Model, frozen=True, kw_only=True):
    """A state without repetition: a row a stack, a number a column, which points into `seen`; -1 is no cell.

    `columns`: target, machine, environment, capability. `generated`: when it was true.
    """

    generated: str = ""
    stacks: tuple[str, ...] = ()
    columns: tuple[tuple[str, str, str, str], ...] = ()
    seen: tuple[Seen, ...] = ()
    rows: tuple[tuple[int, ...], ...] = ()


def state(report: Report) -> State:
    """Take of `report` what the next post is compared with."""
    return state_of(report.cells)


def state_of(cells: Iterable[Cell]) -> State:
    """Take the same of some cells."""
    return {
        Key(c.stack, c.target, c.machine, c.environment, c.capability): Seen(
            c.verdict, c.reason, c.executed
        )
        for c in cells
    }


def pack(held: State, generated: str) -> Packed:
    """Pack a state."""
    stacks = tuple(dict.fromkeys(key.stack for key in held))
    columns = tuple(dict.fromkeys(key[1:] for key in held))
    seen = {each: at for at, each in enumerate(dict.fromkeys(held.values()))}
    rows = []
    for stack in stacks:
        found = (held.get(Key(stack, *column)) for column in columns)
        rows.append(tuple(-1 if each is None else seen[each] for each in found))
    return Packed(
        generated=generated, stacks=stacks, columns=columns, seen=tuple(seen), rows=tuple(rows)
    )


def unpack(packed: Packed) -> State:
    """Unpack a state; numbers that point nowhere are left out, as somebody may have edited them."""
    return {
        Key(stack, *column): packed.seen[number]
        for stack, row in zip(packed.stacks, packed.rows, strict=False)
        for column, number in zip(packed.columns, row, strict=False)
        if 0 <= number < len(packed.seen)
    }


def squeeze(packed: Packed) -> str:
    """Write a packed state as one word that is safe in an HTML comment: base64 has no `--`."""
    return b64encode(zlib.compress(msgspec.json.encode(packed), 9)).decode()


def release(word: str) -> Packed | None:
    """Read what `squeeze` wrote; None for anything else: a comment can be edited by hand."""
    try:
        unpacker = zlib.decompressobj()
        content = unpacker.decompress(b64decode(word, validate=True), _LARGEST)
        if not unpacker.eof:
            return None
        return msgspec.json.decode(content, type=Packed)
    except (ValueError, zlib.error):  # msgspec's errors are ValueErrors
        return None


def fingerprint(parts: Iterable[bytes | str]) -> str:
    """Tell contents apart by 20 hexadecimal digits."""
    made = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        made.update(b"%d:" % len(content))
        made.update(content)
    return made.hexdigest()[:20]
