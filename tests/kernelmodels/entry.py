"""A real installed package on a machine without a GPU: the driver stood in for, a GPU stated, and the CPU taken for it."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

import torch

from probes.selection import environment, objectfile, standin, stated

CUDA = "13.0"


def enter(capability: tuple[int, int]) -> None:
    """Make packages believe in a GPU of `capability`, and in nvcc and ninja, for the rest of this process.

    Tensors stay on the CPU: whatever asks a device for its capability is told the stated one.
    """
    scratch = tempfile.mkdtemp(prefix="kernelmodels-")
    variables = environment.neutral(dict(os.environ), scratch)
    variables |= environment.compilers(environment.DEVEL, variables, scratch, CUDA)
    variables |= {"FLASHINFER_DISABLE_VERSION_CHECK": "1", "FLASHINFER_LOGLEVEL": "0"}
    os.environ.clear()
    os.environ.update(variables)
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    file = Path(scratch, standin.SONAME)
    file.write_bytes(standin.library(objectfile.wanted(sorted(folders)), platform.machine()))
    ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)
    if importlib.util.find_spec("vllm") is not None:
        stated.state(stated.Gpu("here", capability))
    _here(torch.Tensor)


def _here(tensor: Any) -> None:
    """Take the CPU for the GPU: a tensor is there already, streams and guards are none, and no memory is pinned."""
    tensor.cuda = lambda self, *_args, **_kwargs: self
    tensor.is_cuda = property(lambda _self: True)
    cuda: Any = torch.cuda
    cuda.device, cuda.Stream, cuda.Event = _Nothing, _Nothing, _Nothing
    cuda.current_stream = _Nothing
    cuda.is_current_stream_capturing = lambda: False
    cuda.synchronize = lambda *_args, **_kwargs: None
    made: Any = torch.empty
    anywhere: Any = torch

    def empty(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop("pin_memory", None)
        return made(*args, **kwargs)

    anywhere.empty = empty


class _Nothing:
    """A stream, an event, or a guard of a device."""

    cuda_stream = 0

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        return

    def __enter__(self) -> None:
        return

    def __exit__(self, *_args: object) -> None:
        return

    def __getattr__(self, name: str) -> Any:
        return lambda *_args, **_kwargs: None
