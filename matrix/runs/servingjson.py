"""What `vllm bench serve --save-result` writes: one JSON object a run, several with --append-result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from matrix.result import Metric, Source, Unit
from matrix.runs.run import Run
from matrix.runs.serving import named, serving_run

MOST: Final = 64 << 20
"""Bytes of a file that is read as JSON; without --save-detailed it has a few thousand."""

_KEYS: Final[dict[str, tuple[str, Unit]]] = {
    "completed": ("requests", "req"),
    "failed": ("failed_requests", "req"),
    "max_concurrency": ("concurrency", "req"),
    "request_rate": ("request_rate", "req/s"),
    "duration": ("duration", "s"),
    "total_input_tokens": ("input_tokens", "tok"),
    "total_output_tokens": ("output_tokens", "tok"),
    "request_throughput": ("request_throughput", "req/s"),
    "output_throughput": ("output_throughput", "tok/s"),
    "max_output_tokens_per_s": ("output_throughput_peak", "tok/s"),
    "max_concurrent_requests": ("concurrency_peak", "req"),
    "total_token_throughput": ("total_throughput", "tok/s"),
    **{
        f"{which}_{what}_ms": named(f"{which} {what} (ms)")
        for which in ("mean", "median", "p99")
        for what in ("ttft", "tpot", "itl", "e2el")
    },
}
_Saved = msgspec.defstruct(
    "_Saved", [(key, Any, None) for key in (*_KEYS, "backend", "endpoint_type")]
)
_DECODER: Final = msgspec.json.Decoder(_Saved)


def objects(content: bytes) -> Iterator[Any]:
    """Yield the runs that a file holds: it is one object, or one a line. Anything else is passed over."""
    one = _decoded(content)
    if one is not None:
        yield one
        return
    for line in content.splitlines():
        if (each := _decoded(line)) is not None:
            yield each


def _decoded(content: bytes) -> Any | None:
    """Read one object, None where it is none of a benchmark; lists and texts in it are never kept."""
    try:
        saved: Any = _DECODER.decode(content)
    except (msgspec.DecodeError, RecursionError):
        return None
    return None if saved.completed is None or saved.duration is None else saved


def saved_run(saved: Any, source: Source) -> Run:
    """Make the run that an object tells of."""
    metrics: dict[str, Metric] = {}
    for key, (name, unit) in _KEYS.items():
        value = getattr(saved, key)
        if value is None or (key == "request_rate" and value == "inf"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:  # noqa: PLR2004 - what a float can hold without becoming infinite in a ratio
            told = f"{key} is {str(value)[:40]!r}"
            return serving_run(source, source.role, metrics, "unreadable_number", told)
        metrics[name] = Metric(value=float(value), unit=unit)
    return serving_run(source, source.role, metrics)
