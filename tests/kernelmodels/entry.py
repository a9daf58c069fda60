"""A real installed package on a machine without a GPU: the driver stood in for, a GPU stated, and the CPU taken for it."""

from __future__ import annotations

import ctypes
import importlib
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
    """Let `.cuda()` stay where a tensor is, and streams be none."""
    tensor.cuda = lambda self, *_args, **_kwargs: self
    stream = type("Stream", (), {"cuda_stream": 0, "synchronize": lambda _self: None})()
    torch.cuda.current_stream = lambda *_args, **_kwargs: stream
    torch.cuda.is_current_stream_capturing = lambda: False
    torch.cuda.synchronize = lambda *_args, **_kwargs: None
