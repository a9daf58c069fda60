"""Weight-only products made ready: activations stay in 16 bits, and what a right kernel may be off is rounding alone."""

from __future__ import annotations

import torch

from probes.case import Case
from probes.correctness import bounds, inputs, judge, multiplying
from probes.correctness.work import Outputs, Work
from probes.reference import nvfp4, product
from probes.reference.product import Experts
from probes.subject import Charged


def w4a16_gemm(subject: Charged, case: Case, seed: int) -> Work:
    """Make `w4a16_gemm` ready; loads: m, n, k, dtype."""
    dtype = inputs.DTYPES[case.word("dtype")]
    values = inputs.normal(case["m"], case["k"], seed=seed, dtype=dtype)
    b = multiplying.weights(case["n"], case["k"], seed=seed + 2)
    right = subject.prepare(
        "w4a16_gemm", inputs.operand(b, None, subject.device), backend=case.backend
    )

    def call(ops: Charged, given: torch.Tensor) -> Outputs:
        return (ops.w4a16_gemm(given, right, dtype=dtype, backend=case.backend),)

    return Work(
        operation="w4a16_gemm",
        inputs=(values.to(subject.device),),
        call=call,
        judge=lambda made: judge.product(
            made[0], product.linear(values.float(), nvfp4.dequantize(b))
        ),
        names=("product",),
        seed=seed,
    )


def w4a16_moe(subject: Charged, case: Case, seed: int) -> Work:
    """Make `w4a16_moe` ready; loads as `moe`. The middle is rounded, and so is each expert's output: twice a product's bound."""
    dtype, device = inputs.DTYPES[case.word("dtype")], subject.device
    hidden = inputs.normal(case["tokens"], case["hidden"], seed=seed, dtype=dtype)
    ids, shares = inputs.routing(
        case["tokens"], case["experts"], case["top_k"], kind=case.word("routing"), seed=seed + 5
    )
    experts = multiplying.experts_for(hidden, case["experts"], case["intermediate"], seed)
    ready = subject.prepare("w4a16_moe", multiplying.moved(experts, device), backend=case.backend)

    def call(
        ops: Charged, given: torch.Tensor, which: torch.Tensor, share: torch.Tensor
    ) -> Outputs:
        return (
            ops.w4a16_moe(
                given, ready, expert_ids=which, expert_weights=share, backend=case.backend
            ),
        )

    return Work(
        operation="w4a16_moe",
        inputs=(hidden.to(device), ids.to(device), shares.to(device)),
        call=call,
        judge=lambda made: judge.product(
            made[0], _experts(hidden, experts, ids, shares), bound=2 * bounds.product(dtype)
        ),
        names=("output",),
        seed=seed,
        exact=False,
    )


def _experts(
    hidden: torch.Tensor, experts: Experts, ids: torch.Tensor, shares: torch.Tensor
) -> torch.Tensor:
    """Return the output of experts whose activations are not quantized: float32 (T, H)."""
    total = torch.zeros(hidden.shape, dtype=torch.float32)
    for expert in range(experts.down.packed.shape[0]):
        tokens, choices = torch.nonzero(ids == expert, as_tuple=True)
        weights = (nvfp4.dequantize(nvfp4.select(each, expert)) for each in (experts.gate_up, experts.down))  # fmt: skip
        gate, up = product.linear(hidden[tokens].float(), next(weights)).chunk(2, dim=-1)
        out = product.linear(torch.nn.functional.silu(gate) * up, next(weights))
        total.index_add_(0, tokens, out * shares[tokens, choices, None])
    return total
