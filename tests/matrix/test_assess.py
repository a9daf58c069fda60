"""Cells of one stack on one target: from a wheel, its gates and its paths to lamps and verdicts."""

from __future__ import annotations

import msgspec
import pytest

from matrix.assess import assess, unread
from matrix.capability import Piece
from matrix.cell import Cell
from matrix.chapter import chapters
from matrix.defect import Defect
from matrix.evidence.record import KernelEvidence, ObjectEvidence, WheelEvidence
from matrix.gate import GateAnswer
from matrix.hearing import Hearing
from matrix.held import Held
from matrix.imports import imports
from matrix.path import Path
from matrix.selection import Cubins, EnvironmentChoices, LayerChoice, Selection
from matrix.situation import Situation
from matrix.stack import Pin, Stack
from matrix.target import Target
from matrix.vocabulary import ENVIRONMENTS, Answer

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
QUANTIZE = Piece(
    piece="vllm.quantize", package="vllm", delivery="image", capabilities=("quantize",)
)
GEMM = Piece(piece="vllm.gemm", package="vllm", delivery="image", capabilities=("gemm",))
FUSED = Piece(
    piece="vllm.fused",
    package="vllm",
    delivery="image",
    capabilities=("gemm",),
    required=False,
)
JIT = Piece(
    piece="flashinfer.mm", package="flashinfer-python", delivery="jit", gate="flashinfer.mm"
)
MARLIN = Piece(piece="vllm.marlin", package="vllm", delivery="image")
PIECES = (QUANTIZE, GEMM, FUSED, JIT, MARLIN)
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
    gate="vllm.flashinfer",
    pieces=("vllm.quantize", "flashinfer.mm"),
    source="vllm/flashinfer.py",
)
WEIGHT_ONLY = Path(
    path="vllm.marlin",
    package="vllm",
    capability="gemm",
    selector="Marlin",
    native=False,
    fallback="weight_only_fallback",
    pieces=("vllm.marlin",),
    source="vllm/marlin.py",
)
PATHS = (CUTLASS, FLASHINFER, WEIGHT_ONLY)


def wheel(package: str, **more: object) -> WheelEvidence:
    fields = {
        "package": package,
        "version": "1.0",
        "machine": "aarch64",
        "filename": f"{package}-1.0.whl",
        "sha256": "0" * 64,
        "bytes_total": 1,
        "bytes_fetched": 1,
        "measured": "2026-11-21",
        **more,
    }
    return msgspec.convert(fields, WheelEvidence)


def kernels(*pieces: str, image: str = "sm_120f") -> tuple[KernelEvidence, ...]:
    return tuple(
        KernelEvidence(
            piece=piece, object="vllm/_C.so", image=image, kernels=2, proven=2, trapped=0
        )
        for piece in pieces
    )


def gate(name: str, slim: Answer = "yes", devel: Answer = "yes", **more: object) -> GateAnswer:
    answer = GateAnswer(
        gate=name,
        capabilities=("gemm",),
        where="vllm/x.py:1",
        slim={"121": slim},
        devel={"121": devel},
    )
    return msgspec.structs.replace(answer, **more)


TORCH = wheel("torch", facts={"cuda": "13.0"})
BOTH = kernels("vllm.quantize", "vllm.gemm")


def judge(
    *records: WheelEvidence,
    torch: WheelEvidence | None = TORCH,
    defects: tuple[Defect, ...] = (),
    floors: dict[str, str] | None = None,
    paths: tuple[Path, ...] = PATHS,
    choice: LayerChoice | None = None,
) -> dict[str, Cell]:
    held = [*records, *([torch] if torch else [])]
    listed = tuple(Pin(package=one.package, version=one.version) for one in held)
    situation = Situation(
        stack=Stack(name="vllm==1.0", machine="aarch64", pins=listed),
        target=SM121,
        held={one.package: Held(one) for one in held},
        cuda=torch.facts.get("cuda") if torch else None,
        pieces={piece.piece: (piece,) for piece in PIECES},
        defects=defects,
        floors=floors or {},
    )
    told = chapters("vllm", "1.0", ("gemm",), paths, PIECES)
    hearing = Hearing(selection(choice, listed), situation) if choice else None
    return {str(cell.environment): cell for cell in assess(situation, told, ENVIRONMENTS, hearing)}


