"""Faults that end the process, or never do: for one number of rows, so that the neighbours show whether they are harmed."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from typing import Any

import torch

from probes.faults.fault import Planted, fault
from probes.faults.matrices import ONE
from probes.subject import Operand

_HERE = f"m={ONE}"
_FOREVER = 600.0
_BRIEF = {"limit": 3.0}


class Dying(Planted):
    """A `gemm` that ends its process for one number of rows."""

    def gemm(self, a: Operand, *args: Any, **kwargs: Any) -> Any:
        if a.packed.shape[0] == ONE:
            self.die()
        return super().gemm(a, *args, **kwargs)

    def die(self) -> None:
        """End it."""
        raise NotImplementedError


@fault("K", "gemm", "segfault", where=_HERE)
class SegmentationFault(Dying):
    """The library reads address 0."""

    def die(self) -> None:
        ctypes.string_at(0)


@fault("K", "gemm", "illegal_instruction", where=_HERE)
class IllegalOnTheHost(Dying):
    """The library was built for another CPU."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGILL)


@fault("K", "gemm", "abort", where=_HERE)
class Abort(Dying):
    """The library calls abort, and says nothing that is known."""

    def die(self) -> None:
        os.abort()


@fault("-", "gemm", "oom", where=_HERE)
class BadAllocation(Dying):
    """C++ ends over a lack of memory."""

    def die(self) -> None:
        os.write(2, b"terminate called after throwing an instance of 'std::bad_alloc'\n")
        os.abort()


@fault("-", "gemm", "oom", where=_HERE, asks={"memory": 24 << 30})
class TooMuchMemory(Dying):
    """More memory is asked for than there is."""

    def die(self) -> None:
        torch.ones(1 << 40, dtype=torch.uint8)


@fault("-", "gemm", "killed", where=_HERE)
class KilledFromOutside(Dying):
    """Something else ends the process: nobody's fault that is known."""

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@fault("-", "gemm", "failed", where=_HERE)
class Leaves(Dying):
    """The library calls exit, with code 0 and no word."""

    def die(self) -> None:
        os._exit(0)


@fault("-", "gemm", "failed", where=_HERE)
class LeavesThePythonWay(Dying):
    """The package calls sys.exit."""

    def die(self) -> None:
        sys.exit(0)


@fault("M", "gemm", "hang", where=_HERE, asks=_BRIEF)
class Hang(Dying):
    """The kernel never ends."""

    def die(self) -> None:
        time.sleep(_FOREVER)


@fault("M", "gemm", "hang", where=_HERE, asks=_BRIEF)
class HangWithWorkers(Dying):
    """The same, with a worker in a session of its own, which has to go, too."""

    def die(self) -> None:
        worker = [sys.executable, "-c", f"import time; time.sleep({_FOREVER})"]
        with subprocess.Popen(worker, start_new_session=True) as started:  # noqa: S603 - this interpreter, constant code
            started.wait()
