"""Which cells a kept selection speaks for, what it says there, and why it is silent elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from matrix.capability import Piece
from matrix.chapter import Chapter
from matrix.evidence.record import KernelEvidence, WheelEvidence
from matrix.gate import GateAnswer
from matrix.hearing import Hearing, lamp, taken
from matrix.held import Held
from matrix.path import Path
from matrix.selection import (
    Candidate,
    Cubins,
    EnvironmentChoices,
    LayerChoice,
    LayerKind,
    Selection,
)
from matrix.situation import Situation
from matrix.stack import Pin, Stack
from matrix.target import Target
from matrix.vocabulary import Answer, Environment, Machine, Selected

TARGET = Target(
    name="sm100",
    compute_capability="10.0",
    family="sm10x",
    fp4=True,
    machines=("x86_64", "aarch64"),
    products=("B200",),
    first_cuda="12.8",
    shared_memory_bytes=232448,
)
GEMM = Piece(piece="vllm.gemm", package="vllm", delivery="image", capabilities=("gemm",))
QUANTIZE = Piece(
    piece="vllm.quantize", package="vllm", delivery="image", capabilities=("quantize",)
)
JIT = Piece(piece="flashinfer.mm", package="flashinfer-python", delivery="jit")
EXTRA = Piece(piece="b12x.mm", package="b12x", delivery="dsl")
CUTLASS = Path(
    path="vllm.cutlass",
    package="vllm",
    capability="gemm",
    selector="Cutlass",
    gate="vllm.cutlass",
    pieces=("vllm.quantize", "vllm.gemm"),
    source="vllm/cutlass.py",
)
FLASHINFER = Path(
    path="vllm.flashinfer",
    package="vllm",
    capability="gemm",
    selector="FlashInfer",
    pieces=("flashinfer.mm",),
    source="vllm/flashinfer.py",
)
B12X = Path(
    path="vllm.b12x",
    package="vllm",
    capability="gemm",
    selector="B12x",
    families=("sm12x",),
    pieces=("b12x.mm",),
    source="vllm/b12x.py",
)
CHAPTER = Chapter(capability="gemm", paths=(CUTLASS, FLASHINFER, B12X), own=(GEMM,))
PINS = {"vllm": "1.0", "torch": "2.0", "flashinfer-python": "0.7", "triton": "3.0"}
CHOSEN = LayerChoice(outcome="chosen", selected="Cutlass", native=True, path="vllm.cutlass")


def selection(choice: LayerChoice = CHOSEN, **more: Any) -> Selection:
    kinds: dict[LayerKind, LayerChoice] = dict.fromkeys(
        ("dense_w4a4", "dense_w4a16", "moe_w4a4", "kv_cache"), choice
    )
    every = EnvironmentChoices(targets={"sm100": kinds})
    fields: dict[str, Any] = {
        "packages": {"vllm": "1.0", "torch": "2.0+cu130", "flashinfer-python": "0.7"},
        "installed": {"triton": "3.0"},
        "machine": "x86_64",
        "elsewhere": (),
        "cubins": Cubins(reachable=True, how="stated"),
        "asked_for": {"dense_w4a4": {"linear_backend": "auto", "lora": False}},
        "environments": {"slim": every, "devel": every},
        "contradictions": (),
        "seconds": {},
        "asked": "2026-11-21",
    }
    return Selection(**{**fields, **more})


def situation(
    machine: Machine = "x86_64",
    *,
    pins: dict[str, str] | None = None,
    cuda: str = "13.0",
    proven: int = 3,
    quantize: int = 1,
    gate: Answer = "yes",
    target: Target = TARGET,
) -> Situation:
    images = tuple(
        KernelEvidence(
            piece=piece, object="a.so", image="sm_100a", kernels=count, proven=count, trapped=0
        )
        for piece, count in (("vllm.gemm", proven), ("vllm.quantize", quantize))
        if count
    )
    said = GateAnswer(
        gate="vllm.cutlass",
        capabilities=("gemm",),
        where="vllm/x.py:1",
        slim={"100": gate},
        devel={"100": "yes"},
    )
    record = WheelEvidence(
        package="vllm",
        version="1.0",
        machine=machine,
        filename="vllm-1.0.whl",
        sha256="0" * 64,
        bytes_total=1,
        bytes_fetched=1,
        measured="2026-11-21",
        kernels=images,
        gates=(said,),
    )
    pinned = PINS if pins is None else pins
    return Situation(
        stack=Stack(
            name="vllm==1.0",
            machine=machine,
            pins=tuple(Pin(package=name, version=version) for name, version in pinned.items()),
        ),
        target=target,
        held={"vllm": Held(record)},
        cuda=cuda,
        pieces={piece.piece: (piece,) for piece in (GEMM, QUANTIZE, JIT, EXTRA)},
    )


def carried(here: Situation | None = None, there: Situation | None = None) -> Hearing:
    return Hearing(selection(), here or situation("aarch64"), there or situation())


def test_a_release_speaks_for_itself_on_the_cpu_that_was_asked_on() -> None:
    heard = Hearing(selection(), situation())
    assert heard.silence(CHAPTER) == ""
    assert heard.choice(CHAPTER, "slim") == CHOSEN


@pytest.mark.parametrize(
    ("capability", "heard"),
    [("gemm", True), ("moe", True), ("kv-cache", True), ("quantize", False), ("mxfp4-gemm", False)],
)
def test_only_what_was_asked_is_answered(capability: str, heard: bool) -> None:
    chapter = Chapter(capability=capability, paths=(), own=())
    found = Hearing(selection(), situation())
    assert (found.choice(chapter, "slim") is not None) == heard
    assert bool(list(found.items(chapter, "slim", None))) == heard


def test_the_path_is_that_of_todays_data() -> None:
    learnt = LayerChoice(outcome="chosen", selected="FlashInfer")
    gone = LayerChoice(outcome="chosen", selected="Old", native=True, path="vllm.old")
    for choice, path, native in ((learnt, "vllm.flashinfer", True), (gone, "", None)):
        found = Hearing(selection(choice), situation()).choice(CHAPTER, "slim")
        assert found
        assert (found.path, found.native) == (path, native)


def test_sixteen_bit_activations_decide_nothing() -> None:
    other = LayerChoice(outcome="chosen", selected="Marlin", native=False)
    kinds: dict[LayerKind, LayerChoice] = {"dense_w4a4": CHOSEN, "dense_w4a16": other}
    every = EnvironmentChoices(targets={"sm100": kinds})
    heard = Hearing(selection(environments={"slim": every}), situation())
    assert heard.choice(CHAPTER, "slim") == CHOSEN
    told = [item for item in heard.items(CHAPTER, "slim", CHOSEN) if item.name == "Marlin"]
    assert "which this cell is not about" in told[0].text


@pytest.mark.parametrize("package", ["torch", "flashinfer-python", "flashinfer-cubin"])
def test_a_stack_with_another_version_of_what_decides_is_another_stack(package: str) -> None:
    heard = Hearing(selection(), situation(pins={**PINS, package: "9.9"}))
    assert f"this stack has {package} 9.9" in heard.silence(CHAPTER)
    assert heard.choice(CHAPTER, "slim") is None


def test_a_package_that_decides_and_was_not_there_must_be_absent() -> None:
    without = {name: version for name, version in PINS.items() if name != "flashinfer-python"}
    heard = Hearing(selection(), situation(pins=without))
    assert "this stack has no flashinfer-python" in heard.silence(CHAPTER)


def test_what_decides_nothing_may_have_moved_on() -> None:
    assert Hearing(selection(), situation(pins={**PINS, "triton": "3.1"})).silence(CHAPTER) == ""


TRITON = Path(
    path="vllm.triton",
    package="vllm",
    capability="gemm",
    selector="Triton",
    pieces=("triton.mm",),
    source="vllm/triton.py",
)
WITH_TRITON = Chapter(capability="gemm", paths=(TRITON, CUTLASS), own=(GEMM,))


def by_hand(choice: LayerChoice, version: str = "3.1") -> str:
    """What keeps an answer from a stack whose triton was pinned by hand; its path is the first of two."""
    here = situation(pins={**PINS, "triton": version})
    piece = Piece(piece="triton.mm", package="triton", delivery="python")
    here = replace(here, pieces={**here.pieces, "triton.mm": (piece,)})
    heard = Hearing(selection(choice), here, written={"vllm": "1.0", "triton": version})
    return heard.silence(WITH_TRITON)


def test_a_pin_by_hand_that_nothing_up_to_the_choice_calls_changes_no_choice() -> None:
    assert by_hand(CHOSEN) == ""


@pytest.mark.parametrize(
    "choice",
    [
        LayerChoice(outcome="chosen", selected="Triton", native=True),
        msgspec.structs.replace(CHOSEN, candidates=(Candidate(name="Triton", supported=False),)),
        msgspec.structs.replace(CHOSEN, candidates=(Candidate(name="Nobody", supported=False),)),
        LayerChoice(outcome="none", reason="nothing serves it"),
    ],
    ids=["chosen", "passed over", "passed over and not known", "refused"],
)
def test_a_pin_by_hand_that_may_have_changed_the_choice_must_be_what_was_there(
    choice: LayerChoice,
) -> None:
    assert by_hand(choice) == "asked with triton 3.0; this stack has triton 3.1"
    assert by_hand(choice, "3.0") == ""


def test_what_stands_behind_the_choice_may_be_pinned_otherwise() -> None:
    behind = (Candidate(name="Cutlass", supported=True), Candidate(name="Triton", supported=True))
    assert by_hand(msgspec.structs.replace(CHOSEN, candidates=behind)) == ""


def test_an_extra_matters_where_a_path_calls_what_it_brings() -> None:
    pins = {**PINS, "b12x": "1.2"}
    heard = Hearing(selection(), situation(pins=pins), extras=("b12x",))
    assert heard.silence(CHAPTER) == ""  # its path is for sm12x alone
    sm120 = msgspec.structs.replace(TARGET, name="sm120", compute_capability="12.0", family="sm12x")
    other = Hearing(selection(), situation(pins=pins, target=sm120), extras=("b12x",))
    assert other.silence(CHAPTER) == "asked without b12x, which the extra b12x brings"


def test_an_extra_that_moves_another_package_makes_another_stack() -> None:
    pins = {**PINS, "b12x": "1.2", "triton": "3.1"}
    heard = Hearing(selection(), situation(pins=pins), extras=("b12x",))
    assert heard.silence(CHAPTER) == "asked with triton 3.0; this stack has triton 3.1"


def test_an_answer_is_carried_to_a_cpu_whose_wheel_is_the_same() -> None:
    heard = carried()
    assert heard.choice(CHAPTER, "slim") == CHOSEN
    (item, *_) = heard.items(CHAPTER, "slim", CHOSEN)
    assert "on x86_64, and the aarch64 wheel has the same kernels for sm100" in item.text


@pytest.mark.parametrize(
    ("here", "why"),
    [
        ({"proven": 0}, "whose wheel has vllm.gemm: yes; the aarch64 wheel: no"),
        ({"quantize": 0}, "whose wheel has vllm.quantize: yes; the aarch64 wheel: no"),
        ({"cuda": ""}, "where torch is a build for CUDA 13.0; here it is one for the CPU alone"),
        ({"pins": {**PINS, "triton": "3.1"}}, "with triton 3.0; here it is triton 3.1"),
        ({"pins": {**PINS, "b12x": "1.2"}}, "with no b12x; here it is b12x 1.2"),
        ({"gate": "no"}, "whose wheel says yes to vllm.cutlass; here it says no"),
    ],
)
def test_an_answer_stays_where_the_wheels_differ(here: dict[str, Any], why: str) -> None:
    heard = carried(situation("aarch64", **here))
    assert heard.silence(CHAPTER).startswith("asked on x86_64")
    assert why in heard.silence(CHAPTER)
    assert heard.choice(CHAPTER, "slim") is None
    (item,) = heard.items(CHAPTER, "slim", None)
    assert (item.kind, item.answer, item.text) == ("selected", "not_asked", heard.silence(CHAPTER))


def test_an_answer_stays_where_nothing_is_known_of_the_wheel_that_was_asked() -> None:
    heard = Hearing(selection(), situation("aarch64"), None)
    assert heard.silence(CHAPTER) == "asked on x86_64, whose wheel was not read"


def test_an_environment_or_a_target_that_was_not_asked_stays_dark() -> None:
    choices: dict[Environment, EnvironmentChoices] = {"slim": EnvironmentChoices(targets={})}
    heard = Hearing(selection(environments=choices), situation())
    assert heard.choice(CHAPTER, "slim") is None
    assert heard.choice(CHAPTER, "devel") is None
    (item,) = heard.items(CHAPTER, "devel", None)
    assert item.text == "not asked for devel"


@pytest.mark.parametrize(
    ("choice", "expected", "path"),
    [
        (None, "not_asked", None),
        (CHOSEN, "native", "vllm.cutlass"),
        (
            LayerChoice(
                outcome="chosen",
                selected="Marlin",
                native=False,
                fallback="weight_only_fallback",
                path="vllm.marlin",
            ),
            "weight_only",
            "vllm.marlin",
        ),
        (
            LayerChoice(
                outcome="chosen",
                selected="Emulation",
                native=False,
                fallback="emulation_fallback",
                path="vllm.emulation",
            ),
            "emulation",
            "vllm.emulation",
        ),
        (LayerChoice(outcome="none", reason="no backend"), "refused", None),
        (LayerChoice(outcome="unknown", reason="no adapter"), "unknown", None),
        (LayerChoice(outcome="chosen", selected="New"), "unknown", ""),
    ],
)
def test_a_choice_lights_its_lamp(
    choice: LayerChoice | None, expected: Selected, path: str | None
) -> None:
    assert lamp(choice) == expected
    assert taken(choice) == path


def test_the_evidence_names_the_choice_its_deployment_and_the_cubins() -> None:
    (item, *_) = Hearing(selection(), situation()).items(CHAPTER, "devel", CHOSEN)
    assert (item.kind, item.name, item.answer) == ("selected", "Cutlass", "native")
    assert item.text == (
        "asked in devel on x86_64; for linear backend auto, lora no; cubins of NVIDIA reachable (stated)"
    )
    assert (
        item.where
        == "vllm 1.0, torch 2.0+cu130, flashinfer-python 0.7; asked on x86_64, 2026-11-21"
    )


def test_the_evidence_says_what_other_versions_there_were() -> None:
    made = selection(differs={"triton": "3.1"})
    (item, *_) = Hearing(made, situation()).items(CHAPTER, "slim", CHOSEN)
    assert item.text.endswith("; other versions there: triton 3.0 for 3.1")


def test_who_said_no_before_the_choice_is_told_with_the_reason() -> None:
    candidates = (
        Candidate(name="FlashInfer", supported=False, reason="needs nvcc"),
        Candidate(name="B12x", supported=True, reason="on request alone"),
        Candidate(name="Cutlass", supported=False, reason="another class of that name"),
        Candidate(name="Cutlass", supported=True),
        Candidate(name="Marlin", supported=True, reason="behind Cutlass"),
    )
    choice = msgspec.structs.replace(CHOSEN, candidates=candidates)
    items = list(Hearing(selection(choice), situation()).items(CHAPTER, "slim", choice))
    told = [(item.name, item.answer, item.text) for item in items if item.kind == "candidate"]
    assert told == [
        ("FlashInfer", "no", "needs nvcc"),
        ("B12x", "yes", "on request alone"),
        ("Cutlass", "no", "another class of that name"),
    ]


def test_of_a_refusal_every_candidate_is_told() -> None:
    candidates = tuple(Candidate(name=name, supported=False, reason="no") for name in "AB")
    choice = LayerChoice(outcome="none", reason="nobody can", candidates=candidates)
    items = list(Hearing(selection(choice), situation()).items(CHAPTER, "slim", choice))
    assert [item.name for item in items] == ["none", "A", "B"]
    assert items[0].answer == "refused"
    assert "nobody can" in items[0].text


def test_how_many_kernels_a_wheel_has_does_not_set_it_apart() -> None:
    assert carried(situation("aarch64", proven=1)).silence(CHAPTER) == ""
