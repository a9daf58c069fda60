"""Faults in the import of the package: every planned case is told why it could not be run."""

from __future__ import annotations

import ctypes
import os
import sys
import time

from probes.faults.fault import Planted, fault

_ALL = ("correctness.*",)


@fault("-", "every", "import_error", probes=_ALL)
class MissingLibrary(Planted):
    """A library of another CUDA is wanted."""

    @staticmethod
    def load() -> None:
        raise ImportError(
            "libcudart.so.12: cannot open shared object file: No such file or directory"
        )


@fault("-", "every", "import_error", probes=_ALL)
class UndefinedSymbol(Planted):
    """The extension was built for another torch."""

    @staticmethod
    def load() -> None:
        raise ImportError(
            "_C.abi3.so: undefined symbol: _ZN3c104cuda29c10_cuda_check_implementationE"
        )


@fault("D", "every", "import_error", probes=_ALL)
class MissingPackage(Planted):
    """What it needs is not installed."""

    @staticmethod
    def load() -> None:
        raise ModuleNotFoundError("No module named 'flashinfer'")


@fault("K", "every", "segfault", probes=_ALL)
class ImportThatCrashes(Planted):
    """The extension reads address 0 as it is loaded."""

    @staticmethod
    def load() -> None:
        ctypes.string_at(0)


@fault("-", "every", "hang", probes=_ALL, asks={"limit": 2.0})
class ImportThatHangs(Planted):
    """The extension waits for a lock that nobody gives back."""

    @staticmethod
    def load() -> None:
        time.sleep(600)


@fault("-", "every", "failed", probes=_ALL)
class ImportThatLeaves(Planted):
    """The package ends the interpreter as it is imported."""

    @staticmethod
    def load() -> None:
        sys.stdout.flush()
        os._exit(0)
