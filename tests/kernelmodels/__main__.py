"""Adapters over the package in this interpreter, its kernels modelled on the CPU.

`python -m tests.kernelmodels SUBJECT CAPABILITY` surveys an adapter, JSON, a line a call; with a request file behind it the suite
itself is run, in which every case is to be right. Without a capability nothing is stated and nothing modelled: for subjects that
run on a CPU by themselves.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from typing import Any

import torch

from tests.kernelmodels import entry
from tests.kernelmodels.survey import survey

UNMODELLED = {"vllm": frozenset({"marlin"})}


def main(name: str, capability: str = "", *request: str) -> int:
    """Work under a stated compute capability such as 12.1, or on the machine as it is; return an exit code."""
    warnings.simplefilter("ignore")
    calls: list[str] = []
    if capability:
        major, minor = (int(part) for part in capability.split("."))
        entry.enter((major, minor))
    adapter: Any = importlib.import_module(f"probes.subjects.{name}")
    adapter.load()
    if capability:
        importlib.import_module(f"tests.kernelmodels.{name}").install(calls)
    if request:
        run: Any = importlib.import_module("probes.__main__").main
        return int(run(list(request)))
    subject = adapter.make(torch.device("cpu"))
    for call in survey(subject, adapter.OFFERS, calls, UNMODELLED.get(name, frozenset())):
        told = call.told() | {"advertised": subject.advertised(call.operation, call.backend)}
        sys.stdout.write(json.dumps(told) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
