from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from matrix.capability import CapabilitiesFile, Instruction, PackageRule, Piece
from matrix.compiled import compiled
from matrix.configuration import Configuration
from matrix.errors import OutsideError
from matrix.evidence.audit import audit
from matrix.evidence.index import Index
from matrix.evidence.kernelword import names_pattern
from matrix.evidence.record import KernelEvidence, ObjectEvidence, WheelEvidence
from matrix.evidence.wheel import Wheel
from matrix.gate import Gate, GatesFile, Predicate
from matrix.origin import from_path


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        (r"silu_(and_)?mul_cvt_fp16_to_fp4I", b"silu_mul_cvt_fp16_to_fp4I6__half"),
        (r"N4vllm(15cvt_fp16_to_fp4|24cvt_fp16_to_fp4_sf_major)I", b"_ZN4vllm15cvt_fp16_to_fp4I"),
        (r"30reshape_and_cache_nvfp4_kernelI", b"_ZN4vllm30reshape_and_cache_nvfp4_kernelI"),
    ],
)
def test_what_holds_the_kernel_holds_the_word(symbol: str, name: bytes) -> None:
    piece = Piece(piece="vllm.x", package="vllm", delivery="image", symbol=symbol)
    assert re.search(symbol.encode(), name)
    assert names_pattern([piece]).search(name)


MakeWheel = Callable[..., Path]
Handed = list[tuple[str, tuple[str, ...]]]
"""Name of each object that is handed on, and the pieces that are looked for in it."""

NAME = b"\0_Z21my_quantize_nvfp4_one6__half\0"
"""A kernel that a piece of any package is about; as the whole of an object, worth handing on."""

RULES = CapabilitiesFile(
    capabilities=(),
    instructions=(Instruction(name="fp4", families={"sm10x": "x"}, source="s"),),
    packages=(
        PackageRule(package="kernels", reader="kernels", skip_objects="/sm90/"),
        PackageRule(package="torch", reader="torch"),
        PackageRule(package="dsl", reader="dsl"),
        PackageRule(package="source", reader="source"),
        PackageRule(package="library", reader="library"),
        PackageRule(package="cubins", reader="cubins"),
    ),
    pieces=(
        Piece(piece="a.old", package="kernels", delivery="image", symbol="nvfp4", versions="<2"),
        Piece(piece="a.new", package="kernels", delivery="image", symbol="nvfp4", versions=">=2"),
        Piece(piece="a.jit", package="kernels", delivery="jit"),
        Piece(piece="any.quantize", package="*", delivery="image", symbol="quantize_nvfp4"),
        Piece(piece="c.gemm", package="cubins", delivery="cubin", cubin="Gemm"),
    ),
)
GATES = GatesFile(
    gates=(
        Gate(
            gate="a.gate",
            package="source",
            predicate=Predicate(minimum=100, sdist="0" * 64, file="a.cu", line=3),
        ),
    )
)


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> Handed:
    """Stand in for cuobjdump and nvdisasm."""
    seen: Handed = []

    def read(
        path: Path,
        name: str,
        pieces: Sequence[Piece],
        instructions: Sequence[Instruction],
        *,
        workdir: Path,
    ) -> tuple[ObjectEvidence, list[KernelEvidence]]:
        assert path.parent == workdir
        assert instructions == RULES.instructions
        seen.append((name, tuple(piece.piece for piece in pieces)))
        evidence = ObjectEvidence(path=name, size=path.stat().st_size, outcome="read")
        kernel = KernelEvidence(
            piece=pieces[0].piece, object=name, image="sm_120a", kernels=1, proven=1, trapped=0
        )
        return evidence, [kernel]

    monkeypatch.setattr("matrix.evidence.audit.read_object", read)
    monkeypatch.setattr("matrix.evidence.audit.tool_versions", lambda: {"cuobjdump": "0"})
    return seen


def read(path: Path, told: list[str] | None = None) -> WheelEvidence:
    progress = (told if told is not None else []).append
    with Wheel.open_file(path) as wheel:
        return audit(wheel, from_path(path), RULES, GATES, progress=progress)


def test_a_package_without_a_rule_is_read_by_the_pieces_of_any(
    make_wheel: MakeWheel, handed: Handed
) -> None:
    content = {"own/_C.so": NAME, "own/__init__.py": b""}
    path = make_wheel("somebodys-kernels", "0.1", content, tag="cp312-cp312-linux_aarch64")
    evidence = read(path)
    assert handed == [("own/_C.so", ("any.quantize",))]
    assert [(k.piece, k.object) for k in evidence.kernels] == [("any.quantize", "own/_C.so")]
    assert (evidence.package, evidence.version) == ("somebodys-kernels", "0.1")
    assert (evidence.machine, evidence.python) == ("aarch64", "cp312")
    assert evidence.filename == path.name
    assert evidence.bytes_total == path.stat().st_size
    assert evidence.rules
    assert evidence.facts == {}


def test_only_the_pieces_of_that_release_are_looked_for(
    make_wheel: MakeWheel, handed: Handed
) -> None:
    for version in ("1.9", "2.0"):
        read(make_wheel("kernels", version, {"k/_C.so": NAME}))
    assert [pieces for _, pieces in handed] == [("a.old",), ("a.new",)]


