"""The probes of speed on CPU subjects, with a clock that only the subject moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("torch", reason="the reference is plain torch: run `nox -s reference`")
import torch

from probes.case import Case
from probes.finding import Finding
from probes.request import Request
from probes.speed import contenders, race, shapes
from probes.speed.clocks import Clocks
from probes.speed.rounds import Length
from probes.subject import Charged, ChargedError, NotOfferedError
from probes.subjects import reference
from probes.subjects.reference import Reference
from probes.suite import test_speed as suite
from tests.probes.speed.racing import World

pytestmark = pytest.mark.torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """A second thread would wait for a processor that this machine may not have."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


RUN = Request(
    run="r", stack="s", target="cpu", machine="x86_64", subject="reference", device="cpu",
    results="", scale="small",
)  # fmt: skip
COSTS = {"gemm": 1e-3, "w4a16_gemm": 2e-3, "moe": 1e-3, "w4a16_moe": 2e-3, "quantize": 1e-3}


class Spending(Reference):
    """The reference, whose operations last what `costs` say in a world of its own, whatever this machine does."""

    def __init__(self, world: World, costs: dict[str, float]) -> None:
        super().__init__(torch.device("cpu"))
        for operation, seconds in costs.items():
            setattr(self, operation, self._lasting(operation, world, seconds))

    def _lasting(self, operation: str, world: World, seconds: float) -> Callable[..., Any]:
        method = getattr(self, operation)
        made: dict[int, Any] = {}

        def call(*args: Any, **kwargs: Any) -> Any:
            world.spend(seconds)
            # The same tensor gives the same: computing it once keeps the test quick.
            with self.kernel(f"reference_nvfp4_{operation}"):
                if id(args[0]) not in made:
                    made[id(args[0])] = args[0], method(*args, **kwargs)
                return made[id(args[0])][1]

        return call


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(suite, "timed", lambda *_: (made.timer(), Clocks(None, None)))
    few = Length(seconds=0, least=32, most=32)
    monkeypatch.setattr(race, "PLANS", {"small": race.Plan(idle=0, burst=few, sustained=few)})
    return made


LOADS = {
    "gemm": shapes.gemm_loads, "moe": shapes.moe_loads, "quantize": shapes.quantize_loads,
}  # fmt: skip


def probed(operation: str, subject: Reference) -> Finding:
    case = Case(f"speed.{operation}", operation, "plain", next(iter(LOADS[operation](RUN))))
    probe = {"gemm": suite.test_gemm, "moe": suite.test_moe, "quantize": suite.test_quantize}
    return probe[operation](Charged(subject), case, RUN)


@pytest.mark.parametrize("operation", ["gemm", "moe", "quantize"])
def test_a_native_kernel_that_is_fast_and_right_passes(world: World, operation: str) -> None:
    found = probed(operation, Spending(world, COSTS))

    assert (found.status, found.reason, found.marks) == ("pass", "", ())
    assert found.kernels
    assert found.metrics["burst_native"][0] == pytest.approx(1000)
    if operation != "quantize":
        assert found.metrics["speed_ratio"][0] == pytest.approx(2)


@pytest.mark.parametrize("operation", ["gemm", "moe"])
def test_a_native_kernel_that_sleeps_is_slow(world: World, operation: str) -> None:
    found = probed(operation, Spending(world, COSTS | {operation: 5e-3}))

    assert (found.status, found.reason) == ("slow", "slower_than_baseline")
    assert "of the speed of w4a16 (plain)" in found.text
    assert found.metrics["speed_ratio"][0] == pytest.approx(0.4)


def test_a_kernel_as_fast_as_the_baseline_is_not_slow(world: World) -> None:
    assert probed("gemm", Spending(world, COSTS | {"w4a16_gemm": 1e-3})).status == "pass"


def test_the_layer_with_its_quantizing_is_told_beside_the_kernel(world: World) -> None:
    found = probed("gemm", Spending(world, COSTS))

    assert found.metrics["burst_layer"][0] == pytest.approx(2000)
    assert found.metrics["burst_layer_over_w4a16"][0] == pytest.approx(1)


def test_wrong_numbers_are_not_timed(world: World) -> None:
    class Wrong(Spending):
        def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return super().gemm(*args, **kwargs).flip(-1)

    found = probed("gemm", Wrong(world, COSTS))

    assert (found.status, found.reason) == ("fail", "wrong_numbers")
    assert world.seconds < 0.1


