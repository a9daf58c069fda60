"""What is told against a library's choices, and that no statement is told twice."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from matrix.capability import Piece
from matrix.cell import Contradiction
from matrix.chapter import Chapter
from matrix.evidence.record import WheelEvidence
from matrix.hearing import Hearing
from matrix.held import Held
from matrix.objection import objections
from matrix.path import Path
from matrix.selection import (
    Candidate,
    Cubins,
    EnvironmentChoices,
    LayerChoice,
    LayerKind,
    Opinion,
    Selection,
)
from matrix.situation import Situation
from matrix.stack import Pin, Stack
from matrix.target import Target
from matrix.vocabulary import Environment

SM121 = Target(
    name="sm121",
    compute_capability="12.1",
    family="sm12x",
    fp4=True,
    machines=("aarch64",),
    products=("DGX Spark",),
    first_cuda="12.9",
    shared_memory_bytes=101376,
)
IMAGE = Piece(piece="vllm.gemm", package="vllm", delivery="image", capabilities=("gemm",))
JIT = Piece(piece="flashinfer.mm", package="flashinfer-python", delivery="jit")


def path(name: str, *pieces: str, native: bool = True) -> Path:
    return Path(
        path=f"vllm.{name.lower()}",
        package="vllm",
        capability="gemm",
        selector=name,
        native=native,
        fallback="" if native else "weight_only_fallback",
        pieces=pieces,
        source="vllm/x.py",
    )


CHAPTER = Chapter(
    capability="gemm",
    paths=(
        path("FlashInfer", "flashinfer.mm"),
        path("Cutlass", "vllm.gemm", "flashinfer.mm"),
        path("Marlin", native=False),
    ),
    own=(IMAGE,),
)
KNOWN = Contradiction(
    kind="declared-not-compiled",
    stack="vllm==1.0",
    target="sm121",
    machine="aarch64",
    capability="gemm",
    text="vllm 1.0 says yes to Cutlass on sm121, and its wheel lacks it.",
    read=("the wheel",),
    path="vllm.cutlass",
    pieces=("vllm.gemm",),
)


def wheel(package: str) -> Held:
    record = WheelEvidence(
        package=package,
        version="1.0",
        machine="aarch64",
        filename=f"{package}.whl",
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
    )
    return Held(record)


def chosen(name: str, *, native: bool = True, **more: Any) -> LayerChoice:
    return LayerChoice(
        outcome="chosen",
        selected=name,
        native=native,
        fallback="" if native else "weight_only_fallback",
        path=f"vllm.{name.lower()}",
        **more,
    )


def told(
    slim: LayerChoice,
    devel: LayerChoice | None = None,
    *known: Contradiction,
    target: Target = SM121,
) -> list[Contradiction]:
    choices: dict[Environment, LayerChoice] = {"slim": slim, "devel": devel or slim}
    kinds: dict[Environment, dict[LayerKind, LayerChoice]] = {
        name: {"dense_w4a4": choice} for name, choice in choices.items()
    }
    made = Selection(
        packages={"vllm": "1.0", "flashinfer-python": "1.0"},
        machine="aarch64",
        elsewhere=(),
        cubins=Cubins(reachable=True, how="stated"),
        asked_for={},
        environments={
            name: EnvironmentChoices(targets={target.name: kind}) for name, kind in kinds.items()
        },
        contradictions=(),
        seconds={},
    )
    pins = tuple(Pin(package=name, version="1.0") for name in made.packages)
    situation = Situation(
        stack=Stack(name="vllm==1.0", machine="aarch64", pins=pins),
        target=target,
        held={name: wheel(name) for name in made.packages},
        cuda="13.0",
        pieces={piece.piece: (piece,) for piece in (IMAGE, JIT)},
    )
    return objections(Hearing(made, situation), (CHAPTER,), known)


def test_a_choice_that_lacks_a_piece_is_told_with_the_environment_where_it_does() -> None:
    (one,) = told(chosen("FlashInfer"))
    assert (one.kind, one.path, one.pieces) == (
        "selected-incomplete",
        "vllm.flashinfer",
        ("flashinfer.mm",),
    )
    assert one.text.startswith("vllm 1.0 chooses FlashInfer on sm121 in slim, and it is not")
    assert "needs nvcc and ninja" in one.text
    assert one.read[0] == "vllm 1.0, flashinfer-python 1.0; asked on aarch64"


def test_what_lacks_in_both_environments_is_told_once_and_what_else_lacks_in_one() -> None:
    (one,) = told(chosen("Cutlass"))
    assert one.pieces == ("vllm.gemm",)
    assert one.text == (
        "vllm 1.0 chooses Cutlass on sm121 in slim and devel, and it is not complete there: "
        "vllm.gemm: no image that sm121 can load. In slim also flashinfer.mm: "
        "source; needs nvcc and ninja, which pip does not bring."
    )
    assert "flashinfer-python.whl: flashinfer.mm: source" in one.read[2]


def test_two_paths_that_lack_something_are_told_apart() -> None:
    found = told(chosen("FlashInfer"), chosen("Cutlass"))
    assert [(one.path, one.pieces) for one in found] == [
        ("vllm.flashinfer", ("flashinfer.mm",)),
        ("vllm.cutlass", ("vllm.gemm",)),
    ]


def test_a_complete_choice_is_none() -> None:
    lacking, complete = chosen("FlashInfer"), chosen("FlashInfer")
    (one,) = told(lacking, complete)
    assert "devel" not in one.text


def test_the_wheels_reading_gets_the_choice_as_a_second_one() -> None:
    found = told(chosen("Cutlass"), None, KNOWN)
    assert len(found) == 1
    assert found[0].kind == "declared-not-compiled"
    assert found[0].text == f"{KNOWN.text} vllm 1.0 chooses Cutlass on sm121 in slim and devel."
    assert found[0].read[:2] == ("the wheel", "vllm 1.0, flashinfer-python 1.0; asked on aarch64")
    assert "flashinfer-python.whl: flashinfer.mm: source; needs nvcc" in found[0].read[3]


@pytest.mark.parametrize(
    "other", [{"path": "vllm.flashinfer"}, {"capability": "moe"}, {"pieces": ("vllm.quantize",)}]
)
def test_a_reading_of_something_else_stays_apart(other: dict[str, Any]) -> None:
    known = msgspec.structs.replace(KNOWN, **other)
    assert told(chosen("Cutlass"), None, known)[0] == known
    assert len(told(chosen("Cutlass"), None, known)) > 1


def test_a_fallback_on_a_gpu_with_fp4_is_told() -> None:
    (one,) = told(chosen("Marlin", native=False))
    assert one.kind == "silent-fallback"
    assert one.text == (
        "vllm 1.0 chooses Marlin on sm121 in slim and devel, which has FP4 instructions: "
        "weight only fallback."
    )


def test_a_control_without_fp4_is_in_none() -> None:
    control = msgspec.structs.replace(SM121, name="sm90", fp4=False)
    assert told(chosen("Marlin", native=False), target=control) == []
    assert told(chosen("FlashInfer"), target=control) == []


def opinion(name: str, *, taken: bool = False, supported: bool | None = False) -> LayerChoice:
    return chosen(
        name if taken else "Marlin",
        candidates=(Candidate(name=name, supported=True, calls="mm_fp4(x)"),),
        flashinfer=(Opinion(call="mm_fp4(x)", supported=supported, reason="10x only"),),
    )


def test_a_yes_of_vllm_against_a_no_of_flashinfer_is_told() -> None:
    found = [one for one in told(opinion("FlashInfer")) if one.kind == "packages-disagree"]
    assert [(one.path, one.text) for one in found] == [
        (
            "vllm.flashinfer",
            (
                "vllm 1.0 says yes to FlashInfer on sm121, and FlashInfer says no to mm_fp4(x), "
                "which it calls (10x only). It is not chosen by default."
            ),
        )
    ]
    (taken,) = [
        one for one in told(opinion("FlashInfer", taken=True)) if one.kind == "packages-disagree"
    ]
    assert taken.text.endswith("It is chosen in slim and devel.")


@pytest.mark.parametrize("supported", [True, None])
def test_an_operation_that_can_or_is_not_known_denies_nothing(supported: bool | None) -> None:
    found = told(opinion("FlashInfer", supported=supported))
    assert not [one for one in found if one.kind == "packages-disagree"]


def test_a_disagreement_that_was_read_in_the_wheels_is_told_once_with_both_readings() -> None:
    known = msgspec.structs.replace(
        KNOWN, kind="packages-disagree", path="vllm.flashinfer", pieces=("flashinfer.mm",)
    )
    found = [
        one for one in told(opinion("FlashInfer"), None, known) if one.kind == "packages-disagree"
    ]
    assert [one.text for one in found] == [known.text]
    assert found[0].read == (
        "the wheel",
        "vllm 1.0, flashinfer-python 1.0; asked on aarch64",
        "flashinfer mm_fp4(x): no (10x only)",
    )
