"""Whether one piece can be had, for each way of delivery."""

from __future__ import annotations

import pytest

from matrix.capability import Piece
from matrix.defect import Defect
from matrix.evidence.record import CubinEvidence, KernelEvidence, WheelEvidence
from matrix.gate import GateAnswer
from matrix.held import Held
from matrix.situation import Situation
from matrix.stack import Pin, Stack
from matrix.target import Target

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
GEMM = Piece(piece="vllm.gemm", package="vllm", delivery="image", instruction="fp4-mma")
JIT = Piece(
    piece="flashinfer.mm-fp4", package="flashinfer-python", delivery="jit", gate="flashinfer.mm-fp4"
)
DSL = Piece(
    piece="flashinfer.mm-dsl",
    package="flashinfer-python",
    delivery="dsl",
    needs=("nvidia-cutlass-dsl",),
)
CUBIN = Piece(piece="flashinfer.trtllm", package="flashinfer-cubin", delivery="cubin")
LIBRARY = Piece(
    piece="flashinfer.cudnn",
    package="flashinfer-python",
    delivery="library",
    libraries=("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"),
    minimum="9.10",
)
PYTHON = Piece(piece="torch.emulation", package="torch", delivery="python")
PIECES = {piece.piece: (piece,) for piece in (GEMM, JIT, DSL, CUBIN, LIBRARY, PYTHON)}


def record(package: str, version: str = "1.0", **more: object) -> Held:
    fields = {
        "package": package,
        "version": version,
        "machine": "aarch64",
        "filename": f"{package}-{version}-aarch64.whl",
        "sha256": "0" * 64,
        "bytes_total": 1,
        "bytes_fetched": 1,
        "measured": "2026-11-21",
        **more,
    }
    return Held(WheelEvidence(**fields))  # type: ignore[arg-type]


def kernel(image: str, proven: int, trapped: int = 0) -> KernelEvidence:
    return KernelEvidence(
        piece="vllm.gemm",
        object="vllm/_C.abi3.so",
        image=image,
        kernels=proven + trapped,
        proven=proven,
        trapped=trapped,
    )


def situation(
    *held: Held,
    cuda: str | None = "13.0",
    defects: tuple[Defect, ...] = (),
    pins: dict[str, str] | None = None,
) -> Situation:
    listed = {one.record.package: one.record.version for one in held} | (pins or {})
    stack = Stack(
        name="vllm==1.0",
        machine="aarch64",
        pins=tuple(Pin(package=name, version=version) for name, version in listed.items()),
    )
    return Situation(
        stack=stack,
        target=SM121,
        held={one.record.package: one for one in held},
        cuda=cuda,
        pieces=PIECES,
        defects=defects,
    )


def gate(slim: str, devel: str) -> GateAnswer:
    return GateAnswer(gate="flashinfer.mm-fp4", slim={"121": slim}, devel={"121": devel})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("kernels", "available", "told", "reason"),
    [
        ((kernel("sm_120f", 4),), "yes", "yes", ""),
        ((kernel("sm_120a", 4),), "no", "no", "no_kernel_image"),
        ((kernel("sm_120f", 0, 4),), "no", "trap", "trap_kernel"),
        ((kernel("sm_120", 0, 4),), "no", "trap", "trap_kernel"),
        ((), "no", "no", "no_kernel_image"),
    ],
)
def test_an_image_is_there_when_it_loads_and_holds_a_kernel(
    kernels: tuple[KernelEvidence, ...], available: str, told: str, reason: str
) -> None:
    answer = situation(record("vllm", kernels=kernels)).availability("vllm.gemm", "slim")
    assert (answer.available, answer.told, answer.reason) == (available, told, reason)


def test_a_missing_image_says_which_ones_there_are() -> None:
    held = record("vllm", kernels=(kernel("sm_100a", 6), kernel("sm_120a", 4)))
    answer = situation(held).availability("vllm.gemm", "slim")
    assert answer.text == "no image that sm121 can load; it has sm_100a, sm_120a"


def test_a_provider_that_the_stack_does_not_have_is_missing() -> None:
    answer = situation(record("vllm")).availability("flashinfer.mm-fp4", "devel")
    assert (answer.available, answer.reason) == ("no", "missing_package")


def test_a_provider_that_was_not_read_leaves_it_unknown() -> None:
    held = situation(record("vllm"), pins={"flashinfer-python": "0.3.0"})
    answer = held.availability("flashinfer.mm-fp4", "devel")
    assert (answer.available, answer.reason) == ("unknown", "not_measured")
    assert "0.3.0" in answer.text


