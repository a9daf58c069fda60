"""The job's summary: a file that GitHub shows on the run's page, up to 1 MiB a step."""

from __future__ import annotations

from pathlib import Path

from matrix.errors import OutsideError
from reports.github.content import Told, identity, text
from reports.github.posting import SUMMARY


def compose(told: Told, name: str, *, room: int = SUMMARY) -> str:
    """Write the summary in at most `room` bytes, led by a hidden mark of what it says."""
    marker = _marker(told, name)
    room -= len(marker.encode())
    limit = room
    while limit > 0:
        written = text(told, limit)
        size = len(written.encode())
        if size <= room:
            return marker + written
        limit = min(limit, len(written)) * room // (size + 1)
    return ""


def append(file: Path, told: Told, name: str) -> bool:
    """Add to the summary what is not there yet, in the room that is left; returns whether it was added.

    Raises OutsideError where the disk refuses, or where the steps before left no room.
    """
    try:
        there = file.read_bytes() if file.exists() else b""
        if _marker(told, name).encode() in there:
            return False
        lead = "\n\n" if there else ""
        written = compose(told, name, room=SUMMARY - len(there) - len(lead))
        if not written:
            raise OutsideError(f"{file}: holds {len(there)} bytes, which is all that GitHub shows")
        with file.open("ab") as out:
            out.write((lead + written).encode())
    except OSError as error:
        raise OutsideError(f"{file}: {error.strerror}") from error
    return True


def _marker(told: Told, name: str) -> str:
    return f"<!-- nvfp4-matrix name={name} hash={identity(told)} -->\n"
