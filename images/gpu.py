"""A GPU of this machine: whether it is free, and held so that two runs never share it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from images.owner import me
from matrix.errors import OutsideError
from probes.conditions import tool

LOCKS: Final = (Path("/run/lock"), Path("/tmp"))  # noqa: S108 - one place for all users, whatever TMPDIR says
"""Where locks lie: the first that everybody may write to, so that users of one machine meet."""

_STEP: Final = 1.0
_LONGEST: Final = 200


def users(uuid: str) -> tuple[str, ...]:
    """Name the processes that compute on a GPU: "1234 (python, 20480 MiB)"; none where nvidia-smi cannot tell."""
    told = tool(
        "nvidia-smi",
        "--query-compute-apps=gpu_uuid,pid,process_name,used_memory",
        "--format=csv,noheader",
    )
    found = []
    for line in told.splitlines():
        whose, _, rest = line.partition(", ")
        pid, _, rest = rest.partition(", ")
        name, _, memory = rest.rpartition(", ")
        if whose == uuid:
            found.append(f"{pid} ({Path(name).name}, {memory})")
    return tuple(found)


@contextlib.contextmanager
def held(uuid: str, *, wait: bool, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold a GPU for one run of ours, of whichever user; the system lets it go when this process ends, however it does.

    Raises OutsideError, with who holds it, where another run does and `wait` does not wait for it.
    """
    handle = lock(_name(uuid))
    try:
        if not taken(handle):
            holder = _holder(handle)
            if not wait:
                raise OutsideError(f"{uuid}: a run of {holder} has it; wait for it with --wait")
            tell(f"{uuid}: a run of {holder} has it; waiting")
            while not taken(handle):
                time.sleep(_STEP)
        # Whose it is can be written only by who made the file, or where all may: it is told, not relied on.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"process {me().pid}, user {os.getuid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


def free(uuid: str, *, wait: bool, tell: Callable[[str], None]) -> None:
    """Return once nothing else computes on a GPU. Raises OutsideError, with who does, unless it is to `wait`."""
    told = False
    while found := users(uuid):
        who = "; ".join(found)[:_LONGEST]
        if not wait:
            raise OutsideError(
                f"{uuid} is in use by process {who}: end it, or wait for it with --wait"
            )
        if not told:
            tell(f"{uuid} is in use by process {who}; waiting")
            told = True
        time.sleep(_STEP)


def idle(uuid: str) -> bool:
    """Say whether nobody has a GPU at this moment, neither a run of ours nor anything else."""
    handle = lock(_name(uuid))
    try:
        return taken(handle) and not users(uuid)
    finally:
        os.close(handle)


def _name(uuid: str) -> str:
    return f"nvfp4-matrix-{re.sub('[^A-Za-z0-9-]', '', uuid)}.lock"


def lock(name: str) -> int:
    """Open a file that all users of this machine lock; whoever opened it closes it. Raises OutsideError."""
    return _opened(_place() / name)


def _place() -> Path:
    for folder in LOCKS:
        with contextlib.suppress(OSError):
            if folder.stat().st_mode & stat.S_IWOTH:
                return folder
    return LOCKS[-1]


def _opened(file: Path) -> int:
    """Open a lock's file, of whoever made it; a link in its place is refused."""
    try:
        handle = _there(file)
        told = os.fstat(handle)
    except OSError as error:
        raise OutsideError(f"{file}: {error.strerror}; locks are held there") from error
    if not stat.S_ISREG(told.st_mode) or told.st_nlink != 1:  # anyone can put anything there
        os.close(handle)
        raise OutsideError(f"{file}: is no file of a lock, remove it; locks are held there")
    return handle


def _there(file: Path) -> int:
    common = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    for flags in (os.O_RDWR, os.O_RDONLY):
        with contextlib.suppress(PermissionError, FileNotFoundError):
            return os.open(file, flags | common)
    try:
        handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | common, 0o666)
    except FileExistsError:  # another run made it just now
        return os.open(file, os.O_RDONLY | common)
    os.fchmod(handle, 0o666)  # whatever the umask is: another user's run holds the same file
    return handle


def taken(handle: int) -> bool:
    """Take an opened lock, unless somebody has it."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(handle: int) -> str:
    said = os.pread(handle, _LONGEST, 0).decode(errors="replace").strip()
    return said or "another process"
