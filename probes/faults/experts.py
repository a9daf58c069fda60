"""Faults in mixtures of experts: `grouped_gemm` and `moe`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from probes.faults.fault import STEADY, Planted, fault
from probes.reference.product import Experts
from probes.subject import Operand


@fault("I", "grouped_gemm", "wrong_numbers", also=("wrong_scale", "all_zero"))
class EmptyExpertMiscounted(Planted):
    """An expert without rows is not counted, and those behind it are given each other's weights."""

    def grouped_gemm(self, a: Operand, b: Any, rows: torch.Tensor, **kwargs: Any) -> Any:
        full = rows > 0
        if bool(full.all()):
            return super().grouped_gemm(a, b, rows, **kwargs)
        closed = torch.cat((rows[full], rows[~full]))
        return super().grouped_gemm(a, b, closed, **kwargs)


@fault("G", "grouped_gemm", "wrong_scale", also=("wrong_numbers",))
class OneScaleForAllExperts(Planted):
    """Every expert is given the global scale of the first."""

    def grouped_gemm(self, a: Operand, b: Any, rows: torch.Tensor, **kwargs: Any) -> Any:
        shared = a.multiplier[:1].expand_as(a.multiplier)
        return super().grouped_gemm(replace(a, multiplier=shared), b, rows, **kwargs)


@fault("I", "grouped_gemm", "all_zero", also=("wrong_numbers",))
class LastExpertNotComputed(Planted):
    """The rows of the last expert that has any stay zero."""

    def grouped_gemm(self, a: Operand, b: Any, rows: torch.Tensor, **kwargs: Any) -> Any:
        made = super().grouped_gemm(a, b, rows, **kwargs)
        last = int(rows[rows > 0][-1])
        made[-last:] = 0
        return made


@fault("I", "moe", "wrong_numbers", also=("wrong_scale",))
class ExpertWeightsIgnored(Planted):
    """Every expert counts the same, whatever the router says."""

    def moe(self, *args: Any, expert_weights: torch.Tensor, **kwargs: Any) -> Any:
        even = torch.full_like(expert_weights, 1 / expert_weights.shape[-1])
        return super().moe(*args, expert_weights=even, **kwargs)


@fault("I", "moe", "wrong_numbers", also=("wrong_scale",))
class ExpertsGateAndUpSwapped(Planted):
    """Gate and up are taken for each other."""

    def moe(self, hidden: torch.Tensor, experts: Experts, **kwargs: Any) -> Any:
        return super().moe(hidden, replace(experts, gate_first=not experts.gate_first), **kwargs)


@fault("I", "moe", "all_zero")
class ExpertsAllZero(Planted):
    """Nothing is written: what a tolerance of 0.1 on outputs of 0.005 does not see."""

    def moe(self, *args: Any, **kwargs: Any) -> Any:
        return torch.zeros_like(super().moe(*args, **kwargs))


@fault("I", "moe", "wrong_numbers", also=("wrong_scale", "all_zero"))
class SecondChoiceDropped(Planted):
    """Only the first of each token's experts is computed."""

    def moe(
        self, *args: Any, expert_ids: torch.Tensor, expert_weights: torch.Tensor, **kwargs: Any
    ) -> Any:
        return super().moe(
            *args, expert_ids=expert_ids[:, :1], expert_weights=expert_weights[:, :1], **kwargs
        )


@fault("G", "moe", "wrong_numbers", also=("wrong_scale", "nan_or_inf"))
class ActivationScaleNotLoaded(Planted):
    """The multiplier of the second activation is 1, as if the checkpoint had none."""

    def moe(self, hidden: torch.Tensor, experts: Experts, **kwargs: Any) -> Any:
        one = torch.ones_like(experts.down_activation_multiplier)
        return super().moe(hidden, replace(experts, down_activation_multiplier=one), **kwargs)


@fault("I", "moe", "nondeterministic")
class ExpertsThatChange(Planted):
    """A race in the sum over experts: the same input gives another output the next time."""

    def moe(self, *args: Any, **kwargs: Any) -> Any:
        made = super().moe(*args, **kwargs)
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > STEADY:
            made[0] *= 1.5
        return made
