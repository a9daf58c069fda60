from __future__ import annotations

import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

from probes.subject import NotOfferedError
from probes.subjects import flashinfer_tactics


@dataclass
class StaticDim:
    val: int


@dataclass
class Profile:
    shapes: list[list[StaticDim]]
    tensor_initializers: list[None]


class Scaling:
    """Scales by its tactic; -1 is what FlashInfer takes where nothing was tuned."""

    def get_valid_tactics(self, inputs: Any, profile: Profile) -> list[Any]:
        assert [each.val for each in profile.shapes[0]] == list(inputs[0].shape)
        assert [each.val for each in profile.shapes[1]] == [0]
        return [2, (3, "a")]

    def forward(self, values: Any, tactic: Any) -> Any:
        return values * (tactic[0] if isinstance(tactic, tuple) else tactic)


class AutoTuner:
    def choose_one(self, name: str, runners: Any, settings: Any, inputs: Any, **more: Any) -> Any:
        del self, name, settings, inputs, more
        return runners[0], -1


@pytest.fixture(params=["stand-in", "real"])
def tuner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    if request.param == "real":
        real: Any = pytest.importorskip("flashinfer.autotuner", exc_type=ImportError)
        monkeypatch.setattr(
            real, "Runner", type("Runner", (Scaling, real.TunableRunner), {}), raising=False
        )
        return real
    module = SimpleNamespace(AutoTuner=AutoTuner, StaticDim=StaticDim, OptimizationProfile=Profile)
    module.Runner, module.TuningConfig = type("Runner", (Scaling,), {}), lambda: None
    monkeypatch.setitem(sys.modules, "flashinfer", SimpleNamespace(autotuner=module))
    monkeypatch.setitem(sys.modules, "flashinfer.autotuner", module)
    return module


def multiply(tuner: Any) -> Any:
    values = torch.ones(4, 8)
    one = tuner.AutoTuner()
    runner, tactic = one.choose_one(
        "fp4_gemm", [tuner.Runner()], tuner.TuningConfig(), [values, None]
    )
    return runner.forward(values, tactic)


def test_all_that_may_be_chosen_is_named(tuner: Any) -> None:
    names = flashinfer_tactics.listed(lambda: multiply(tuner))
    assert names == ["fp4_gemm Runner 2", "fp4_gemm Runner (3,'a')"]


def test_the_one_that_is_asked_for_runs_and_the_autotuner_is_itself_again(tuner: Any) -> None:
    usual = tuner.AutoTuner.choose_one
    made = flashinfer_tactics.forced("fp4_gemm Runner (3,'a')", lambda: multiply(tuner))
    assert float(made[0, 0]) == 3
    assert tuner.AutoTuner.choose_one is usual
    assert float(multiply(tuner)[0, 0]) == -1


def test_a_tactic_that_is_not_asked_for_is_not_offered(tuner: Any) -> None:
    with pytest.raises(NotOfferedError, match="Runner 9"):
        flashinfer_tactics.forced("fp4_gemm Runner 9", lambda: multiply(tuner))
