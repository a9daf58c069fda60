"""vLLM's own log: throughput every ten seconds (v1/metrics/loggers.py), and which kernels it chose."""

from __future__ import annotations

import re
from typing import Final

from matrix.result import Metric, Source
from matrix.runs.run import Run, number
from matrix.vocabulary import Reason

_GENERATION = re.compile(r"Avg generation throughput: ([0-9.]{1,20}) tokens/s")
_PROMPT = re.compile(r"Avg prompt throughput: ([0-9.]{1,20}) tokens/s")
_RUNNING = re.compile(r"Running: ([0-9]{1,9}) reqs")
_KERNELS: Final = (
    re.compile(r"Using ([A-Za-z0-9_.-]{1,80}) for NVFP4 GEMM"),
    re.compile(r"Using '?([A-Za-z0-9_.-]{1,80})'? NvFp4 MoE backend"),
)
_SIGNS: Final = (
    ("Your GPU does not have native support for FP4", "marlin"),
    ("NVFP4 linear falling back to the slow and unoptimized emulation", "emulation"),
)
_FALLBACKS: Final[tuple[tuple[str, Reason], ...]] = (
    ("emulation", "emulation_fallback"),
    ("marlin", "weight_only_fallback"),
    ("humming", "weight_only_fallback"),
)
_MOST_KERNELS: Final = 20


class EngineLog:
    """What the engine said so far, in a few numbers."""

    def __init__(self) -> None:
        self.kernels: dict[str, None] = {}
        self.busy = 0
        self.generated = self.peak = self.prompt_peak = 0.0
        self.running = 0.0

    def take(self, line: str) -> None:
        """Take one line of the log, or of anything else."""
        said = _GENERATION.search(line)
        if said and (speed := number(said[1])):
            self.busy += 1
            self.generated += speed
            self.peak = max(self.peak, speed)
            self.prompt_peak = max(self.prompt_peak, _read(_PROMPT, line))
            self.running = max(self.running, _read(_RUNNING, line))
        found = [match[1] for pattern in _KERNELS if (match := pattern.search(line))]
        found += [name for sign, name in _SIGNS if sign in line]
        for name in found:
            if len(self.kernels) < _MOST_KERNELS:
                self.kernels[name] = None

    def run(self, source: Source) -> Run:
        """Make the run that its busy lines tell of; which load it was they do not say."""
        return Run(
            source=source,
            role=source.role,
            capability="serve",
            metrics={
                "engine_throughput_mean": Metric(value=self.generated / self.busy, unit="tok/s"),
                "engine_throughput_peak": Metric(value=self.peak, unit="tok/s"),
                "engine_prompt_throughput_peak": Metric(value=self.prompt_peak, unit="tok/s"),
                "engine_requests_peak": Metric(value=self.running, unit="req"),
                "engine_lines": Metric(value=self.busy, unit="line"),
            },
        )


def fallback(kernels: tuple[str, ...]) -> Reason:
    """Say why kernels are no native ones, by their names; "" where none of them falls back."""
    for word, reason in _FALLBACKS:
        if any(word in kernel.lower() for kernel in kernels):
            return reason
    return ""


def _read(pattern: re.Pattern[str], line: str) -> float:
    said = pattern.search(line)
    return (number(said[1]) if said else None) or 0.0
