"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import NamedTemporaryFile

from matrix.errors import OutsideError


def special(path: Path) -> bool:
    """Say whether this is a pipe or a device, which must not be replaced by a file."""
    return path.exists() and not path.is_file() and not path.is_dir()


def write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file whole or not at all, a pipe or device as it is.

    A reader sees the old file, the new one, or none. Raises OutsideError where the disk refuses.
    """
    try:
        if special(path):
            path.write_bytes(content)
            return
        with NamedTemporaryFile(
            dir=path.absolute().parent, prefix=".", suffix=".part", delete=False
        ) as file:
            part = Path(file.name)
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                part.chmod(mode)
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
    except OSError as error:
        raise OutsideError(f"{path}: {error.strerror}") from error