def selection(choice: LayerChoice, pins: tuple[Pin, ...]) -> Selection:
    every = EnvironmentChoices(targets={"sm121": {"dense_w4a4": choice}})
    return Selection(
        packages={pin.package: pin.version for pin in pins},
        machine="aarch64",
        elsewhere=(),
        cubins=Cubins(reachable=True, how="stated"),
        asked_for={},
        environments=dict.fromkeys(ENVIRONMENTS, every),
        contradictions=(),
        seconds={},
    )


def test_a_complete_native_path_that_the_package_claims_is_likely() -> None:
    cell = judge(wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),)))["slim"]
    assert (cell.declared, cell.compiled, cell.verdict) == ("yes", "yes", "likely")
    assert (cell.selected, cell.executed) == ("not_asked", "missing")


def test_a_path_lacks_what_another_capability_of_the_same_wheel_lacks() -> None:
    lead = wheel("vllm", kernels=kernels("vllm.gemm"), gates=(gate("vllm.cutlass"),))
    cell = judge(lead)["slim"]
    assert (cell.compiled, cell.verdict, cell.reason) == ("yes", "broken", "no_kernel_image")


def test_weight_only_alone_is_no_support() -> None:
    lead = wheel("vllm", kernels=kernels("vllm.marlin"), gates=(gate("vllm.cutlass", "no", "no"),))
    cell = judge(lead)["slim"]
    assert (cell.declared, cell.compiled, cell.verdict) == ("no", "no", "unavailable")


def test_an_optional_piece_does_not_darken_the_lamp() -> None:
    lead = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),))
    assert judge(lead)["slim"].compiled == "yes"


def test_the_two_environments_are_judged_apart() -> None:
    lead = wheel(
        "vllm",
        kernels=kernels("vllm.quantize"),
        gates=(gate("vllm.cutlass", "no", "no"), gate("vllm.flashinfer", "no", "yes")),
    )
    provider = wheel("flashinfer-python", gates=(gate("flashinfer.mm", capabilities=()),))
    cells = judge(lead, provider)
    assert (cells["slim"].declared, cells["slim"].verdict) == ("no", "unavailable")
    assert (cells["devel"].declared, cells["devel"].verdict) == ("yes", "likely")
    assert cells["devel"].compiled == "no"


def test_a_defect_of_the_path_breaks_it_and_is_told() -> None:
    known = Defect(
        defect="known",
        package="vllm",
        versions="<2",
        targets=("sm121",),
        path="vllm.cutlass",
        reason="known_defect",
        summary="It does not.",
        source="somewhere",
    )
    lead = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),))
    cell = judge(lead, defects=(known,))["slim"]
    assert (cell.verdict, cell.reason) == ("broken", "known_defect")
    assert [item.text for item in cell.evidence if item.kind == "defect"] == ["It does not."]


def test_the_evidence_begins_with_the_imports_and_follows_the_path_piece_by_piece() -> None:
    cell = judge(wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),)))["slim"]
    told = [(item.kind, item.name, item.answer) for item in cell.evidence]
    assert told[:5] == [
        ("stack", "imports", "yes"),
        ("path", "vllm.cutlass", "complete"),
        ("gate", "vllm.cutlass", "yes"),
        ("piece", "vllm.quantize", "yes"),
        ("piece", "vllm.gemm", "yes"),
    ]
    assert cell.evidence[2].where == "vllm-1.0.whl: vllm/x.py:1"


def test_a_path_that_is_passed_over_says_why() -> None:
    cell = judge(wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),)))["slim"]
    refused = next(item for item in cell.evidence if item.name == "vllm.flashinfer")
    assert refused.answer == "refused"
    assert "flashinfer-python is not in this stack" in refused.text


