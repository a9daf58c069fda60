from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from matrix.cell import Cell, Contradiction, Item, Report, StackSummary, TargetSummary
from matrix.vocabulary import Answer, Compiled, Environment, Machine, Reason, Selected, Verdict

RELEASES = ("0.33.0", "0.32.1", "0.32.0", "0.31.0", "0.28.0", "0.24.0", "0.20.0", "0.17.1")
CAPABILITIES = (
    "quantize", "gemm", "moe", "kv-cache", "mxfp4-quantize", "mxfp4-gemm", "mxfp4-moe",
)  # fmt: skip
BOTH: tuple[Machine, ...] = ("x86_64", "aarch64")
TARGETS: dict[str, tuple[tuple[Machine, ...], str]] = {
    "sm90": (BOTH, "H200"),
    "sm100": (BOTH, "B200"),
    "sm103": (BOTH, "B300"),
    "sm110": (("aarch64",), "Jetson Thor"),
    "sm120": (("x86_64",), "RTX PRO 6000"),
    "sm121": (("aarch64",), "DGX Spark"),
}
Seen = tuple[Answer, Compiled, Selected, Verdict, Reason]


def _gemm(  # noqa: PLR0911  (a table of cases)
    age: int, target: str, machine: Machine, environment: Environment
) -> Seen:
    """What the lamps say of a release `age` places behind the newest."""
    if machine == "aarch64" and age >= 6:
        return "yes", "unknown", "not_asked", "broken", "torch_without_cuda"
    if target == "sm90":
        return "no", "no", "weight_only", "fallback", "weight_only_fallback"
    if target == "sm110":
        return ("unknown", "partial", "not_asked", "unknown", "not_measured") if age < 4 else (
            "no", "no", "not_asked", "unavailable", "not_declared")  # fmt: skip
    if target == "sm121":
        if age == 0:
            return "yes", "yes", "native", "likely", ""
        if environment == "devel" and age < 4:
            return "yes", "jit", "native", "likely", ""
        return "yes", "trap" if age == 3 else "no", "not_asked", "broken", "no_kernel_image"
    if target == "sm120":
        return ("yes", "yes", "not_asked", "likely", "") if age < 5 else (
            "yes", "partial", "not_asked", "broken", "partial_kernels")  # fmt: skip
    if age < 2 and target == "sm100" and machine == "x86_64":
        return "yes", "yes", "native", "works", ""
    return "yes", "yes", "native", "likely", ""


def _seen(
    capability: str, age: int, target: str, machine: Machine, environment: Environment
) -> Seen:
    if capability == "kv-cache":
        return "unknown", "dsl", "not_asked", "unknown", "not_asked"
    if capability == "moe" and target == "sm103" and age < 3:
        return "yes", "yes", "native", "slow", "slower_than_baseline"
    if capability.startswith("mxfp4") and target == "sm120":
        return "no", "no", "not_asked", "unavailable", "not_declared"
    return _gemm(age, target, machine, environment)


def _evidence(version: str, target: str, machine: Machine, capability: str) -> tuple[Item, ...]:
    wheel = f"vllm-{version}-cp38-abi3-manylinux1_{machine}.whl"
    return (
        Item(
            kind="path",
            name="FlashInferCutlass",
            answer="yes",
            text="All pieces are here.",
            where="paths.yaml",
        ),
        Item(
            kind="piece",
            name=f"vllm.nvfp4-{capability}",
            answer="yes",
            text=f"12 kernels for {target} hold the FP4 instruction.",
            where=f"{wheel}: vllm/_C_stable_libtorch.abi3.so",
        ),
        Item(
            kind="gate",
            name="has_device_capability",
            answer="yes",
            text="The gate asks for capability 100 or newer.",
            where=f"{wheel}: vllm/model_executor/kernels/linear.py:211",
        ),
        Item(
            kind="defect",
            name="cudnn-below-9.23.1",
            answer="unknown",
            text="cuDNN below 9.23.1 corrupts on sm120.",
            where="https://github.com/NVIDIA/cudnn-frontend/issues/1",
        ),
    )


