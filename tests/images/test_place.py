from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from images.here import Preflight
from images.place import Place, devices, named, place, rates, target_of, this_cpu
from matrix.errors import ConfigurationError
from matrix.knowledge import Knowledge

PYTHON = Path("/somewhere/python")
SPARK = {"name": "NVIDIA GB10", "uuid": "GPU-1", "compute_cap": "12.1"}
RTX = {"name": "NVIDIA RTX PRO 6000 Blackwell", "uuid": "GPU-2", "compute_cap": "12.0"}
ADA = {"name": "NVIDIA L4", "uuid": "GPU-3", "compute_cap": "8.9"}


@cache
def knowledge() -> Knowledge:
    return Knowledge.load()


def told(*gpus: dict[str, str], **changes: Any) -> Preflight:
    made: dict[str, Any] = {
        "python": "3.12.3",
        "machine": "aarch64",
        "packages": {"vllm": "0.33.0", "torch": "2.14.0+cu130", "pytest": "9.0"},
        "missing": (),
        "compilers": (),
        "gpu": gpus,
    }
    return Preflight(**{**made, **changes})


def found(said: Preflight, **changes: Any) -> Place:
    return place(said, PYTHON, knowledge(), **{"subject": "vllm", **changes})


def test_the_gpu_decides_the_target() -> None:
    where = found(told(SPARK))
    assert (where.target, where.machine, where.gpu) == ("sm121", "aarch64", "GPU-1")
    assert where.environment == "slim"
    assert found(told(SPARK, compilers=("nvcc", "ninja"))).environment == "devel"
    assert found(told(SPARK, compilers=("nvcc",))).environment == "slim"


@pytest.mark.parametrize(
    ("gpus", "changes", "said"),
    [
        ((), {}, "no NVIDIA GPU here"),
        ((ADA,), {}, "compute capability 8.9, which is no target; known are sm100"),
        ((SPARK,), {"target": "sm120"}, "the GPU here, NVIDIA GB10, is sm121"),
        ((SPARK,), {"target": "sm122"}, "unknown target 'sm122'"),
        ((SPARK,), {"gpu": "GPU-9"}, "not here, but GPU-1"),
        ((SPARK,), {"stack": "x" * 201}, "--stack: the name is longer than 200"),
        ((SPARK,), {"stack": "a\nb"}, "--stack: the name has characters"),
        ((SPARK, RTX), {}, "several kinds of GPU are here: say --target, or --gpu, of GPU-1"),
        ((SPARK,), {"subject": "flashinfer"}, "flashinfer-python is not installed there"),
    ],
)
def test_what_cannot_be_run_here_is_told(
    gpus: tuple[dict[str, str], ...], changes: dict[str, str], said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        found(told(*gpus), **changes)


def test_a_target_that_does_not_exist_with_this_cpu_is_told() -> None:
    with pytest.raises(ConfigurationError, match="this machine is x86_64; sm121 is known with"):
        found(told(SPARK, machine="x86_64"))


def test_of_several_gpus_one_is_named() -> None:
    assert devices(told(SPARK, RTX), "GPU-2") == (RTX,)
    assert devices(told(SPARK, RTX), None, RTX["compute_cap"]) == (RTX,)
    assert devices(told(SPARK, RTX), None, SPARK["compute_cap"]) == (SPARK,)
    assert target_of(knowledge(), RTX, None).name == "sm120"


def test_of_several_of_a_kind_each_may_be_taken() -> None:
    twin = {**RTX, "uuid": "GPU-3"}
    assert devices(told(RTX, twin), None) == (RTX, twin)
    assert devices(told(RTX, twin), None, "9.0") == (RTX, twin), "which target it is, is told later"


def test_as_released_pins_are_the_release() -> None:
    stack = next(each for each in knowledge().stacks if each.name == "vllm==0.33.0")
    pins = {p.package: p.version or "" for p in knowledge().resolve(stack, "aarch64").pins}
    assert named(pins, "vllm", "aarch64", knowledge()) == "vllm==0.33.0"
    local = {**pins, "torch": pins["torch"] + "+cu130"}
    assert named(local, "vllm", "aarch64", knowledge()) == "vllm==0.33.0"


def test_other_pins_are_told_by_their_versions() -> None:
    packages = {"vllm": "0.33.0", "torch": "2.13.0", "flashinfer-python": "0.7.2"}
    said = named(packages, "vllm", "aarch64", knowledge())
    assert said == "vllm 0.33.0, flashinfer-python 0.7.2, torch 2.13.0 (as installed)"
    said = named(packages, "flashinfer", "aarch64", knowledge())
    assert said == "flashinfer-python 0.7.2, vllm 0.33.0, torch 2.13.0 (as installed)"
    nightly = {"vllm": "0.99.0.dev1", "torch": "2.14.0"}
    assert named(nightly, "vllm", "aarch64", knowledge()).startswith("vllm 0.99.0.dev1, torch")


def test_peak_rates_are_those_of_the_product() -> None:
    b200 = next(t for t in knowledge().configuration.targets if t.name == "sm100").rates
    assert rates(b200, "NVIDIA B200")["product"] == "B200"
    assert rates(b200, "NVIDIA GB200")["product"] == "GB200"
    assert rates(b200, "something else") == {}


def test_this_cpu_is_no_cell_of_the_matrix() -> None:
    assert this_cpu(told()).target == "cpu"
