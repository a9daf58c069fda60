"""Are experts' numbers right? Grouped products and fused mixtures, 1 to 256 experts, some without a token."""

from __future__ import annotations

from collections.abc import Iterator

from probes.case import Case
from probes.check import Load, check
from probes.correctness.making import make
from probes.correctness.work import judged
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged


def grouped_loads(run: Request) -> Iterator[Load]:
    """Yield numbers of experts, and how rows are shared: by chance, half the experts empty, one has all."""
    if run.scale == "full":
        for experts, m in ((1, 128), (8, 500), (64, 1000), (256, 1024)):
            yield {
                "experts": experts,
                "m": m,
                "n": 512,
                "k": 512,
                "dtype": "bfloat16",
                "rows": "even",
            }
        small, size = (8, 500), {"n": 1024, "k": 1024}
    else:
        yield {"experts": 1, "m": 17, "n": 32, "k": 64, "dtype": "bfloat16", "rows": "even"}
        small, size = (5, 37), {"n": 32, "k": 64}
    for rows, dtype in (("even", "float16"), ("half", "bfloat16"), ("one", "bfloat16")):
        yield {"experts": small[0], "m": small[1], **size, "dtype": dtype, "rows": rows}


@check("grouped_gemm", grouped_loads)
def test_grouped_gemm(subject: Charged, case: Case, run: Request) -> Finding:
    """Multiply each expert's rows, which the reference quantized, by its weights."""
    return judged(subject, case, make(subject, case, run))


def moe_loads(run: Request) -> Iterator[Load]:
    """Yield numbers of experts and tokens, and how tokens are routed."""
    full = run.scale == "full"
    size = {"hidden": 512, "intermediate": 256} if full else {"hidden": 64, "intermediate": 64}
    sets: tuple[tuple[int, int, int, str], ...] = (
        (1, 1, 33, "even"),
        (2, 1, 1, "even"),
        (8, 2, 37, "half"),
        (6, 3, 21, "one"),
    )
    if full:
        sets += (
            (8, 2, 3072, "even"),
            (64, 6, 129, "even"),
            (128, 8, 512, "half"),
            (256, 8, 300, "even"),
        )
    for experts, top_k, tokens, routing in sets:
        yield {
            "experts": experts, "top_k": top_k, "tokens": tokens, **size,
            "dtype": "bfloat16", "routing": routing,
        }  # fmt: skip
    yield {
        "experts": 8, "top_k": 2, "tokens": 17, **size, "dtype": "float16", "routing": "even",
    }  # fmt: skip


@check("moe", moe_loads)
def test_moe(subject: Charged, case: Case, run: Request) -> Finding:
    """Run the fused experts on values that are not quantized yet."""
    return judged(subject, case, make(subject, case, run))