@pytest.mark.parametrize(
    ("said", "environment", "cuda", "available", "reason"),
    [
        (gate("yes", "yes"), "devel", "13.0", "yes", ""),
        (gate("yes", "yes"), "slim", "13.0", "no", "no_compiler"),
        (gate("yes", "yes"), "devel", "12.8", "no", "ptxas_too_old"),
        (gate("yes", "yes"), "devel", None, "unknown", "not_measured"),
        (gate("no", "no"), "devel", "13.0", "no", "arch_guard"),
        (gate("unknown", "unknown"), "devel", "13.0", "unknown", "not_measured"),
    ],
)
def test_source_needs_a_claim_a_compiler_and_one_that_is_new_enough(
    said: GateAnswer, environment: str, cuda: str | None, available: str, reason: str
) -> None:
    held = situation(record("flashinfer-python", gates=(said,)), cuda=cuda)
    answer = held.availability("flashinfer.mm-fp4", environment)  # type: ignore[arg-type]
    assert (answer.available, answer.reason) == (available, reason)


def test_the_dsl_needs_its_compiler_and_no_nvcc() -> None:
    alone = situation(record("flashinfer-python"))
    assert alone.availability("flashinfer.mm-dsl", "slim").reason == "missing_package"
    both = situation(record("flashinfer-python"), pins={"nvidia-cutlass-dsl": "4.8.0"})
    assert both.availability("flashinfer.mm-dsl", "slim").told == "dsl"


def test_cubins_are_files_of_a_package_or_a_download_that_was_not_tried() -> None:
    image = CubinEvidence(piece="flashinfer.trtllm", image="sm121a", files=3)
    there = situation(record("flashinfer-cubin", cubins=(image,)))
    assert there.availability("flashinfer.trtllm", "slim").available == "yes"
    other = CubinEvidence(piece="flashinfer.trtllm", image="sm100f", files=3)
    wrong = situation(record("flashinfer-cubin", cubins=(other,)))
    assert wrong.availability("flashinfer.trtllm", "slim").reason == "no_kernel_image"
    download = situation(record("flashinfer-python"))
    assert download.availability("flashinfer.trtllm", "slim").available == "unknown"
    neither = situation(record("vllm"))
    assert neither.availability("flashinfer.trtllm", "slim").reason == "missing_package"


@pytest.mark.parametrize(
    ("version", "available", "reason"),
    [("9.19.0.56", "yes", ""), ("9.2", "no", "library_too_old"), (None, "no", "missing_package")],
)
def test_a_library_must_be_there_and_new_enough(
    version: str | None, available: str, reason: str
) -> None:
    held = situation(record("vllm"), pins={"nvidia-cudnn-cu12": version} if version else None)
    answer = held.availability("flashinfer.cudnn", "slim")
    assert (answer.available, answer.reason) == (available, reason)


def test_plain_torch_is_always_there() -> None:
    assert situation(record("vllm")).availability("torch.emulation", "slim").available == "yes"


def test_what_no_data_describes_is_unknown() -> None:
    assert situation(record("vllm")).availability("vllm.new", "slim").available == "unknown"


def defect(**more: object) -> Defect:
    fields = {
        "defect": "known",
        "package": "vllm",
        "versions": "<2",
        "targets": ("sm121",),
        "piece": "vllm.gemm",
        "reason": "unreachable_dispatch",
        "summary": "The dispatch never reaches it.",
        "source": "objdump",
        **more,
    }
    return Defect(**fields)  # type: ignore[arg-type]


def test_a_known_defect_takes_a_piece_away_and_keeps_what_was_compiled() -> None:
    held = record("vllm", kernels=(kernel("sm_120f", 4),))
    answer = situation(held, defects=(defect(),)).availability("vllm.gemm", "slim")
    assert (answer.available, answer.told, answer.reason) == ("no", "yes", "unreachable_dispatch")


@pytest.mark.parametrize(
    "other",
    [defect(effect="warns"), defect(versions=">=2"), defect(package="torch"), defect(piece="x.y")],
)
def test_a_defect_of_another_release_piece_or_package_or_one_that_warns_does_not(
    other: Defect,
) -> None:
    held = record("vllm", kernels=(kernel("sm_120f", 4),))
    answer = situation(held, defects=(other,)).availability("vllm.gemm", "slim")
    assert answer.available == "yes"


def test_a_missing_piece_keeps_its_own_reason_beside_a_defect() -> None:
    answer = situation(record("vllm"), defects=(defect(),)).availability("vllm.gemm", "slim")
    assert answer.reason == "no_kernel_image"
