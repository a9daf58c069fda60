from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from probes.endurance import xid

LINE = "4,1234,5678,-;NVRM: Xid (PCI:0000:01:00): 13, pid=77, name=python, Graphics SM Warp Exception\n"


def test_errors_are_read_from_the_kernels_log_from_now_on(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(LINE.replace("13", "79"))
    with xid.Watch(log) as watch:
        assert (watch.how, watch.found()) == ("the kernel's log", ())
        with log.open("a") as file:
            file.write("6,1,2,-;usb 1-1: new device\n" + LINE)
        told = watch.found()
        assert watch.found() == told
    assert len(told) == 1
    assert told[0].startswith("Xid 13: NVRM: Xid (PCI:0000:01:00): 13, pid=77")


class Nvml:
    """NVML with one GPU and the Xid errors of `waiting`."""

    def __init__(self, *waiting: int) -> None:
        self.waiting = list(waiting)
        self.freed = False

    def nvmlInit_v2(self) -> int:
        return 0

    def nvmlDeviceGetCount_v2(self, count: Any) -> int:
        ctypes.cast(count, ctypes.POINTER(ctypes.c_uint))[0] = 1
        return 0

    def nvmlEventSetCreate(self, _: Any) -> int:
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, _: int, device: Any) -> int:
        del device
        return 0

    def nvmlDeviceRegisterEvents(self, device: Any, kinds: Any, events: Any) -> int:
        del device, events
        return 0 if kinds.value == 8 else 2

    def nvmlEventSetWait_v2(self, _: Any, event: Any, timeout: int) -> int:
        del timeout
        if not self.waiting:
            return 10  # NVML_ERROR_TIMEOUT
        event._obj.data = self.waiting.pop(0)
        return 0

    def nvmlEventSetFree(self, _: Any) -> int:
        self.freed = True
        return 0


def test_nvml_is_asked_where_the_log_cannot_be_read(tmp_path: Path) -> None:
    library = Nvml(31, 43)
    with xid.Watch(tmp_path / "absent", library) as watch:
        assert watch.how == "NVML"
        assert watch.marks == ()
        assert watch.found() == ("Xid 31", "Xid 43")
    assert library.freed


def test_nothing_to_watch_is_said(tmp_path: Path) -> None:
    with xid.Watch(tmp_path / "absent", object()) as watch:
        assert (watch.how, watch.found(), watch.marks) == ("", (), ("xid-unwatched",))
