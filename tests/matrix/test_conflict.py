from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrix.cell import Cell, Item, Report
from matrix.configuration import Configuration
from matrix.conflict import contradicted
from matrix.selection import Selection, selection
from matrix.vocabulary import MACHINES

CONFIGURATION = Configuration()


def choice(selected: str | None, *candidates: dict[str, Any], **more: Any) -> dict[str, Any]:
    outcome = "chosen" if selected else "none"
    return {"outcome": outcome, "selected": selected, "candidates": list(candidates), **more}


def told(**kinds: dict[str, Any]) -> dict[str, Any]:
    gpus = ("sm100", "sm121", "sm90")
    every = {"targets": dict.fromkeys(gpus, kinds)}
    return {
        "packages": {"vllm": "0.33.0", "flashinfer-python": "0.7.2.post1"},
        "machine": "x86_64",
        "cubins": {"reachable": False, "how": "stated"},
        "environments": {"slim": every, "devel": every},
    }


def made(answer: dict[str, Any]) -> Selection:
    gpus = [CONFIGURATION.target(name) for name in ("sm100", "sm121", "sm90")]
    return selection(answer, gpus, CONFIGURATION.paths.paths)


def found(answer: dict[str, Any], report: Report | None = None) -> list[tuple[str, str, Any]]:
    whole = contradicted(made(answer), CONFIGURATION.targets, report)
    return [(each.kind, each.name, each.targets) for each in whole.contradictions]


@pytest.mark.parametrize(
    ("kind", "name", "native", "fallback", "path"),
    [
        ("dense_w4a4", "CutlassNvFp4LinearKernel", True, "", "vllm.cutlass-dense"),
        (
            "dense_w4a4",
            "HummingNvFp4LinearKernel",
            False,
            "weight_only_fallback",
            "vllm.humming-dense",
        ),
        ("moe_w4a4", "EMULATION", False, "emulation_fallback", "vllm.emulation-moe"),
        ("moe_w4a16", "MARLIN", False, "weight_only_fallback", "vllm.marlin-moe"),
        ("dense_w4a4", "NewLinearKernel", None, "", ""),
        ("kv_cache", "FLASHINFER", True, "", "vllm.nvfp4-kv-cache-fa2"),
    ],
)
def test_a_choice_is_completed_by_the_data(
    kind: str, name: str, native: bool | None, fallback: str, path: str
) -> None:
    got = made(told(**{kind: choice(name)})).environments["slim"].targets["sm121"]
    (only,) = got.values()
    assert (only.native, only.fallback, only.path) == (native, fallback, path)


def test_a_cache_takes_the_path_of_the_family() -> None:
    got = made(told(kv_cache=choice("FLASHINFER"))).environments["slim"].targets
    assert got["sm100"]["kv_cache"].path == "vllm.nvfp4-kv-cache-trtllm"
    assert got["sm90"]["kv_cache"].path == "vllm.nvfp4-kv-cache-fa2-decode"


def test_a_cache_that_another_backend_took_has_no_path() -> None:
    got = made(told(kv_cache=choice("FLASH_ATTN"))).environments["slim"].targets["sm90"]["kv_cache"]
    assert (got.path, got.native) == ("", None)


def test_a_refusal_has_no_path() -> None:
    got = made(told(kv_cache=choice(None))).environments["slim"].targets["sm121"]["kv_cache"]
    assert (got.native, got.path, got.outcome) == (None, "", "none")


def test_targets_of_another_cpu_are_named() -> None:
    assert made(told()).elsewhere == ("sm121",)


def test_an_answer_of_another_shape_is_refused() -> None:
    answer = told()
    answer["environments"]["slim"]["targets"]["sm100"] = {"dense_w4a4": {"outcome": "perhaps"}}
    with pytest.raises(msgspec.ValidationError):
        made(answer)


def test_vllms_yes_against_flashinfers_no_is_a_contradiction() -> None:
    candidate = {"name": "Trtllm", "supported": True, "calls": "mm_fp4(trtllm)"}
    denial = [{"call": "mm_fp4(trtllm)", "supported": False}]
    answer = told(dense_w4a4=choice("CutlassNvFp4LinearKernel", candidate, flashinfer=denial))
    assert found(answer) == [("packages-disagree", "Trtllm", ("sm100", "sm121", "sm90"))]
    whole = contradicted(made(answer), CONFIGURATION.targets, None)
    assert "not chosen by default" in whole.contradictions[0].text
    assert whole.contradictions[0].environments == ("slim", "devel")


@pytest.mark.parametrize(
    ("supported", "denied"), [(True, True), (True, None), (False, False), (None, False)]
)
def test_agreement_and_ignorance_are_none(supported: bool | None, denied: bool | None) -> None:
    candidate = {"name": "X", "supported": supported, "calls": "mm_fp4(x)"}
    opinion = [{"call": "mm_fp4(x)", "supported": denied}]
    assert (
        found(told(dense_w4a4=choice("CutlassNvFp4LinearKernel", candidate, flashinfer=opinion)))
        == []
    )


def test_weight_only_on_a_gpu_with_fp4_is_a_silent_fallback() -> None:
    answer = told(dense_w4a4=choice("MarlinNvFp4LinearKernel"))
    assert found(answer) == [("silent-fallback", "MarlinNvFp4LinearKernel", ("sm100", "sm121"))]


def test_weight_only_for_a_weight_only_checkpoint_is_none() -> None:
    assert found(told(dense_w4a16=choice("MarlinNvFp4LinearKernel"))) == []


def test_a_chosen_path_without_its_pieces_is_a_contradiction() -> None:
    items = (
        Item(kind="path", name="vllm.cutlass-dense", answer="incomplete", text="Cutlass: a, b"),
        Item(kind="piece", name="a", answer="yes", text="there"),
        Item(kind="piece", name="b", answer="no", text="no image"),
        Item(kind="piece", name="other", answer="no", text="of another path"),
    )
    cell = Cell(
        stack="vllm==0.33.0",
        target="sm121",
        machine="aarch64",
        environment="slim",
        capability="gemm",
        declared="yes",
        compiled="no",
        selected="not_asked",
        executed="missing",
        verdict="broken",
        reason="no_kernel_image",
        evidence=items,
    )
    report = Report(generated="", targets=(), stacks=(), cells=(cell,), contradictions=())
    answer = told(dense_w4a4=choice("CutlassNvFp4LinearKernel"))
    assert found(answer, report) == [
        ("selected-incomplete", "CutlassNvFp4LinearKernel", ("sm121",))
    ]
    whole = contradicted(made(answer), CONFIGURATION.targets, report)
    assert "b: no image" in whole.contradictions[0].text
    assert "of another path" not in whole.contradictions[0].text
    assert whole.contradictions[0].environments == ("slim",)
    assert "wheels for aarch64" in whole.contradictions[0].text


def test_the_wheels_of_another_cpu_say_nothing_of_a_target_that_has_this_one() -> None:
    item = Item(kind="path", name="vllm.cutlass-dense", answer="incomplete", text="Cutlass: a")
    cells = tuple(
        Cell(
            stack="vllm==0.33.0",
            target="sm100",
            machine=machine,
            environment="slim",
            capability="gemm",
            declared="yes",
            compiled="no",
            selected="not_asked",
            executed="missing",
            verdict="broken",
            reason="no_kernel_image",
            evidence=(item,) if machine == "aarch64" else (),
        )
        for machine in MACHINES
    )
    report = Report(generated="", targets=(), stacks=(), cells=cells, contradictions=())
    assert found(told(dense_w4a4=choice("CutlassNvFp4LinearKernel")), report) == []
