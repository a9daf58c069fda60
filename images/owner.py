"""Who owns a container: a process of a host since a boot, so that neither a reused pid nor a reboot is mistaken for it."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Final, NamedTuple

_PROC: Final = Path("/proc")
_FIELDS: Final = 5
_STARTED: Final = 19
"""Where a process' start stands in /proc/PID/stat (proc(5)), counted from behind the name."""


class Owner(NamedTuple):
    """A process. `space`: the namespace that its pid is of; `start`: in the kernel's ticks since boot.

    What cannot be told is "": of such an owner nobody says that it is dead.
    """

    node: str
    boot: str
    space: str
    pid: int
    start: str

    @property
    def word(self) -> str:
        """One word for a label or a file."""
        return "/".join(map(str, self))


def me(proc: Path = _PROC) -> Owner:
    """Return this process."""
    pid = os.getpid()
    return Owner(platform.node(), _boot(proc), _space(proc), pid, _start(proc, pid))


def owner(word: str) -> Owner | None:
    """Read a word, None for what is none."""
    fields = word.split("/")
    if len(fields) != _FIELDS or not fields[3].isdecimal():
        return None
    node, boot, space, pid, start = fields
    return Owner(node, boot, space, int(pid), start)


def dead(one: Owner, *, running: bool, proc: Path = _PROC) -> bool:
    """Say whether an owner is surely dead; `running`: whether what it owns still runs.

    Of another host, or of another namespace of pids, nobody here can say. After a reboot nothing of the time before
    it runs: what does is of another machine, by whatever way its engine is reached.
    """
    here = me(proc)
    if not (one.boot and one.space and one.start and here.boot) or one.node != here.node:
        return False
    if one.boot != here.boot:
        return not running
    return one.space == here.space and _gone(proc, one)


def _gone(proc: Path, one: Owner) -> bool:
    """Say whether that process runs no more. /proc may hide those of other users (hidepid): a signal finds them all the same."""
    if _read(proc / str(one.pid) / "stat"):
        return _start(proc, one.pid) != one.start
    try:
        os.kill(one.pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def _boot(proc: Path) -> str:
    return _read(proc / "sys/kernel/random/boot_id").strip()


def _space(proc: Path) -> str:
    try:
        return (proc / "self/ns/pid").readlink().name
    except OSError:
        return ""


def _start(proc: Path, pid: int) -> str:
    """Return when a process was started, "" where there is none, or none that still lives."""
    fields = _read(proc / str(pid) / "stat").rpartition(")")[2].split()
    if len(fields) <= _STARTED or fields[0] in ("Z", "X"):
        return ""
    return fields[_STARTED]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
