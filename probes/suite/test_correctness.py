"""Are the numbers right? Bytes against the reference exactly, products by relative L2, cosine and norm ratio."""

from __future__ import annotations

from collections.abc import Iterator

from probes import inputs, judge, nvfp4, product, watch
from probes.case import Case
from probes.check import Load, check
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged

ROWS = (1, 2, 3, 7, 16, 17, 32, 33, 128, 129, 384, 512, 1024, 3072, 4096)
"""facts.md's sweep of M; zeros at M=3072 and at neither neighbour were seen in the field."""


def gemm_loads(run: Request) -> Iterator[Load]:
    """Yield the sweep of M, in bfloat16 and float16."""
    rows = ROWS if run.scale == "full" else (1, 17, 33, 129)
    n, k = (2048, 1024) if run.scale == "full" else (64, 128)
    for dtype in ("bfloat16", "float16"):
        for m in rows:
            yield {"m": m, "n": n, "k": k, "dtype": dtype}


@check("gemm", gemm_loads)
def test_gemm(subject: Charged, case: Case, run: Request) -> Finding:
    """Multiply operands that the reference quantized, so that only the product is judged."""
    dtype = inputs.DTYPES[case.word("dtype")]
    seed = case.seed(run.seed)
    a = nvfp4.quantize(inputs.normal(case["m"], case["k"], seed=seed, dtype=dtype))
    b = nvfp4.quantize(inputs.normal(case["n"], case["k"], seed=seed + 2, dtype=dtype))
    alpha = product.alpha(a, b)
    want = product.gemm(a, b, alpha=alpha)
    layout = subject.scale_layout("gemm", case.backend, case["m"])
    left = inputs.operand(a, layout, subject.device)
    weights = inputs.operand(b, None, subject.device)
    right = subject.prepare("gemm", weights, backend=case.backend)
    got, kernels = watch.kernels(
        lambda: subject.gemm(
            left, right, alpha.to(subject.device), dtype=dtype, backend=case.backend
        ),
        subject.device,
    )
    fault, figures = judge.product(got, want)
    if fault:
        return judge.refused(fault.reason, fault.text, metrics=figures)
    return Finding(
        status="pass",
        metrics=figures,
        kernels=kernels,
        seeds=(seed,),
        digests={"product": judge.sha256(got)},
    )
