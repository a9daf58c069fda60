"""Products: against loops, and against themselves in float64."""

from __future__ import annotations

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.reference import nvfp4, product
from probes.reference.nvfp4 import Nvfp4
from probes.reference.product import Experts

pytestmark = pytest.mark.torch


def random(*shape: int, seed: int = 0, spread: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * spread


def relative(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())


def stack(values: torch.Tensor) -> Nvfp4:
    """Quantize (E, N, K), each expert with a multiplier of its own."""
    multipliers = torch.stack([nvfp4.multiplier_of(each) for each in values])
    return nvfp4.quantize(values, global_scale_multiplier=multipliers.reshape(-1, 1, 1))


def test_a_gemm_with_the_right_alpha_is_the_product_of_the_dequantised_operands() -> None:
    a, b = nvfp4.quantize(random(17, 512)), nvfp4.quantize(random(96, 512, seed=1, spread=0.02))

    got = product.gemm(a, b, alpha=product.alpha(a, b))

    wanted = product.linear(nvfp4.dequantize(a), nvfp4.dequantize(b), dtype=torch.float64)
    assert got.shape == (17, 96)
    assert relative(got, wanted) < 1e-6


def test_an_inverted_global_scale_does_not_go_unseen() -> None:
    a, b = nvfp4.quantize(random(4, 64)), nvfp4.quantize(random(8, 64, seed=1))

    right = product.gemm(a, b, alpha=product.alpha(a, b))
    wrong = product.gemm(a, b, alpha=product.alpha(a, b).reciprocal())

    assert relative(wrong, right) > 1000


def test_a_linear_layer_is_near_the_one_that_was_not_quantized() -> None:
    x, w = random(33, 1024), random(256, 1024, seed=1, spread=0.02)

    got = product.linear(nvfp4.dequantize(nvfp4.quantize(x)), nvfp4.dequantize(nvfp4.quantize(w)))

    assert 0.05 < relative(got, x @ w.T) < 0.2


def test_one_element_by_hand() -> None:
    a = nvfp4.quantize(torch.full((1, 16), 6.0), global_scale_multiplier=torch.tensor(2.0))
    b = nvfp4.quantize(torch.full((1, 16), -3.0), global_scale_multiplier=torch.tensor(4.0))

    # Codes 6 and -6, block scales 2 and 2, sixteen of them; alpha brings 6 * 2 back to 6 and 6 * 2 to 3.
    assert product.alpha(a, b).item() == 1 / 8
    assert product.gemm(a, b, alpha=torch.tensor(1.0)).item() == -16 * 12 * 12
    assert product.gemm(a, b, alpha=product.alpha(a, b)).item() == -16 * 6 * 3


def test_groups_are_multiplied_by_their_own_expert_and_may_be_empty() -> None:
    x, w = random(7, 32), random(4, 5, 32, seed=1)

    got = product.grouped(x, w, rows=torch.tensor([3, 0, 4, 0]))

    assert torch.allclose(got, torch.cat((x[:3] @ w[0].T, x[3:] @ w[2].T)))


@pytest.mark.parametrize("rows", [[3, 3, 0, 0], [7, 0, 0]])
def test_rows_that_do_not_add_up_are_refused(rows: list[int]) -> None:
    with pytest.raises(ValueError, match="7"):
        product.grouped(random(7, 32), random(4, 5, 32), rows=torch.tensor(rows))


def layer(*, experts: int = 4, hidden: int = 64, middle: int = 240) -> Experts:
    return Experts(
        gate_up=stack(random(experts, 2 * middle, hidden, seed=2, spread=0.1)),
        down=stack(random(experts, hidden, middle, seed=3, spread=0.1)),
        gate_up_activation_multiplier=torch.tensor([500.0, 600.0, 700.0, 800.0][:experts]),
        down_activation_multiplier=torch.tensor(900.0),
    )


def token(x: torch.Tensor, experts: Experts, expert: int) -> torch.Tensor:
    """Return one token's output of one expert: quantize, multiply, activate, twice."""

    def rounded(values: torch.Tensor, multiplier: torch.Tensor) -> torch.Tensor:
        row = values.unsqueeze(0)
        return nvfp4.dequantize(nvfp4.quantize(row, global_scale_multiplier=multiplier))[0].double()

    both = nvfp4.dequantize(experts.gate_up)[expert].double() @ rounded(
        x, experts.gate_up_activation_multiplier[expert]
    )
    gate, up = both[: len(both) // 2], both[len(both) // 2 :]
    middle = (gate / (1 + torch.exp(-gate)) * up).to(x.dtype)
    return nvfp4.dequantize(experts.down)[expert].double() @ rounded(
        middle, experts.down_activation_multiplier
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mixture_is_the_weighted_sum_of_its_tokens_experts(dtype: torch.dtype) -> None:
    experts, hidden = layer(), random(9, 64, seed=5).to(dtype)
    ids = torch.stack(
        [torch.randperm(4, generator=torch.Generator().manual_seed(i))[:2] for i in range(9)]
    )
    weights = random(9, 2, seed=6).softmax(dim=-1)

    # In float64 no order of summation turns the rounding of a middle activation.
    got = product.moe(hidden, experts, expert_ids=ids, expert_weights=weights, dtype=torch.float64)

    wanted = torch.zeros(9, 64, dtype=torch.float64)
    for row in range(9):
        for choice in range(2):
            out = token(hidden[row], experts, int(ids[row, choice]))
            wanted[row] += weights[row, choice] * out
    assert relative(got, wanted) < 1e-9
    single = product.moe(hidden, experts, expert_ids=ids, expert_weights=weights)
    assert relative(single, wanted) < 2e-2


def test_experts_that_keep_up_before_gate_give_the_same() -> None:
    experts, hidden = layer(), random(5, 64, seed=5)
    turned = Experts(
        gate_up=Nvfp4(
            packed=experts.gate_up.packed.roll(240, dims=1),
            scales=experts.gate_up.scales.view(torch.uint8)
            .roll(240, dims=1)
            .view(torch.float8_e4m3fn),
            global_scale_multiplier=experts.gate_up.global_scale_multiplier,
        ),
        down=experts.down,
        gate_up_activation_multiplier=experts.gate_up_activation_multiplier,
        down_activation_multiplier=experts.down_activation_multiplier,
        gate_first=False,
    )
    ids, weights = torch.tensor([[0], [1], [1], [3], [0]]), torch.ones(5, 1)

    plain = product.moe(hidden, experts, expert_ids=ids, expert_weights=weights)

    assert torch.equal(product.moe(hidden, turned, expert_ids=ids, expert_weights=weights), plain)


def test_an_expert_that_is_not_there_adds_nothing() -> None:
    """Ids beyond the local experts belong to another rank of expert parallelism."""
    hidden, weights = random(2, 64), torch.ones(2, 1)

    got = product.moe(hidden, layer(), expert_ids=torch.tensor([[1], [77]]), expert_weights=weights)

    assert got[0].any()
    assert not got[1].any()