@pytest.mark.parametrize("operation", ["gemm", "moe", "quantize"])
def test_a_shape_that_nobody_asked_for_is_the_packages_fault(world: World, operation: str) -> None:
    class Scalar(Spending):
        def gemm(self, *_: Any, **__: Any) -> torch.Tensor:
            return torch.zeros(())

        def moe(self, *_: Any, **__: Any) -> torch.Tensor:
            return torch.zeros(())

        def quantize(self, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(1, 1, dtype=torch.uint8), torch.zeros(7, 7, dtype=torch.uint8)

    with pytest.raises(ChargedError, match=operation):
        probed(operation, Scalar(world, {}))


def test_a_baseline_that_computes_nothing_is_none(world: World) -> None:
    class Empty(Spending):
        def w4a16_gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            return torch.zeros_like(super().w4a16_gemm(*args, **kwargs))

    found = probed("gemm", Empty(world, COSTS))

    assert (found.status, found.reason) == ("skip", "no_baseline")
    assert "its numbers are wrong" in found.text


def test_without_a_weight_only_kernel_there_is_no_bar_to_pass(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    offers = {name: each for name, each in reference.OFFERS.items() if name != "w4a16_gemm"}
    monkeypatch.setattr(reference, "OFFERS", offers)

    found = probed("gemm", Spending(world, COSTS))

    assert (found.status, found.reason) == ("skip", "no_baseline")
    assert "burst_speed_over_bf16" in found.metrics


def test_a_fallback_is_one_however_fast(world: World) -> None:
    class Fallback(Spending):
        @staticmethod
        def kernel(name: str) -> Any:
            return Reference.kernel(name.replace("nvfp4", "marlin"))

    found = probed("gemm", Fallback(world, {}))

    assert (found.status, found.reason) == ("fallback", "weight_only_fallback")


def test_what_raises_in_the_middle_is_charged_to_the_operation(world: World) -> None:
    class Failing(Spending):
        calls = 0

        def gemm(self, *args: Any, **kwargs: Any) -> torch.Tensor:
            self.calls += 1
            if self.calls == 20:
                raise RuntimeError("CUDA error: an illegal memory access was encountered")
            return super().gemm(*args, **kwargs)

    with pytest.raises(Exception, match="illegal memory access") as caught:
        probed("gemm", Failing(world, {}))
    assert getattr(caught.value, "reason", "") == "illegal_memory_access"


def test_a_baseline_that_fails_is_left_out_with_its_words(world: World) -> None:
    class Refusing(Spending):
        def w4a16_gemm(self, *_: Any, **__: Any) -> torch.Tensor:
            raise NotOfferedError("no Marlin for this shape")

        def quantize(self, *_: Any, **__: Any) -> tuple[torch.Tensor, torch.Tensor]:
            raise ValueError("no layout")

    found = probed("gemm", Refusing(world, COSTS))

    assert found.reason == "no_baseline"
    assert "without w4a16: no Marlin for this shape" in found.text
    assert "without layer: layer: ValueError: no layout" in found.text


def timer_finding(monkeypatch: pytest.MonkeyPatch, share: float) -> Finding:
    world = World()

    timer = world.timer()
    each = timer.each
    monkeypatch.setattr(timer, "each", lambda *a, **k: [(1 + share) * s for s in each(*a, **k)])
    monkeypatch.setattr(suite, "timed", lambda *_: (timer, Clocks(None, None)))

    def matmul(a: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        world.spend(1e-3)
        return a

    monkeypatch.setattr(torch.Tensor, "__matmul__", matmul)
    case = Case("speed.timer", "gemm", "plain", next(iter(suite.timer_loads(RUN))))
    return suite.test_timer(Charged(Reference(torch.device("cpu"))), case, RUN)


def test_the_timer_is_held_against_the_hosts_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    found = timer_finding(monkeypatch, 0.0)

    assert found.status == "pass"
    assert found.metrics["timer_ratio"][0] == pytest.approx(1)
    assert "one-kernel" in found.marks  # it says nothing of the package, and settles no cell


def test_a_timer_that_is_off_is_the_harness_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    found = timer_finding(monkeypatch, 0.05)

    assert (found.status, found.reason) == ("error", "harness_error")
    assert found.metrics["timer_ratio"][0] == pytest.approx(1.05)


def test_full_loads_are_real_layers_and_small_ones_are_few() -> None:
    full = Request(**{**RUN.__dict__, "scale": "full"})

    gemms = list(shapes.gemm_loads(full))
    assert {load["m"] for load in gemms} == {1, 8, 32, 512, 4096}
    assert {"layer": "llama-3.1-8b.gate-up", "m": 1, "n": 28672, "k": 4096} in gemms
    assert all(int(load[each]) % 128 == 0 for load in gemms for each in ("n", "k"))
    assert any(load["experts"] == 128 and load["top_k"] == 8 for load in shapes.moe_loads(full))
    assert {load["k"] for load in shapes.quantize_loads(full)} == {4096, 8192, 14336, 28672}
    assert all(len(list(loads(RUN))) <= 2 for loads in LOADS.values())


def test_every_backend_races_on_the_same_numbers() -> None:
    case = Case("speed.gemm", "gemm", "plain", next(iter(shapes.gemm_loads(RUN))))
    one, two = (
        contenders.gemm(Charged(Reference(torch.device("cpu"))), case, RUN) for _ in range(2)
    )

    assert torch.equal(one.got, two.got)
    assert list(one.works) == ["native", "again", "w4a16", "bf16", "fp8", "layer"]