def test_objects_that_the_rule_skips_are_told_and_not_read(
    make_wheel: MakeWheel, handed: Handed
) -> None:
    told: list[str] = []
    evidence = read(make_wheel("kernels", "1", {"k/sm90/a.so": NAME, "k/sm100/a.so": NAME}), told)
    outcomes = {held.path: held.outcome for held in evidence.objects}
    assert outcomes == {"k/sm90/a.so": "skipped", "k/sm100/a.so": "read"}
    assert [name for name, _ in handed] == ["k/sm100/a.so"]
    assert told == ["k/sm100/a.so"]


def test_an_object_without_a_name_of_ours_is_told_and_not_handed_on(
    make_wheel: MakeWheel, handed: Handed
) -> None:
    other = b"\0_Z16flash_fwd_kernelIfEvv\0" * 9
    (held,) = read(make_wheel("kernels", "1", {"k/a.so": other})).objects
    assert (held.outcome, held.size, held.sha256) == ("no-kernels", len(other), "")
    assert handed == []


@pytest.mark.parametrize(
    ("name", "is_object"),
    [
        ("k/a.so", True),
        ("k/a.so.9", True),
        ("k/a.so.9.24.0", True),
        ("k/_C.abi3.so", True),
        ("k/a.cpython-312-x86_64-linux-gnu.so", True),
        ("k/a.so.py", False),
        ("k/a.so.debug", False),
        ("k/so", False),
        ("k/a.pyd", False),
    ],
)
def test_shared_objects_are_known_by_their_names(
    make_wheel: MakeWheel, handed: Handed, name: str, is_object: bool
) -> None:
    evidence = read(make_wheel("kernels", "1", {name: NAME}))
    assert [held.path for held in evidence.objects] == [name] * is_object
    assert len(handed) == is_object


def test_an_object_that_was_read_is_told_by_the_hash_that_record_states(
    make_wheel: MakeWheel, handed: Handed
) -> None:
    (held,) = read(make_wheel("kernels", "1", {"k/a.so": NAME})).objects
    assert held.sha256 == hashlib.sha256(NAME).hexdigest()
    assert len(handed) == 1


def test_what_was_written_to_be_read_is_gone_afterwards(
    make_wheel: MakeWheel, handed: Handed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    read(make_wheel("kernels", "1", {"k/a.so": NAME, "k/b.so": b"x"}))
    assert len(handed) == 1
    assert not list((tmp_path / "scratch").iterdir())


@pytest.mark.parametrize(
    ("package", "facts"),
    [
        ("torch", {"cuda": "13.0"}),
        ("dsl", {"targets": "sm_120a"}),
        ("source", {}),
        ("library", {}),
        ("cubins", {}),
        ("kernels", {}),
        ("another", {}),
    ],
)
def test_each_reader_tells_its_own_facts_and_one_alone_reads_objects(
    make_wheel: MakeWheel, handed: Handed, package: str, facts: dict[str, str]
) -> None:
    members = {
        "torch/version.py": b"cuda = '13.0'\n",
        "x/cutlass/base_dsl/enums.py": b"class Arch:\n    sm_120a = 1\n",
        "x/_C.so": NAME,
    }
    evidence = read(make_wheel(package, "1", members))
    assert evidence.facts == facts
    assert bool(handed) == bool(evidence.objects) == (package in ("kernels", "another"))


def test_cubins_are_counted_and_gates_asked_and_metadata_kept(
    make_wheel: MakeWheel, handed: Handed
) -> None:
    cubins = read(make_wheel("cubins", "1", {"c/Gemm_sm100f.cubin": b"", "c/a.so": NAME}))
    assert [(held.piece, held.image) for held in cubins.cubins] == [("c.gemm", "sm100f")]
    told = read(make_wheel("source", "1", {}, requires=("torch==2.11.0", "numpy")))
    assert [(gate.gate, gate.slim["90"], gate.slim["121"]) for gate in told.gates] == [
        ("a.gate", "no", "yes")
    ]
    assert told.requires == ("torch==2.11.0", "numpy")
    assert handed == []


def test_a_full_disk_is_told_as_such(
    make_wheel: MakeWheel, handed: Handed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(OutsideError, match="no temporary folder"):
        read(make_wheel("kernels", "1", {"k/a.so": NAME}))
    assert handed == []


@pytest.mark.network
def test_vllm_0_11_0_has_dense_kernels_for_sm100_and_sm120_and_none_for_sm121() -> None:
    """Disassembled by hand once: the grouped Sm100 kernel in its sm_120a image is a trap."""
    held = Configuration()
    index = Index.from_environment()
    file = index.find("vllm", "0.11.0", "x86_64")
    with Wheel.open_url(index.session, file.url, sha256=file.sha256) as wheel:
        evidence = audit(wheel, file, held.capabilities, held.gates)
    lamps = {
        (capability, gpu): compiled(evidence, capability, gpu, held.capabilities.pieces).compiled
        for capability in ("gemm", "moe")
        for gpu in (100, 120, 121)
    }
    assert lamps["gemm", 100] == "yes"
    assert lamps["gemm", 120] == "yes"
    assert lamps["gemm", 121] == "no"
    assert lamps["moe", 100] == "yes"
    assert lamps["moe", 120] != "yes"
    assert evidence.bytes_fetched < evidence.bytes_total
