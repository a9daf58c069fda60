"""What `vllm bench serve` prints at its end (vllm/benchmarks/serve.py), and its kin of other names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from matrix.result import Form, Metric, Role, Source, Unit
from matrix.runs.run import Run, number
from matrix.vocabulary import Reason

FIGURE: Final = "output_throughput"
_LABELS: Final[dict[str, tuple[str, Unit]]] = {
    "successful requests": ("requests", "req"),
    "failed requests": ("failed_requests", "req"),
    "maximum request concurrency": ("concurrency", "req"),
    "max request concurrency": ("concurrency", "req"),
    "request rate configured (rps)": ("request_rate", "req/s"),
    "traffic request rate": ("request_rate", "req/s"),
    "benchmark duration (s)": ("duration", "s"),
    "total input tokens": ("input_tokens", "tok"),
    "total generated tokens": ("output_tokens", "tok"),
    "request throughput (req/s)": ("request_throughput", "req/s"),
    "output token throughput (tok/s)": (FIGURE, "tok/s"),
    "peak output token throughput (tok/s)": ("output_throughput_peak", "tok/s"),
    "peak concurrent requests": ("concurrency_peak", "req"),
    "total token throughput (tok/s)": ("total_throughput", "tok/s"),
}
_LATENCY = re.compile(r"(mean|median|p[0-9]{1,3}(?:\.[0-9]+)?) (ttft|tpot|itl|e2el) \(ms\)")
_ENTRY = re.compile(
    rf"(?:^|[\s|>#*\]])({'|'.join(map(re.escape, _LABELS))}|{_LATENCY.pattern}):\s*(\S.*)?$",
    re.IGNORECASE,
)
_HEADER = re.compile(r"=\s*Serving Benchmark Result\s*=")
_FOOTER: Final = "=" * 20
_NEEDED: Final = ("requests", "duration", "input_tokens", "output_tokens", FIGURE)
_LOAD: Final = ("requests", "input_tokens", "output_tokens", "concurrency", "request_rate")
_LONGEST: Final = 500  # lines; a block has about 40
_ROUNDING: Final = 0.006  # the figures are printed with two decimals
_SLACK: Final = 0.01
LEAST: Final = 1e-6
MOST: Final = 1e12
"""Between these a time or a speed can be true, and no ratio of two leaves what a float holds."""


class Block:
    """The lines from one header to its closing line."""

    def __init__(self) -> None:
        self.metrics: dict[str, Metric] = {}
        self.trouble: Reason = ""
        self.text = ""
        self.lines = 0

    def take(self, line: str, *, whole: bool = True) -> bool:
        """Take one line; True where it closes the block.

        One that is not whole may be cut inside its number, which is not taken. A block that is opened
        anew or never closed is cut as well: the caller says so (`cut`).
        """
        self.lines += 1
        if line.endswith(_FOOTER) and not opens(line):
            return True
        entry = _ENTRY.search(line) if whole else None
        if entry is None:
            return False
        label, value = entry[1].lower(), (entry[4] or "").strip()
        key, unit = named(label)
        if key == "request_rate" and value.lower() == "inf":
            return False
        told = number(value)
        if told is None:
            self._trouble("unreadable_number", f"{entry[1]} is {value[:40]!r}")
        elif key in self.metrics and self.metrics[key].value != told:
            self._trouble("inconsistent_numbers", f"{entry[1]} is told twice, and differs")
        else:
            self.metrics[key] = Metric(value=told, unit=unit)
        return False

    def cut(self) -> None:
        """Mark a block whose end is missing: its last number may be cut, too."""
        self._trouble("incomplete_log", "the log ends before the result does")

    @property
    def endless(self) -> bool:
        """Whether it has gone on for longer than any result does."""
        return self.lines > _LONGEST

    def run(self, source: Source) -> Run:
        """Make the run that the block tells of."""
        return serving_run(source, source.role, self.metrics, self.trouble, self.text)

    def _trouble(self, reason: Reason, text: str) -> None:
        if not self.trouble:
            self.trouble, self.text = reason, text


def opens(line: str) -> bool:
    """Whether a line is the header of a result."""
    return bool(_HEADER.search(line))


def named(label: str) -> tuple[str, Unit]:
    """Name the metric of a label, in lower case: `mean ttft (ms)` is `ttft_mean`."""
    if label in _LABELS:
        return _LABELS[label]
    latency = _LATENCY.fullmatch(label)
    if latency is None:
        raise KeyError(label)
    return f"{latency[2]}_{latency[1].replace('.', '_')}", "ms"


def serving_run(
    source: Source, role: Role, metrics: Mapping[str, Metric], trouble: Reason = "", text: str = ""
) -> Run:
    """Make a run of a server benchmark's metrics, by the names that `named` gives.

    Two are of the same load where requests, input and output tokens, concurrency and request rate are
    equal. What is missing, failed, or does not fit together is its trouble.
    """
    if not trouble:
        trouble, text = _fault(metrics, source.form)
    told = [f"{key}={metrics[key].value:g}" for key in _LOAD if key in metrics]
    duration = metrics.get("duration")
    return Run(
        source=source,
        role=role,
        capability="serve",
        load=() if trouble else tuple(told),
        metrics={key: metric for key, metric in metrics.items() if key != "duration"},
        figure="" if trouble else FIGURE,
        seconds=duration.value if duration else None,
        trouble=trouble,
        text=text,
    )


def _fault(metrics: Mapping[str, Metric], form: Form) -> tuple[Reason, str]:
    missing = [key for key in _NEEDED if key not in metrics]
    if missing:
        return "incomplete_log", f"it says no {missing[0]} ({form})"
    for key in ("requests", "input_tokens", "output_tokens"):
        if not metrics[key].value.is_integer():
            return "unreadable_number", f"{key} is {metrics[key].value:g}"
    requests, duration, _, tokens, speed = (metrics[key].value for key in _NEEDED)
    failed = metrics["failed_requests"].value if "failed_requests" in metrics else 0
    if failed or not requests:
        return "requests_failed", f"{failed:g} requests failed and {requests:g} did not"
    if not all(LEAST < each < MOST for each in (duration, speed)):
        return "inconsistent_numbers", "nothing was generated, or in no time"
    off = abs(tokens / duration / speed - 1)
    if off > _SLACK + _ROUNDING / duration + _ROUNDING / speed:
        return (
            "inconsistent_numbers",
            f"{tokens:g} tokens in {duration:g} s are not {speed:g} tok/s",
        )
    return "", ""
