"""Xid errors while a probe runs: what the driver says of a GPU that faulted, from the kernel's log, or by NVML's events."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
from pathlib import Path
from types import TracebackType
from typing import Any, Final

KERNEL_LOG: Final = Path("/dev/kmsg")
UNWATCHED: Final = "xid-unwatched"
"""The mark of a finding for which nothing could be watched."""

_LINE: Final = re.compile(r"NVRM: Xid \([^)]*\): (\d{1,4})[^\n]*")
_MOST: Final = 100
_LIBRARY: Final = "libnvidia-ml.so.1"
_CRITICAL: Final = 0x8
"""nvmlEventTypeXidCriticalError of nvml.h."""


class _Event(ctypes.Structure):
    """nvmlEventData_t of nvml.h."""

    _fields_ = (
        ("device", ctypes.c_void_p),
        ("kind", ctypes.c_ulonglong),
        ("data", ctypes.c_ulonglong),
        ("instance", ctypes.c_uint),
        ("compute", ctypes.c_uint),
    )


class Watch:
    """Watches from `with` on. `how`: what is watched, "" for nothing. `found()`: the errors so far, in words."""

    def __init__(self, log: Path = KERNEL_LOG, library: Any = None) -> None:
        self.how = ""
        self._log = log
        self._library = library
        self._handle = -1
        self._events = ctypes.c_void_p()
        self._told: list[str] = []

    def __enter__(self) -> Watch:  # noqa: PYI034 - typing has Self from Python 3.11 on
        with contextlib.suppress(OSError):
            self._handle = os.open(self._log, os.O_RDONLY | os.O_NONBLOCK)
            os.lseek(self._handle, 0, os.SEEK_END)
            os.set_blocking(self._handle, False)
            self.how = "the kernel's log"
            return self
        if self._registered():
            self.how = "NVML"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
        if self.how == "NVML":
            self._library.nvmlEventSetFree(self._events)

    def found(self) -> tuple[str, ...]:
        """Return every Xid error since the watch began: "Xid 31: NVRM: …" or "Xid 31"."""
        if self._handle >= 0:
            self._read()
        elif self.how:
            event = _Event()
            for _ in range(_MOST):
                if self._library.nvmlEventSetWait_v2(self._events, ctypes.byref(event), 0):
                    break
                self._told.append(f"Xid {event.data}")
        return tuple(self._told)

    @property
    def marks(self) -> tuple[str, ...]:
        """What a finding does not show where nothing could be watched."""
        return () if self.how else (UNWATCHED,)

    def _read(self) -> None:
        for _ in range(100 * _MOST):
            try:
                line = os.read(self._handle, 8192)
            except BrokenPipeError:
                continue  # the log wrapped over what was not read yet; the next read goes on
            except OSError:
                return
            if not line:
                return
            for match in _LINE.finditer(line.decode(errors="replace")):
                if len(self._told) < _MOST:
                    self._told.append(f"Xid {match[1]}: {match[0]}")

    def _registered(self) -> bool:
        """Register for critical Xid errors of every GPU. False where NVML is not there, or refuses."""
        try:
            library = self._library = self._library or ctypes.CDLL(_LIBRARY)
            count = ctypes.c_uint()
            if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
                return False
            if library.nvmlEventSetCreate(ctypes.byref(self._events)):
                return False
            watched = 0
            for index in range(count.value):
                device = ctypes.c_void_p()
                if not library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)):
                    kinds = ctypes.c_ulonglong(_CRITICAL)
                    watched += not library.nvmlDeviceRegisterEvents(device, kinds, self._events)
        except (OSError, AttributeError):
            return False
        return watched > 0
