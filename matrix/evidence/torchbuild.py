"""How a torch wheel was built: its CUDA, its commit, and the architectures that it was compiled for."""

from __future__ import annotations

import ast
import contextlib
import re
from typing import Final

from matrix.evidence.syntax import tree
from matrix.evidence.wheel import Wheel

_VERSION: Final = "torch/version.py"
_FLAGS_IN: Final = "torch/lib/libtorch_python.so"
"""Holds the string that `torch.cuda.get_arch_list()` gives back: torch/csrc/cuda/Module.cpp compiles
CUDA_ARCH_FLAGS in. A fiftieth of libtorch_cuda.so, and read up to that string only."""

_FLAG: Final = rb"(?:sm|compute)_\d{2,3}[af]?"
_FLAGS: Final = re.compile(rb"(?:\0(%b)|(%b(?: %b)+))\0" % (_FLAG, _FLAG, _FLAG))
"""In 2.8 and 2.9 it stands among the constants that the compiler copies from, behind no NUL."""

_OVERLAP: Final = 1024  # bytes of the last chunk looked at again; 30 architectures are 250


def read_torch(wheel: Wheel) -> dict[str, str]:
    """Return the facts of a torch wheel.

    `cuda`: version of the toolkit ("13.0"), "" for a build without CUDA; `git`: the commit;
    `arch_list`: as `torch.cuda.get_arch_list()` would say, space-separated; `arch_list_from`: the member
    that states it. What cannot be read is left out: without `cuda` it is not known whether CUDA is in.
    Raises what `Wheel` raises.
    """
    if _VERSION not in wheel:
        return {}
    said = _assigned(wheel.read(_VERSION))
    facts = {
        key: said[name] for key, name in (("cuda", "cuda"), ("git", "git_version")) if name in said
    }
    if facts.get("cuda") and (flags := _arch_flags(wheel)):
        facts |= {"arch_list": flags, "arch_list_from": _FLAGS_IN}
    return facts


def _assigned(source: bytes) -> dict[str, str]:
    """Return the module's constants; None reads as ""."""
    try:
        body = tree(source, _VERSION).body
    except SyntaxError:
        return {}
    found: dict[str, str] = {}
    for statement in body:
        if isinstance(statement, ast.AnnAssign):
            targets: list[ast.expr] = [statement.target]
        elif isinstance(statement, ast.Assign):
            targets = statement.targets
        else:
            continue
        value = statement.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str | None):
            found |= {each.id: value.value or "" for each in targets if isinstance(each, ast.Name)}
    return found


def _arch_flags(wheel: Wheel) -> str:
    if _FLAGS_IN not in wheel:
        return ""
    kept = b""
    with contextlib.closing(wheel.peek(_FLAGS_IN)) as chunks:
        for chunk in chunks:
            window = kept + chunk
            if found := _FLAGS.search(window):
                return (found[1] or found[2]).decode()
            kept = window[-_OVERLAP:]
    return ""
