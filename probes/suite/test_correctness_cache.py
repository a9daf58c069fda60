"""Does the KV cache give back what was written, and does attention read it? Head sizes 64, 96, 128 and 256."""

from __future__ import annotations

from collections.abc import Iterator

from probes.case import Case
from probes.check import Load, check
from probes.correctness.making import make
from probes.correctness.work import judged
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged

HEAD_SIZES = (64, 96, 128, 256)


def cache_loads(run: Request) -> Iterator[Load]:
    """Yield each head size, with tokens that fill no whole page."""
    full = run.scale == "full"
    for size in HEAD_SIZES:
        dtype = "float16" if size == HEAD_SIZES[1] else "bfloat16"
        tokens, heads = (500, 8) if full else (37, 3)
        yield {"tokens": tokens, "heads": heads, "head_size": size, "page_size": 16, "dtype": dtype}
    yield {
        "tokens": 100 if full else 19, "heads": 1, "head_size": 128,
        "page_size": 64 if full else 32, "dtype": "bfloat16",
    }  # fmt: skip


@check("kv_cache", cache_loads)
def test_written_and_read(subject: Charged, case: Case, run: Request) -> Finding:
    """Write keys and values to shuffled slots, and read them back."""
    return judged(subject, case, make(subject, case, run))


def attend_loads(run: Request) -> Iterator[Load]:
    """Yield each head size, with requests of several lengths."""
    full = run.scale == "full"
    for size in HEAD_SIZES:
        yield {
            "requests": 8 if full else 2, "length": 500 if full else 19,
            "query_heads": 32 if full else 4, "heads": 8 if full else 2, "head_size": size, "page_size": 16,
            "dtype": "float16" if size == HEAD_SIZES[1] else "bfloat16",
        }  # fmt: skip


@check("kv_attend", attend_loads)
def test_attended(subject: Charged, case: Case, run: Request) -> Finding:
    """Attend to what was written, by the package's own decode kernel."""
    return judged(subject, case, make(subject, case, run))
