"""What the shipped data and ledger come to: rows that were checked by hand."""

from __future__ import annotations

import pytest

from matrix.cell import Cell, Report
from matrix.errors import ConfigurationError
from matrix.knowledge import Knowledge
from matrix.vocabulary import MACHINES


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


@pytest.fixture(scope="module")
def report(knowledge: Knowledge) -> Report:
    stacks = ("vllm==0.11.0", "vllm==0.33.0", "vllm==0.20.2", "vllm==0.19.1", "vllm==0.10.1.1")
    return knowledge.report(generated="2026-11-21T00:00:00Z", stacks=stacks)


def cell(
    report: Report,
    version: str,
    target: str,
    capability: str,
    *,
    machine: str = "x86_64",
    environment: str = "slim",
) -> Cell:
    (found,) = (
        one
        for one in report.cells
        if (one.stack, one.target, one.machine, one.environment, one.capability)
        == (f"vllm=={version}", target, machine, environment, capability)
    )
    return found


@pytest.mark.parametrize("target", ["sm100", "sm103", "sm120"])
@pytest.mark.parametrize("capability", ["gemm", "moe"])
def test_vllm_0_33_0_has_dense_and_grouped_kernels(
    report: Report, target: str, capability: str
) -> None:
    found = cell(report, "0.33.0", target, capability)
    assert (found.compiled, found.verdict) == ("yes", "likely")


@pytest.mark.parametrize("capability", ["gemm", "moe"])
def test_vllm_0_33_0_has_them_for_a_dgx_spark(report: Report, capability: str) -> None:
    found = cell(report, "0.33.0", "sm121", capability, machine="aarch64")
    assert (found.compiled, found.verdict) == ("yes", "likely")


def test_vllm_0_11_0_works_on_sm100(report: Report) -> None:
    found = cell(report, "0.11.0", "sm100", "gemm")
    assert (found.declared, found.compiled, found.verdict) == ("yes", "yes", "likely")


def test_the_first_dense_kernels_for_sm120_are_there_and_never_called(report: Report) -> None:
    found = cell(report, "0.11.0", "sm120", "gemm")
    assert (found.compiled, found.verdict) == ("yes", "broken")
    assert found.reason == "unreachable_dispatch"


@pytest.mark.parametrize("target", ["sm100", "sm120"])
def test_the_torch_that_0_10_1_pins_has_no_code_for_blackwell(report: Report, target: str) -> None:
    found = cell(report, "0.10.1.1", target, "gemm")
    assert (found.declared, found.compiled) == ("no", "yes")
    assert (found.verdict, found.reason) == ("broken", "torch_without_target")
    assert "sm_86 sm_90, and" in found.evidence[0].text


def test_vllm_0_11_0_has_images_without_a_grouped_kernel_for_sm120(report: Report) -> None:
    found = cell(report, "0.11.0", "sm120", "moe")
    assert (found.compiled, found.verdict) == ("trap", "broken")


def test_vllm_0_19_1_cannot_be_imported_on_aarch64(report: Report) -> None:
    for target in ("sm100", "sm103", "sm110", "sm121"):
        for environment in ("slim", "devel"):
            found = cell(
                report, "0.19.1", target, "gemm", machine="aarch64", environment=environment
            )
            assert (found.verdict, found.reason) == ("broken", "torch_without_cuda")
    told = cell(report, "0.19.1", "sm121", "gemm", machine="aarch64").evidence[0]
    assert "without CUDA" in told.text


def test_a_release_without_a_wheel_for_the_machine_is_unavailable(report: Report) -> None:
    found = cell(report, "0.10.1.1", "sm121", "gemm", machine="aarch64")
    assert (found.verdict, found.reason) == ("unavailable", "no_wheel")


def test_cells_are_those_of_machines_that_the_target_exists_with(
    knowledge: Knowledge, report: Report
) -> None:
    places = {(found.target, found.machine) for found in report.cells}
    assert places == {
        (target.name, machine)
        for target in knowledge.configuration.targets
        for machine in target.machines
    }
    assert ("sm121", "x86_64") not in places


def test_a_filter_gives_the_cells_that_the_whole_has(knowledge: Knowledge, report: Report) -> None:
    one = knowledge.report(
        generated=report.generated,
        stacks=["vllm==0.11.0"],
        targets=["sm120"],
        machines=["x86_64"],
        environments=["slim"],
        capabilities=["gemm"],
    )
    assert one.cells == (cell(report, "0.11.0", "sm120", "gemm"),)


