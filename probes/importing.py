"""Import the package under test in a child that may die of it, and see what it does to those that are forked after it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from probes import conditions
from probes.apart import apart
from probes.finding import Finding, refused
from probes.outcome import concluded
from probes.reason import of_exception, words
from probes.request import Request
from probes.subject import NotOfferedError

_DRIVER: Final = "libcuda.so.1"


@dataclass(frozen=True, kw_only=True)
class Imported:
    """What an import came to: `broken` says what keeps the package from being imported, None for nothing.

    `libraries`: those of NVIDIA that it loads. `starts_cuda`: what is forked from a process that imported it cannot use the GPU.
    """

    broken: Finding | None
    libraries: list[str]
    starts_cuda: bool = False


def imported(adapter: Any, request: Request, folder: Path) -> Imported:
    """Import an adapter's package in a process of its own, and use the device there."""
    ending = apart(lambda: _load(adapter, request.device), folder, limit=request.limit, memory=None)
    if ending.answer is None:
        return Imported(broken=concluded(ending, what="importing the package"), libraries=[])
    reason, text, libraries, starts_cuda = ending.answer
    broken = refused(reason, text) if reason else None
    return Imported(broken=broken, libraries=libraries, starts_cuda=starts_cuda)


def _load(adapter: Any, device: str) -> tuple[str, str, list[str], bool]:
    try:
        adapter.load()
        started = cuda_started()
        # What keeps the device from being used keeps every probe: a driver that is too old, no GPU.
        torch.empty(1, device=device)
    except NotOfferedError as error:
        return "not_offered", str(error), [], False
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it raises is told
        reason = of_exception(error)
        unnamed = reason in ("failed", "not_compiled")
        return "import_error" if unnamed else reason, words(error), [], False
    return "", "", conditions.libraries(), started


def cuda_started(maps: Path = Path("/proc/self/maps"), driver: Any = None) -> bool:
    """Say whether CUDA was started in this process: by torch, or past it, which the driver itself tells.

    Before cuInit every call of the driver gives CUDA_ERROR_NOT_INITIALIZED. A driver that is not loaded was not called.
    """
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call,unused-ignore]
        return True
    try:
        if driver is None and "/libcuda.so" not in maps.read_text(encoding="utf-8"):
            return False
        library = driver or ctypes.CDLL(_DRIVER)
        return not library.cuDeviceGetCount(ctypes.byref(ctypes.c_int()))
    except (OSError, AttributeError):
        return False