def build_report(
    releases: tuple[str, ...] = RELEASES, capabilities: tuple[str, ...] = CAPABILITIES
) -> Report:
    """A report like the real one: the same question, fewer releases."""
    stacks: list[StackSummary] = []
    cells: list[Cell] = []
    environments: tuple[Environment, ...] = ("slim", "devel")
    for age, version in enumerate(releases):
        name = f"vllm=={version}"
        pins = {"vllm": version, "flashinfer-python": "0.6.1", "torch": "2.11.0"}
        stacks.append(
            StackSummary(
                name=name,
                package="vllm",
                version=version,
                machines=BOTH,
                pins={machine: dict(pins) for machine in BOTH},
            )
        )
        for target, (machines, _) in TARGETS.items():
            for machine in machines:
                for environment in environments:
                    for capability in capabilities:
                        declared, compiled, selected, verdict, reason = _seen(
                            capability, age, target, machine, environment
                        )
                        executed = {"works": "pass", "slow": "slow"}.get(verdict, "")
                        cells.append(
                            Cell(
                                stack=name,
                                target=target,
                                machine=machine,
                                environment=environment,
                                capability=capability,
                                declared=declared,
                                compiled=compiled,
                                selected=selected,
                                executed=executed,
                                verdict=verdict,
                                reason=reason,
                                evidence=_evidence(version, target, machine, capability),
                            )
                        )
    contradictions = tuple(
        Contradiction(
            kind="trap" if version == "0.31.0" else "declared-not-compiled",
            stack=f"vllm=={version}",
            target="sm121",
            machine="aarch64",
            capability="gemm",
            text=f"vLLM {version} declares NVFP4 GEMM on sm121, and its aarch64 wheel holds no kernel for it.",
            read=(
                f"vllm-{version}-cp38-abi3-manylinux1_aarch64.whl: vllm/_C.abi3.so: sm_100a, sm_120a",
                "vllm/model_executor/layers/quantization/modelopt.py:912: min_capability 100",
            ),
            path="vllm.cutlass-dense",
            pieces=("vllm.cutlass-gemm",),
        )
        for version in releases[1:7]
    )
    return Report(
        generated="2026-11-21T03:00:00Z",
        targets=tuple(
            TargetSummary(
                name=name,
                compute_capability=f"{name[2:-1]}.{name[-1]}",
                machines=machines,
                products=(product,),
            )
            for name, (machines, product) in TARGETS.items()
        ),
        stacks=tuple(stacks),
        cells=tuple(cells),
        contradictions=contradictions,
    )


@pytest.fixture(scope="session")
def report() -> Report:
    return build_report()


@pytest.fixture(scope="session")
def large() -> Report:
    """About as many stacks and cells as the real report has."""
    versions = (f"0.{minor}.{patch}" for minor in range(33, 11, -1) for patch in (2, 1, 0))
    return build_report(tuple(versions))


@pytest.fixture(scope="session")
def hostile(report: Report) -> Report:
    """Names and sentences as an attacker would write them into a wheel."""
    name = "</script><img src=x onerror=alert(1)>|`[red]\x1b[31m\x07\u202e@octocat owner/repo#1"
    replace = msgspec.structs.replace
    first = report.stacks[0].name
    items = (Item(kind="piece", name=name, answer=name, text=name, where=f"javascript:{name}"),)
    return replace(
        report,
        stacks=tuple(
            replace(s, name=name, note=name) if s.name == first else s for s in report.stacks
        ),
        cells=tuple(
            replace(c, stack=name, selected=name, evidence=items)
            for c in report.cells
            if c.stack == first
        ),
        contradictions=tuple(
            replace(c, stack=name, text=name, read=(name,)) for c in report.contradictions
        ),
    )


@pytest.fixture
def golden() -> Callable[[Path, str], None]:
    """Compare with a committed file; `UPDATE_GOLDEN=1` writes it instead."""

    def compare(path: Path, text: str) -> None:
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text, encoding="utf-8")
        assert text == path.read_text(encoding="utf-8")

    return compare