@pytest.mark.parametrize(
    ("torch", "answer", "reason", "told"),
    [
        (TORCH, "yes", "", "CUDA 13.0"),
        (wheel("torch", facts={"cuda": ""}), "no", "torch_without_cuda", "without CUDA on aarch64"),
        (wheel("torch", facts={"cuda": "12.8"}), "no", "cuda_mismatch", "for CUDA 13, torch 1.0"),
        (wheel("torch"), "unknown", "not_measured", "was not read"),
        (
            wheel("torch", facts={"cuda": "13.0", "arch_list": "sm_90 sm_100 sm_120a"}),
            "no",
            "torch_without_target",
            "sm121 can load none of that",
        ),
        (wheel("torch", facts={"cuda": "13.0", "arch_list": "sm_100 sm_120"}), "yes", "", "13.0"),
        (wheel("torch", facts={"cuda": "13.0", "arch_list": "sm_90 compute_90"}), "yes", "", ""),
    ],
)
def test_imports_resolve_with_a_cuda_torch_of_the_same_major_version(
    torch: WheelEvidence, answer: str, reason: str, told: str
) -> None:
    object_ = ObjectEvidence(path="vllm/_C.so", size=1, outcome="read", needs="libcudart.so.13")
    lead = wheel("vllm", objects=(object_,))
    pins = tuple(Pin(package=name, version="1.0") for name in ("vllm", "torch"))
    stack = Stack(name="vllm==1.0", machine="aarch64", pins=pins)
    held = {"vllm": Held(lead), "torch": Held(torch)}
    found = imports(stack, held, torch.facts.get("cuda"), SM121)
    assert found[:2] == (answer, reason)
    assert told in found[2]


def test_imports_do_not_resolve_where_torch_has_no_wheel() -> None:
    pins = (Pin(package="vllm", version="1.0"), Pin(package="torch", version="", why="none here"))
    stack = Stack(name="vllm==1.0", machine="aarch64", pins=pins)
    assert imports(stack, {"vllm": Held(wheel("vllm"))}, None, SM121) == (
        "no",
        "no_wheel",
        "torch: none here",
    )


def test_pins_that_exclude_each_other_cannot_be_installed() -> None:
    pins = (
        Pin(package="vllm", version="1.0"),
        Pin(package="nvidia-cutlass-dsl", version="", why="==4.6.2,==4.7.1"),
    )
    stack = Stack(name="vllm[b12x]==1.0", machine="aarch64", pins=pins)
    found = imports(stack, {"vllm": Held(wheel("vllm"))}, "13.0", SM121)
    assert found == ("no", "conflicting_pins", "nvidia-cutlass-dsl: ==4.6.2,==4.7.1")


def test_a_gate_that_asks_for_a_newer_cuda_runtime_than_torch_brings_says_no() -> None:
    lead = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),))
    old = wheel("torch", facts={"cuda": "12.6"})
    cell = judge(lead, torch=old, floors={"vllm.cutlass": "12.8"})["slim"]
    assert (cell.declared, cell.verdict, cell.reason) == ("no", "unavailable", "not_declared")
    (item,) = (item for item in cell.evidence if item.kind == "gate")
    assert (item.answer, item.text) == (
        "no",
        "asks for CUDA runtime 12.8, and the stack's torch brings 12.6",
    )
    assert judge(lead, floors={"vllm.cutlass": "12.8"})["slim"].verdict == "likely"


def test_a_path_on_request_alone_is_told_and_does_not_count() -> None:
    asked = msgspec.structs.replace(CUTLASS, on_request="--backend cutlass")
    lead = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),))
    cell = judge(lead, paths=(asked,))["slim"]
    assert (cell.verdict, cell.reason) == ("unavailable", "on_request")
    (item,) = (item for item in cell.evidence if item.kind == "path")
    assert item.answer == "complete"
    assert item.text.endswith("; on request: --backend cutlass")


