"""Are the numbers right? Bytes against the reference exactly, products by relative L2, cosine and norm ratio."""

from __future__ import annotations

from collections.abc import Iterator

from probes.case import Case
from probes.check import Load, check
from probes.correctness.making import make
from probes.correctness.work import judged
from probes.finding import Finding, refused
from probes.request import Request
from probes.subject import Charged, ChargedError

ROWS = (1, 2, 3, 7, 16, 17, 32, 33, 128, 129, 384, 512, 1024, 3072, 4096)
"""facts.md's sweep of M; zeros at M=3072 and at neither neighbour were seen in the field."""

DTYPES = ("bfloat16", "float16")
BF16 = "bfloat16"

ALIGNED = 32
"""K that CUTLASS's FP4 kernels want a multiple of; another is refused clearly, or right."""


def quantize_loads(run: Request) -> Iterator[Load]:
    """Yield the sweep of M, K that pads scale columns, each layout, and the values that quantizers get wrong."""
    full = run.scale == "full"
    k = 2048 if full else 80
    for dtype in DTYPES if full else (BF16,):
        for m in ROWS if full else (1, 17, 129):
            yield {"m": m, "k": k, "dtype": dtype, "layout": "128x4", "values": "normal"}
    if not full:
        yield {"m": 17, "k": k, "dtype": "float16", "layout": "128x4", "values": "normal"}
    for odd, dtype in ((48, "float16"), (1040, BF16)):
        yield {"m": 33, "k": odd, "dtype": dtype, "layout": "128x4", "values": "normal"}
    for layout in ("rows", "8x4"):
        yield {
            "m": 130 if full else 17,
            "k": k,
            "dtype": BF16,
            "layout": layout,
            "values": "normal",
        }
    for dtype in DTYPES if full else (BF16,):
        for values in ("ties", "saturating", "zeros", "small"):
            size = 128 if not full else 1024
            yield {"m": 40, "k": size, "dtype": dtype, "layout": "128x4", "values": values}


@check("quantize", quantize_loads)
def test_quantize(subject: Charged, case: Case, run: Request) -> Finding:
    """Quantize, and compare codes and scales byte by byte."""
    return judged(subject, case, make(subject, case, run))


def silu_quantize_loads(run: Request) -> Iterator[Load]:
    """Yield some M, in both types."""
    full = run.scale == "full"
    for dtype in DTYPES:
        for m in (1, 17, 128, 300) if full else (33,):
            yield {"m": m, "k": 2048 if full else 128, "dtype": dtype}


@check("silu_quantize", silu_quantize_loads)
def test_silu_quantize(subject: Charged, case: Case, run: Request) -> Finding:
    """Quantize silu(gate) * up, and compare what the bytes mean: kernels round the middle in more than one right way."""
    return judged(subject, case, make(subject, case, run))


def gemm_loads(run: Request) -> Iterator[Load]:
    """Yield the sweep of M, and K that is 16 times an odd number."""
    full = run.scale == "full"
    n, k = (2048, 1024) if full else (64, 128)
    for dtype in DTYPES:
        for m in ROWS if full else (1, 17, 129) if dtype == BF16 else (2, 17):
            yield {"m": m, "n": n, "k": k, "dtype": dtype}
    if not full:
        yield {"m": 3072, "n": 16, "k": 32, "dtype": BF16}
    for m, odd, dtype in ((17, 48, BF16), (7, 1040, "float16")):
        yield {"m": m, "n": 128 if full else 48, "k": odd, "dtype": dtype}


@check("gemm", gemm_loads)
def test_gemm(subject: Charged, case: Case, run: Request) -> Finding:
    """Multiply operands that the reference quantized, so that only the product is judged."""
    return _or_refused(subject, case, run)


def _or_refused(subject: Charged, case: Case, run: Request) -> Finding:
    """Judge a product; a K that no kernel takes may be refused in words, which is neither wrong nor a crash."""
    try:
        return judged(subject, case, make(subject, case, run))
    except ChargedError as error:
        if case["k"] % ALIGNED and error.reason == "failed":
            return refused("not_offered", f"K={case['k']} is refused: {error}")
        raise


def mxfp4_loads(run: Request) -> Iterator[Load]:
    """Yield few sizes: MXFP4 is the sister, not the matter."""
    full = run.scale == "full"
    for m, dtype in ((33, BF16), (129, "float16")):
        yield {"m": m, "n": 512 if full else 32, "k": 1024 if full else 96, "dtype": dtype}


@check("mxfp4_quantize", mxfp4_loads)
def test_mxfp4_quantize(subject: Charged, case: Case, run: Request) -> Finding:
    """Quantize to MXFP4, by any of the three rules for exponents."""
    return judged(subject, case, make(subject, case, run))


@check("mxfp4_gemm", mxfp4_loads)
def test_mxfp4_gemm(subject: Charged, case: Case, run: Request) -> Finding:
    """Multiply MXFP4 operands."""
    return judged(subject, case, make(subject, case, run))
