"""`python -m tests.kernelmodels SUBJECT CAPABILITY`: survey an adapter over the package in this interpreter; JSON, a line a call."""

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


def main(name: str, capability: str) -> None:
    """Print what each call of an adapter came to, under a stated compute capability such as 12.1."""
    warnings.simplefilter("ignore")
    major, minor = (int(part) for part in capability.split("."))
    entry.enter((major, minor))
    adapter: Any = importlib.import_module(f"probes.subjects.{name}")
    adapter.load()
    calls: list[str] = []
    importlib.import_module(f"tests.kernelmodels.{name}").install(calls)
    subject = adapter.make(torch.device("cpu"))
    for call in survey(subject, adapter.OFFERS, calls, UNMODELLED.get(name, frozenset())):
        told = call.told() | {"advertised": subject.advertised(call.operation, call.backend)}
        sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:3])
