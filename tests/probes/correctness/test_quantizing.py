"""The fused activation: right kernels round its middle in more than one way; MXFP4: any of the three rules is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.case import Case
from probes.correctness import inputs, quantizing
from probes.correctness.work import launch
from probes.reference import mxfp4, nvfp4
from probes.reference.layout import Layout, swizzle
from probes.subject import Charged
from probes.subjects.reference import Reference

pytestmark = pytest.mark.torch

Middle = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Other(Reference):
    """Makes the middle as told."""

    middle: Middle

    def silu_quantize(self, gate_up: torch.Tensor, multiplier: Any, **_: Any) -> Any:
        gate, up = gate_up.float().chunk(2, dim=-1)
        made = nvfp4.quantize(
            self.middle(gate, up).to(gate_up.dtype), global_scale_multiplier=multiplier
        )
        return made.packed, swizzle(made.scales.view(torch.uint8), layout=Layout.ROWS_128)


def told(middle: Middle, dtype: str, seed: int) -> tuple[str, str]:
    subject = Other(torch.device("cpu"))
    subject.middle = middle
    charged = Charged(subject)
    case = Case("x", "silu_quantize", "plain", {"m": 33, "k": 128, "dtype": dtype})
    work = quantizing.silu_quantize(charged, case, seed)
    fault, _ = work.judge(launch(charged, work))
    return ("", "") if fault is None else (fault.reason, fault.text)


def silu(gate: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.silu(gate)


def approximate(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """As fast functions of the hardware: each within 2^-20."""
    noise = 1 + 2.0**-20 * (
        2 * torch.rand(gate.shape, generator=torch.Generator().manual_seed(1)) - 1
    )
    return silu(gate) * noise * up


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("seed", range(5))
def test_a_middle_that_is_rounded_otherwise_or_by_fast_functions_is_right(
    dtype: str, seed: int
) -> None:
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}[dtype]
    assert told(lambda gate, up: silu(gate) * up, dtype, seed) == ("", "")
    assert told(lambda gate, up: silu(gate).to(half).float() * up, dtype, seed) == ("", "")
    assert told(approximate, dtype, seed) == ("", "")


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        (lambda gate, up: silu(up) * gate, "gate and up are swapped"),
        (lambda gate, up: gate * up, "the activation is left out"),
        (lambda gate, _: silu(gate), "up is left out"),
        (lambda gate, up: torch.relu(gate) * up, "the activation is relu"),
    ],
)
def test_another_activation_is_named(middle: Middle, words: str) -> None:
    assert told(middle, "bfloat16", 0) == ("wrong_numbers", words)


VALUES = inputs.normal(33, 96, seed=1, dtype=torch.bfloat16)


@pytest.mark.parametrize("rule", mxfp4.Rule)
def test_mxfp4_by_any_rule_is_right(rule: mxfp4.Rule) -> None:
    made = mxfp4.quantize(VALUES, rule=rule)
    assert quantizing._mxfp4(VALUES, (made.packed, made.exponents), None)[0] is None


def test_mxfp4_with_swapped_codes_or_exponents_of_no_rule_is_wrong() -> None:
    made = mxfp4.quantize(VALUES, rule=mxfp4.Rule.CEIL)
    swapped = (made.packed >> 4) | (made.packed << 4)
    fault, _ = quantizing._mxfp4(VALUES, (swapped, made.exponents), None)
    assert fault is not None
    assert fault.reason == "wrong_packing"
    fault, _ = quantizing._mxfp4(VALUES, (made.packed, made.exponents + 2), None)
    assert fault is not None
    assert fault.reason == "wrong_scale"
