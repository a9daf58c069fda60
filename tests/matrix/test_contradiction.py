"""Which disagreements are told, of which kind, and with what was read."""

from __future__ import annotations

import msgspec
import pytest

from matrix.capability import Piece
from matrix.cell import Contradiction
from matrix.chapter import chapters
from matrix.contradiction import contradictions
from matrix.defect import Defect
from matrix.evidence.record import KernelEvidence, WheelEvidence
from matrix.gate import GateAnswer
from matrix.held import Held
from matrix.path import Path
from matrix.situation import Situation
from matrix.stack import Pin, Stack
from matrix.target import Target
from matrix.vocabulary import Answer

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
GEMM = Piece(piece="vllm.gemm", package="vllm", delivery="image", capabilities=("gemm",))
JIT = Piece(
    piece="flashinfer.mm", package="flashinfer-python", delivery="jit", gate="flashinfer.mm"
)
OWN = Path(
    path="vllm.own",
    package="vllm",
    capability="gemm",
    selector="Own",
    gate="vllm.own",
    pieces=("vllm.gemm",),
    source="vllm/own.py",
)
OTHER = msgspec.structs.replace(
    OWN, path="vllm.other", selector="Other", gate="vllm.other", pieces=("flashinfer.mm",)
)


def gate(name: str, slim: Answer, devel: Answer, why: str = "") -> GateAnswer:
    return GateAnswer(
        gate=name,
        capabilities=("gemm",),
        where="x.py:1",
        slim={"121": slim},
        devel={"121": devel},
        why=why,
    )


def image(name: str, proven: int, trapped: int = 0) -> KernelEvidence:
    return KernelEvidence(
        piece="vllm.gemm",
        object="vllm/_C.so",
        image=name,
        kernels=proven + trapped,
        proven=proven,
        trapped=trapped,
    )


def held(
    package: str, *gates: GateAnswer, kernels: tuple[KernelEvidence, ...] = (), **facts: str
) -> Held:
    return Held(
        WheelEvidence(
            package=package,
            version="1.0",
            machine="aarch64",
            filename=f"{package}-1.0.whl",
            sha256="0" * 64,
            bytes_total=1,
            bytes_fetched=1,
            measured="2026-11-21",
            kernels=kernels,
            gates=gates,
            facts=facts,
        )
    )


def found(
    *records: Held,
    paths: tuple[Path, ...] = (OWN, OTHER),
    target: Target = SM121,
    defects: tuple[Defect, ...] = (),
) -> tuple[Contradiction, ...]:
    situation = Situation(
        stack=Stack(
            name="vllm==1.0",
            machine="aarch64",
            pins=tuple(Pin(package=one.record.package, version="1.0") for one in records),
        ),
        target=target,
        held={one.record.package: one for one in records},
        cuda="13.0",
        pieces={"vllm.gemm": (GEMM,), "flashinfer.mm": (JIT,)},
        defects=defects,
    )
    told = chapters("vllm", "1.0", ("gemm",), paths, (GEMM, JIT))
    return tuple(contradictions(situation, told))


@pytest.mark.parametrize(("slim", "devel"), [("yes", "no"), ("no", "yes"), ("yes", "yes")])
def test_a_claim_in_either_environment_without_an_image(slim: Answer, devel: Answer) -> None:
    (one,) = found(held("vllm", gate("vllm.own", slim, devel), kernels=(image("sm_120a", 4),)))
    assert (one.kind, one.path, one.pieces) == (
        "declared-not-compiled",
        "vllm.own",
        ("vllm.gemm",),
    )
    assert one.text == (
        "vllm 1.0 says yes to Own on sm121, and its aarch64 wheel lacks it: "
        "vllm.gemm: no image that sm121 can load; it has sm_120a."
    )
    assert one.read[0] == "vllm-1.0.whl: x.py:1"


def test_a_claim_with_an_image_that_holds_no_kernel_is_a_trap() -> None:
    (one,) = found(held("vllm", gate("vllm.own", "yes", "yes"), kernels=(image("sm_120f", 0, 3),)))
    assert one.kind == "trap"
    assert "3 only trap" in one.text


def test_a_claim_whose_kernel_is_never_called() -> None:
    known = Defect(
        defect="never",
        package="vllm",
        versions="",
        targets=("sm121",),
        piece="vllm.gemm",
        reason="unreachable_dispatch",
        summary="Never.",
        source="there",
    )
    lead = held("vllm", gate("vllm.own", "yes", "yes"), kernels=(image("sm_120f", 4),))
    (one,) = found(lead, defects=(known,))
    assert one.kind == "unreachable"
    assert "never: there" in one.read


def test_a_claim_that_the_provider_denies() -> None:
    lead = held("vllm", gate("vllm.other", "no", "yes"))
    provider = held("flashinfer-python", gate("flashinfer.mm", "no", "no"))
    (one,) = found(lead, provider)
    assert (one.kind, one.path) == ("packages-disagree", "vllm.other")
    assert "flashinfer-python itself says no to sm121" in one.text


def test_a_missing_compiler_is_no_contradiction() -> None:
    lead = held("vllm", gate("vllm.other", "yes", "yes"))
    provider = held("flashinfer-python", gate("flashinfer.mm", "yes", "yes"))
    assert found(lead, provider) == ()


def test_kernels_without_a_claim_and_the_packages_own_words_for_it() -> None:
    said = gate("vllm.own", "no", "no", "sm90, sm121: not yet; sm75: never")
    (one,) = found(held("vllm", said, kernels=(image("sm_120f", 4),)))
    assert one.kind == "compiled-not-declared"
    assert 'says no to Own on sm121 ("not yet")' in one.text


def test_agreement_is_no_contradiction() -> None:
    yes = held("vllm", gate("vllm.own", "yes", "yes"), kernels=(image("sm_120f", 4),))
    no = held("vllm", gate("vllm.own", "no", "no"))
    undecided = held("vllm", gate("vllm.own", "unknown", "unknown"), kernels=(image("sm_120f", 4),))
    assert found(yes) == found(no) == found(undecided) == ()


def test_a_gpu_without_fp4_hardware_contradicts_nothing() -> None:
    lead = held("vllm", gate("vllm.own", "yes", "yes"))
    assert found(lead, target=msgspec.structs.replace(SM121, fp4=False)) == ()


def test_weight_only_paths_contradict_nothing() -> None:
    marlin = msgspec.structs.replace(OWN, native=False)
    assert found(held("vllm", gate("vllm.own", "yes", "yes")), paths=(marlin,)) == ()


def test_a_shared_claim_counts_for_the_path_that_upstream_uses_there() -> None:
    ten = msgspec.structs.replace(OWN, path="vllm.ten", families=("sm10x",))
    twelve = msgspec.structs.replace(OTHER, gate="vllm.own", families=("sm12x",))
    lead = held("vllm", gate("vllm.own", "yes", "yes"))
    provider = held("flashinfer-python", gate("flashinfer.mm", "yes", "yes"))
    assert found(lead, provider, paths=(ten, twelve)) == ()
    assert [one.path for one in found(lead, provider, paths=(ten,))] == ["vllm.ten"]