def test_a_stack_that_cannot_be_imported_is_broken_whatever_its_wheel_holds() -> None:
    lead = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),))
    cell = judge(lead, torch=wheel("torch", facts={"cuda": ""}))["slim"]
    assert (cell.compiled, cell.verdict, cell.reason) == ("yes", "broken", "torch_without_cuda")


@pytest.mark.parametrize(
    ("published", "verdict", "reason", "lamp"),
    [
        (False, "unavailable", "no_wheel", "no"),
        (True, "unknown", "not_measured", "unknown"),
        (None, "unknown", "not_measured", "unknown"),
    ],
)
def test_a_wheel_that_was_not_read_is_unknown_and_one_that_is_not_there_unavailable(
    published: bool | None, verdict: str, reason: str, lamp: str
) -> None:
    stack = Stack(name="vllm==1.0", machine="aarch64", pins=(Pin(package="vllm", version="1.0"),))
    cells = unread(stack, SM121, ("gemm", "moe"), ENVIRONMENTS, published=published)
    assert {(c.capability, c.environment) for c in cells} == {
        (name, environment) for name in ("gemm", "moe") for environment in ENVIRONMENTS
    }
    assert {(c.verdict, c.reason, c.compiled) for c in cells} == {(verdict, reason, lamp)}


def test_a_choice_decides_though_another_path_is_complete() -> None:
    choice = LayerChoice(outcome="chosen", selected="FlashInfer")
    wheels = (
        wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"), gate("vllm.flashinfer"))),
        wheel("flashinfer-python", gates=(gate("flashinfer.mm"),)),
    )
    found = judge(*wheels, choice=choice)
    assert judge(*wheels)["slim"].verdict == "likely"
    assert (found["slim"].verdict, found["slim"].reason) == ("broken", "no_compiler")
    assert (found["devel"].verdict, found["devel"].selected) == ("likely", "native")


def test_the_chosen_path_is_told_first_and_its_gate_refuses_it_no_more() -> None:
    choice = LayerChoice(outcome="chosen", selected="FlashInfer")
    wheels = (
        wheel(
            "vllm", kernels=BOTH, gates=(gate("vllm.cutlass"), gate("vllm.flashinfer", "no", "no"))
        ),
        wheel("flashinfer-python", gates=(gate("flashinfer.mm"),)),
    )
    told = [(i.kind, i.name, i.answer) for i in judge(*wheels, choice=choice)["devel"].evidence]
    assert told[1:5] == [
        ("selected", "FlashInfer", "native"),
        ("path", "vllm.flashinfer", "complete"),
        ("gate", "vllm.flashinfer", "no"),
        ("piece", "vllm.quantize", "yes"),
    ]
    assert [name for kind, name, _ in told if kind == "path"] == ["vllm.flashinfer", "vllm.cutlass"]


def test_a_chosen_fallback_is_told_with_its_pieces() -> None:
    choice = LayerChoice(outcome="chosen", selected="Marlin")
    found = judge(wheel("vllm", kernels=kernels("vllm.marlin")), choice=choice)["slim"]
    assert (found.selected, found.verdict) == ("weight_only", "fallback")
    assert ("piece", "vllm.marlin") in [(item.kind, item.name) for item in found.evidence]


@pytest.mark.parametrize(("said", "verdict"), [("yes", "broken"), ("no", "unavailable")])
def test_a_refusal_is_told_by_lamp_and_verdict(said: Answer, verdict: str) -> None:
    choice = LayerChoice(outcome="none", reason="nobody can")
    record = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass", said, said),))
    found = judge(record, choice=choice)["slim"]
    assert (found.selected, found.verdict, found.reason) == ("refused", verdict, "refused")


def test_an_answer_that_is_not_known_judges_as_if_nobody_was_asked() -> None:
    record = wheel("vllm", kernels=BOTH, gates=(gate("vllm.cutlass"),))
    found = judge(record, choice=LayerChoice(outcome="unknown", reason="no adapter"))["slim"]
    assert (found.selected, found.verdict) == ("unknown", "likely")
    assert any("no adapter" in item.text for item in found.evidence if item.kind == "selected")
