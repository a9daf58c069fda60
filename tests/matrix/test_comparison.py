from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.comparison import BAR, Finding, compare
from matrix.result import SPEED, Metric, Source
from matrix.runs.run import Run
from matrix.vocabulary import Reason

SOURCE = Source(name="f", sha256="0" * 64, role="native", form="vllm-bench-serve")
LOAD = ("requests=10",)


def run(speed: float = 10.0, **changes: Any) -> Run:
    made: dict[str, Any] = {
        "source": SOURCE,
        "role": "native",
        "capability": "serve",
        "load": LOAD,
        "metrics": {"output_throughput": Metric(value=speed, unit="tok/s")},
        "figure": "output_throughput",
    }
    return Run(**{**made, **changes})


def base(speed: float = 10.0, **changes: Any) -> Run:
    return run(speed, role="baseline", **changes)


def one(*runs: Run, kernels: tuple[str, ...] = ()) -> Finding:
    (found,) = compare(runs, kernels)
    return found


@pytest.mark.parametrize(
    ("speed", "status", "reason"),
    [
        (18.91 / 24.93, "slow", "slower_than_baseline"),
        (0.9499, "slow", "slower_than_baseline"),
        (0.95, "pass", ""),
        (1.0, "pass", ""),
        (1.7, "pass", ""),
    ],
)
def test_a_pair_is_slow_below_ninety_five_in_a_hundred(
    speed: float, status: str, reason: str
) -> None:
    found = one(run(speed), base(1.0))
    assert (found.status, found.reason) == (status, reason)
    assert found.metrics[SPEED].value == round(speed, 4)
    assert found.metrics["baseline_output_throughput"].value == 1.0
    assert found.marks == ("single-run", "kernels-unproven", "numbers-unchecked")


def test_only_runs_of_the_same_load_and_capability_pair() -> None:
    other = one(run(), base(20, load=("requests=11",)))
    assert (other.status, other.reason) == ("skip", "different_load")
    assert SPEED not in other.metrics
    assert one(run(), base(20, capability="gemm")).reason == "no_baseline"
    assert one(run()).reason == "no_baseline"
    unknown = one(run(load=(), figure=""), base(load=(), figure=""))
    assert (unknown.status, unknown.reason) == ("skip", "different_load")


def test_each_load_is_judged_by_itself() -> None:
    found = compare([run(1, load=("a",)), run(9, load=("b",)), base(2, load=("a",)), base(9, load=("b",))])  # fmt: skip
    assert [(each.status, each.metrics[SPEED].value) for each in found] == [
        ("slow", 0.5),
        ("pass", 1.0),
    ]


@pytest.mark.parametrize("reason", ["incomplete_log", "requests_failed", "unreadable_number"])
def test_trouble_is_an_error_that_says_nothing_of_the_product(reason: Reason) -> None:
    found = one(run(trouble=reason, text="why", load=(), figure=""), base())
    assert (found.status, found.reason, found.text) == ("error", reason, "why")
    baseline = one(run(), base(trouble=reason, load=(), figure=""))
    assert (baseline.status, baseline.reason) == ("skip", "no_baseline")
    assert reason in baseline.text


@pytest.mark.parametrize(
    ("kernels", "reason"),
    [
        (("FlashInferCutlassNvFp4LinearKernel", "MARLIN"), "weight_only_fallback"),
        (("HummingNvFp4LinearKernel",), "weight_only_fallback"),
        (("emulation",), "emulation_fallback"),
    ],
)
def test_a_fallback_is_one_however_fast_it_is(kernels: tuple[str, ...], reason: str) -> None:
    found = one(run(20), base(10), kernels=kernels)
    assert (found.status, found.reason) == ("fallback", reason)
    assert found.metrics[SPEED].value == 2
    alone = one(run(20), kernels=kernels)
    assert (alone.status, alone.reason) == ("fallback", reason)


def test_named_native_kernels_are_proof_of_kernels_and_not_of_numbers() -> None:
    found = one(run(), base(), kernels=("CutlassNvFp4LinearKernel",))
    assert (found.status, found.kernels) == ("pass", ("CutlassNvFp4LinearKernel",))
    assert found.marks == ("single-run", "numbers-unchecked")


def test_repeats_show_by_how_much_equal_runs_differ() -> None:
    noisy = one(run(9.0), base(10), base(10), base(8))
    assert (noisy.status, noisy.metrics[SPEED].value) == ("pass", 0.9)
    assert noisy.metrics["repeat_spread"].value == 0.2
    assert "single-run" not in noisy.marks
    quiet = one(run(9.0), base(10), base(10))
    assert (quiet.status, quiet.metrics["repeat_spread"].value) == ("slow", 0)
    of_native = one(run(9.0), run(12.0), run(1.0), base(10))
    assert (of_native.metrics[SPEED].value, len(of_native.runs)) == (0.9, 4)


def test_of_kernels_the_fastest_baseline_counts_and_less_time_is_faster() -> None:
    def timed(ms: float, backend: str, **changes: Any) -> Run:
        metrics = {"median_time": Metric(value=ms, unit="ms")}
        return run(metrics=metrics, figure="median_time", lower=True, alone=True, backend=backend, capability="gemm", **changes)  # fmt: skip

    found = compare(
        [
            timed(2, "mm_fp4 cutlass"),
            timed(1, "mm_fp4 cudnn"),
            timed(4, "mm_bf16 cublas", role="baseline"),
            timed(1.5, "mm_bf16 cudnn", role="baseline"),
        ]
    )
    told = {each.native.backend: (each.status, each.metrics[SPEED].value) for each in found}
    assert told == {"mm_fp4 cutlass": ("slow", 0.75), "mm_fp4 cudnn": ("pass", 1.5)}
    assert {each.metrics["baseline_median_time"].value for each in found} == {1.5}
    assert all("one-kernel" in each.marks for each in found)


def test_many_runs_take_no_long() -> None:
    loads = [(f"m={n}",) for n in range(10_000)]
    start = time.process_time()
    found = compare([make(1, load=load) for load in loads for make in (run, base)])
    assert {each.status for each in found} == {"pass"}
    assert time.process_time() - start < 3


speeds = st.floats(1e-3, 1e6)


@given(st.lists(speeds, min_size=1, max_size=4), st.lists(speeds, min_size=1, max_size=4))
def test_a_faster_native_run_is_never_slow_and_a_much_slower_one_never_passes(
    native: list[float], baseline: list[float]
) -> None:
    found = one(*map(run, native), *map(base, baseline))
    spread = max(1 - min(each) / max(each) for each in (native, baseline))
    ratio = found.metrics[SPEED].value
    if min(native) >= max(baseline):
        assert found.status == "pass"
    if found.status == "slow":
        assert ratio < 1 - BAR
        assert ratio < 1 - spread
    else:
        assert ratio >= 1 - max(BAR, spread) - 1e-4
    assert ("single-run" in found.marks) == (len(native) == len(baseline) == 1)