def test_a_range_names_every_stack_in_it_and_no_extra(knowledge: Knowledge) -> None:
    found = knowledge.report(generated="", stacks=["vllm>=0.10.2,<0.11.1"], targets=["sm120"])
    assert [stack.name for stack in found.stacks] == ["vllm==0.11.0", "vllm==0.10.2"]
    found = knowledge.report(generated="", stacks=["vllm[flashinfer]>=0.10.2"], targets=["sm120"])
    assert [stack.name for stack in found.stacks] == [
        "vllm[flashinfer]==0.11.0",
        "vllm[flashinfer]==0.10.2",
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"stacks": ["vllm==0.33.1"]}, "unknown stack 'vllm==0.33.1'"),
        ({"targets": ["sm12"]}, "unknown target 'sm12'"),
        ({"capabilities": ["gem"]}, "unknown capability 'gem'"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(
    knowledge: Knowledge, asked: dict[str, list[str]], told: str
) -> None:
    with pytest.raises(ConfigurationError, match="did you mean") as raised:
        knowledge.report(generated="", **asked)  # type: ignore[arg-type]
    assert told in str(raised.value)


def test_stacks_are_newest_first_and_an_extra_stands_behind_its_release(
    knowledge: Knowledge,
) -> None:
    names = [stack.name for stack in knowledge.stacks]
    assert names[:2] == ["vllm==0.33.0", "vllm[b12x]==0.33.0"]
    assert names.index("vllm==0.11.0") + 1 == names.index("vllm[flashinfer]==0.11.0")


def test_every_wheel_that_a_stack_pins_was_read(knowledge: Knowledge) -> None:
    unread = {
        f"{pin.package}=={pin.version}"
        for named in knowledge.stacks
        for machine in MACHINES
        for pin in knowledge.resolve(named, machine).pins
        if knowledge.published.record(*named.lead, machine)
        and pin.version
        and knowledge.published.has_wheel(pin.package, pin.version, machine)
        and knowledge.published.record(pin.package, pin.version, machine) is None
    }
    assert unread == set()


def test_a_stack_with_flashinfer_asks_more_of_the_environment(report: Report) -> None:
    slim = cell(report, "0.33.0", "sm120", "gemm")
    devel = cell(report, "0.33.0", "sm120", "gemm", environment="devel")

    def answer(found: Cell) -> str:
        (item,) = (
            i
            for i in found.evidence
            if i.name == "vllm.flashinfer-cutlass-dense" and i.kind == "path"
        )
        return item.answer

    assert (answer(slim), answer(devel)) == ("refused", "complete")


def test_what_upstream_claims_and_flashinfer_denies_is_a_contradiction(report: Report) -> None:
    kinds = {
        (one.kind, one.target, one.path)
        for one in report.contradictions
        if one.stack == "vllm==0.33.0" and one.capability == "gemm"
    }
    assert ("packages-disagree", "sm120", "vllm.flashinfer-trtllm-dense") in kinds
    assert not any(kind == "declared-not-compiled" for kind, _, _ in kinds)


def test_the_control_without_fp4_hardware_is_in_no_contradiction(report: Report) -> None:
    assert all(one.target != "sm90" for one in report.contradictions)


def test_a_contradiction_says_what_was_read_where(report: Report) -> None:
    one = next(
        found
        for found in report.contradictions
        if (found.stack, found.target, found.kind, found.path)
        == ("vllm==0.11.0", "sm120", "unreachable", "vllm.cutlass-dense")
    )
    assert any("vllm-0.11.0" in line and ".py:" in line for line in one.read)
    assert any("pull request 29711" in line for line in one.read)


def test_of_build_tagged_duplicates_the_highest_counts_and_the_others_are_superseded(
    knowledge: Knowledge,
) -> None:
    report = knowledge.report(generated="", stacks=["vllm==0.23.0"], targets=["sm120"])
    told = {
        (item.where, item.answer)
        for found in report.cells
        for item in found.evidence
        if item.kind == "stack"
    }
    assert told == {
        ("vllm-0.23.0-2-cp38-abi3-manylinux_2_28_x86_64.whl", "yes"),
        ("vllm-0.23.0-cp38-abi3-manylinux_2_28_x86_64.whl", "superseded"),
    }


@pytest.mark.parametrize(
    ("target", "machine", "environment", "selector"),
    [
        ("sm100", "x86_64", "slim", "CutlassNvFp4LinearKernel"),
        ("sm120", "x86_64", "slim", "CutlassNvFp4LinearKernel"),
        ("sm121", "aarch64", "slim", "CutlassNvFp4LinearKernel"),
        ("sm100", "x86_64", "devel", "FlashInferCuteDslNvFp4LinearKernel"),
        ("sm103", "aarch64", "devel", "FlashInferCuteDslNvFp4LinearKernel"),
        ("sm120", "x86_64", "devel", "FlashInferCutlassNvFp4LinearKernel"),
        ("sm121", "aarch64", "devel", "FlashInferCutlassNvFp4LinearKernel"),
    ],
)
def test_the_dense_kernel_that_vllm_0_33_0_chooses_is_complete(
    report: Report, target: str, machine: str, environment: str, selector: str
) -> None:
    found = cell(report, "0.33.0", target, "gemm", machine=machine, environment=environment)
    assert (found.selected, found.verdict) == ("native", "likely")
    asked = next(item for item in found.evidence if item.kind == "selected")
    first = next(item for item in found.evidence if item.kind == "path")
    assert asked.name == selector
    assert first.text.startswith(selector)
    assert first.text.endswith("; this is the one that is chosen")


def test_the_cache_that_vllm_0_33_0_chooses_on_12x_needs_a_compiler(report: Report) -> None:
    for target, machine in (("sm120", "x86_64"), ("sm121", "aarch64")):
        slim = cell(report, "0.33.0", target, "kv-cache", machine=machine)
        assert (slim.selected, slim.verdict, slim.reason) == ("native", "broken", "no_compiler")
        devel = cell(report, "0.33.0", target, "kv-cache", machine=machine, environment="devel")
        assert (devel.selected, devel.verdict) == ("native", "likely")
    told = [
        one
        for one in report.contradictions
        if one.kind == "selected-incomplete" and one.stack == "vllm==0.33.0"
    ]
    assert {one.target for one in told} >= {"sm120", "sm121"}
    assert {one.capability for one in told} == {"kv-cache"}


@pytest.mark.parametrize("capability", ["gemm", "moe"])
@pytest.mark.parametrize("environment", ["slim", "devel"])
def test_the_control_falls_back_to_humming(
    report: Report, capability: str, environment: str
) -> None:
    found = cell(report, "0.33.0", "sm90", capability, environment=environment)
    assert (found.selected, found.verdict) == ("weight_only", "fallback")
    assert found.reason == "weight_only_fallback"


def test_what_the_x86_64_wheel_has_no_kernel_for_is_not_told_of_thor(report: Report) -> None:
    found = cell(report, "0.33.0", "sm110", "gemm", machine="aarch64")
    assert found.selected == "not_asked"
    (item,) = (item for item in found.evidence if item.kind == "selected")
    assert item.text == (
        "asked on x86_64, whose wheel has vllm.cutlass-gemm: no; the aarch64 wheel: yes"
    )


def test_a_disagreement_in_the_wheels_and_when_asked_is_one_statement(report: Report) -> None:
    found = [
        one
        for one in report.contradictions
        if (one.kind, one.stack, one.target, one.capability)
        == ("packages-disagree", "vllm==0.33.0", "sm120", "gemm")
        and "Trtllm" in one.text
    ]
    assert len(found) == 1
    assert any("flashinfer.py:" in source for source in found[0].read)
    assert any("asked on x86_64" in source for source in found[0].read)


@pytest.mark.parametrize("capability", ["gemm", "moe"])
@pytest.mark.parametrize(
    ("version", "target", "machine"),
    [
        ("0.19.1", "sm100", "x86_64"),
        ("0.19.1", "sm120", "x86_64"),
        ("0.20.2", "sm103", "aarch64"),
        ("0.20.2", "sm121", "aarch64"),
    ],
)
def test_with_cubins_and_no_compiler_flashinfer_is_chosen_and_cannot_be_compiled(
    report: Report, version: str, target: str, machine: str, capability: str
) -> None:
    slim = cell(report, version, target, capability, machine=machine)
    assert (slim.compiled, slim.selected) == ("yes", "native")
    assert (slim.verdict, slim.reason) == ("broken", "no_compiler")
    devel = cell(report, version, target, capability, machine=machine, environment="devel")
    assert (devel.selected, devel.verdict) == ("native", "likely")


def test_a_refused_cache_is_unavailable_and_every_backend_is_told(report: Report) -> None:
    found = cell(report, "0.20.2", "sm100", "kv-cache")
    assert (found.selected, found.verdict, found.reason) == ("refused", "unavailable", "refused")
    assert sum(item.kind == "candidate" for item in found.evidence) > 1


def test_a_choice_that_the_data_has_no_path_for_is_unknown(report: Report) -> None:
    found = cell(report, "0.20.2", "sm90", "kv-cache")
    assert (found.selected, found.verdict, found.reason) == ("unknown", "unknown", "unlisted_path")
