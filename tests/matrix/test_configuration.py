from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from matrix.configuration import HERE, Configuration
from matrix.document import load
from matrix.driver import DriversFile
from matrix.errors import ConfigurationError
from matrix.reference import shared, specifiers

PARTS = ("targets", "capabilities", "gates", "paths", "defects", "stacks")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in HERE.glob("*.yaml"):
        shutil.copy(path, tmp_path)
    return tmp_path


def change(folder: Path, file: str, old: str, new: str) -> int:
    """Put `new` where `old` stands first, and return the line of the first character that changed."""
    text = (folder / file).read_text()
    at = text.index(old)
    (folder / file).write_text(text[:at] + new + text[at + len(old) :])
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), len(old))
    return text.count("\n", 0, at + same) + 1


def complaint(folder: Path, part: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        getattr(Configuration(folder), part)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_shipped_files_use_no_name_that_is_not_there() -> None:
    held = Configuration()
    for part in PARTS:
        assert getattr(held, part)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "capabilities.yaml",
            "delivery: image\n    capabilities: [kv-cache]",
            "delivery: image\n    capabilities: [kv-cahce]",
            "unknown capability 'kv-cahce'; did you mean kv-cache?",
        ),
        (
            "capabilities.yaml",
            "gate: flashinfer.mxfp4-quantize\n",
            "gate: flashinfer.mxfp4-quantise\n",
            "unknown gate 'flashinfer.mxfp4-quantise'; did you mean flashinfer.mxfp4-quantize?",
        ),
        (
            "capabilities.yaml",
            "piece: b12x.moe\n    package: b12x\n",
            "piece: b12x.moe\n    package: b13x\n",
            "unknown package 'b13x'; did you mean b12x?",
        ),
        (
            "capabilities.yaml",
            "needs: [nvidia-cutlass-dsl]",
            "needs: [nvidia-cutlas-dsl]",
            "unknown package 'nvidia-cutlas-dsl'; did you mean nvidia-cutlass-dsl?",
        ),
        (
            "capabilities.yaml",
            "libraries: [nvidia-cudnn-cu13, nvidia-cudnn-cu12]",
            "libraries: [nvidia-cudnn-cu13, nvidia-cudnn-cu11]",
            "unknown package 'nvidia-cudnn-cu11'",
        ),
        (
            "capabilities.yaml",
            "instruction: fp4-quantize",
            "instruction: fp4-quantise",
            "unknown instruction 'fp4-quantise'; did you mean fp4-quantize?",
        ),
        (
            "capabilities.yaml",
            "families: {sm10x: 'MainloopSm100', sm11x",
            "families: {sm13x: 'MainloopSm100', sm11x",
            "unknown family 'sm13x'",
        ),
        (
            "paths.yaml",
            "pieces: [vllm.quantize, vllm.cutlass-gemm]",
            "pieces: [vllm.quantize, vllm.cutlas-gemm]",
            "unknown piece 'vllm.cutlas-gemm'; did you mean vllm.cutlass-gemm?",
        ),
        (
            "paths.yaml",
            "gate: vllm.cutlass-dense",
            "gate: vllm.cutlass-densee",
            "unknown gate 'vllm.cutlass-densee'; did you mean vllm.cutlass-dense?",
        ),
        ("paths.yaml", "capability: moe", "capability: mo", "unknown capability 'mo'"),
        (
            "paths.yaml",
            "package: vllm",
            "package: vlm",
            "unknown package 'vlm'; did you mean vllm?",
        ),
        ("paths.yaml", "[sm10x]", "[sm20x]", "unknown family 'sm20x'"),
        (
            "gates.yaml",
            "capabilities: [gemm]",
            "capabilities: [gem]",
            "unknown capability 'gem'; did you mean gemm?",
        ),
        (
            "gates.yaml",
            "package: flashinfer-python",
            "package: flashinfer",
            "unknown package 'flashinfer'; did you mean flashinfer-",
        ),
        (
            "gates.yaml",
            "needs_piece: vllm.cutlass-gemm",
            "needs_piece: vllm.cutlass-gem",
            "unknown piece 'vllm.cutlass-gem'; did you mean vllm.cutlass-gemm?",
        ),
        (
            "defects.yaml",
            "piece: vllm.quantize",
            "piece: vllm.quantise",
            "unknown piece 'vllm.quantise'; did you mean vllm.quantize?",
        ),
        (
            "defects.yaml",
            "path: vllm.nvfp4-kv-cache-trtllm",
            "path: vllm.nvfp4-kv-cache-trtlm",
            "unknown path 'vllm.nvfp4-kv-cache-trtlm'; did you mean vllm.nvfp4-kv-cache-trtllm?",
        ),
        (
            "defects.yaml",
            "targets: [sm121]",
            "targets: [sm1211]",
            "Expected `str` matching regex",
        ),
        ("defects.yaml", "targets: [sm121]", "targets: [sm12]", "unknown target 'sm12'"),
        ("defects.yaml", "machines: [x86_64]", "machines: [x86]", "Invalid enum value 'x86'"),
        (
            "defects.yaml",
            "package: nvidia-cudnn-cu12",
            "package: nvidia-cudnn-cu14",
            "unknown package 'nvidia-cudnn-cu14'; did you mean nvidia-cudnn-cu1",
        ),
        (
            "stacks.yaml",
            "range: vllm>=0.11.1",
            "range: vlm>=0.11.1",
            "unknown package 'vlm'; did you mean vllm?",
        ),
        (
            "stacks.yaml",
            "nvidia-cudnn-cu13: 9",
            "nvidia-cudn-cu13: 9",
            "unknown package 'nvidia-cudn-cu13'; did you mean nvidia-cudnn-cu13?",
        ),
        ("stacks.yaml", "range: vllm>=0.11.1", "range: vllm latest", "is no requirement"),
        ("stacks.yaml", "vllm: 0.25.1", "vllm: latest", "pins vllm to 'latest'"),
        (
            "defects.yaml",
            'versions: "<9.23.1"',
            'versions: "< the fix"',
            "has versions '< the fix', which PEP 440 does not know",
        ),
        (
            "paths.yaml",
            'versions: ">=0.8.5,<0.16"',
            'versions: ">=0.8.5;<0.16"',
            "has versions '>=0.8.5;<0.16', which PEP 440 does not know",
        ),
        ("capabilities.yaml", "versions: '>=9.7'", "versions: '9.7'", "has versions '9.7'"),
    ],
)
def test_a_name_that_is_not_there_is_told_with_its_line(
    folder: Path, file: str, old: str, new: str, words: str
) -> None:
    line = change(folder, file, old, new)
    told = complaint(folder, file.removesuffix(".yaml"))
    assert told.startswith(f"{folder / file}:{line}: ")
    assert words in told


def test_the_line_is_that_of_the_entry_among_those_of_one_name(folder: Path) -> None:
    text = (folder / "paths.yaml").read_text()
    second = text.index("path: vllm.cutlass-dense", text.index("path: vllm.cutlass-dense") + 1)
    at = text.index("gate: vllm.cutlass-dense", second)
    (folder / "paths.yaml").write_text(text[:at] + "gate: vllm.cutlass" + text[at + 24 :])
    line = text.count("\n", 0, at) + 1
    assert complaint(folder, "paths").startswith(f"{folder / 'paths.yaml'}:{line}: unknown gate")


def test_a_name_in_a_comment_is_not_taken_for_the_wrong_one(folder: Path) -> None:
    change(folder, "paths.yaml", "capability: moe", "# not: mo\n    capability: mo")
    text = (folder / "paths.yaml").read_text()
    line = text[: text.index("capability: mo\n")].count("\n") + 1
    assert f":{line}: unknown capability 'mo'" in complaint(folder, "paths")


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "paths.yaml",
            'versions: ">=0.16,<0.20"',
            'versions: ">=0.15.1,<0.20"',
            "path 'vllm.cutlass-dense' of vllm stands twice for 0.15.1",
        ),
        (
            "gates.yaml",
            'versions: ">=0.20"',
            'versions: ""',
            "gate 'vllm.cutlass-dense' of vllm stands twice for 0.dev0",
        ),
        (
            "capabilities.yaml",
            "versions: '>=0.9.1'",
            "versions: '>=0.9'",
            "piece 'vllm.moe-data' of vllm stands twice for 0.9",
        ),
    ],
)
def test_two_entries_for_one_release_are_told_with_both_lines(
    folder: Path, file: str, old: str, new: str, words: str
) -> None:
    line = change(folder, file, old, new)
    text = (folder / file).read_text().splitlines()
    name = words.partition(" of ")[0].replace(" '", ": ").removesuffix("'")
    first, second, *_ = (n for n, each in enumerate(text, 1) if each.endswith(f"- {name}"))
    assert first < second < line
    told = complaint(folder, file.removesuffix(".yaml"))
    assert told == f"{folder / file}:{second}: {words} (line {first})"


def test_packages_may_share_a_piece() -> None:
    pieces = [p for p in Configuration().capabilities.pieces if p.piece == "cudnn.matmul-nvfp4"]
    assert {piece.package for piece in pieces} == {"nvidia-cudnn-cu12", "nvidia-cudnn-cu13"}
    assert shared(pieces[0].versions, pieces[1].versions) is not None


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("targets.yaml", "- name: sm100", "- name: sm90", "'sm90' stands twice"),
        ("capabilities.yaml", "{name: gemm,", "{name: quantize,", "'quantize' stands twice"),
        ("capabilities.yaml", "- name: fp4-quantize", "- name: fp4-mma", "'fp4-mma' stands twice"),
        ("capabilities.yaml", "- package: torch\n", "- package: vllm\n", "'vllm' stands twice"),
        (
            "defects.yaml",
            "- defect: cudnn-cu12-sm120-matmul",
            "- defect: cudnn-cu13-sm120-matmul",
            "'cudnn-cu13-sm120-matmul' stands twice",
        ),
    ],
)
def test_a_name_that_stands_twice_is_told_where_it_does_again(
    folder: Path, file: str, old: str, new: str, words: str
) -> None:
    line = change(folder, file, old, new)
    assert complaint(folder, file.removesuffix(".yaml")) == f"{folder / file}:{line}: {words}"


def test_a_defect_of_nothing_and_a_gate_that_cannot_answer_are_told(folder: Path) -> None:
    change(folder, "defects.yaml", "    piece: vllm.cutlass-gemm\n", "")
    assert "say one of piece and path" in complaint(folder, "defects")
    predicate = "    predicate: {minimum: 80, sdist:"
    change(folder, "gates.yaml", predicate, f"    python: {{file: a.py, function: f}}\n{predicate}")
    assert "say one of python and predicate" in complaint(folder, "gates")


def test_a_stack_without_pins_is_told(folder: Path) -> None:
    text = (folder / "stacks.yaml").read_text()
    (folder / "stacks.yaml").write_text(f"{text}  - name: empty\n    pins: {{}}\n")
    line = text.count("\n") + 1
    told = complaint(folder, "stacks")
    assert told == f"{folder / 'stacks.yaml'}:{line}: name 'empty' pins nothing"


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (">=0.8.5,<0.16", ">=0.16,<0.20", False),
        (">=0.8.5,<0.16", ">=0.15.9", True),
        ("", ">=0.20", True),
        ("", "<0.1", True),
        ("<0.12", ">=0.12", False),
        ("<=0.12", ">=0.12", True),
        ("<0.12", ">=0.12rc1", False),  # PEP 440: <0.12 leaves its own pre-releases out
        (">0.12,<0.13", ">0.11,<0.14", True),
        (">0.12", "<=0.12", False),
        ("!=0.12", "==0.12", False),
        ("!=0.12", "!=0.13", True),
        ("==0.12.*", ">=0.12.3,<0.12.4", True),
        ("==0.12.*", ">=0.13", False),
        ("~=0.12.1", "<0.13", True),
        ("==1!2.0", ">=1!1", True),
        ("==2.0+cu130", "<3", True),
    ],
)
def test_ranges_meet_where_some_release_is_in_both(one: str, other: str, meet: bool) -> None:  # noqa: FBT001 - the expectation
    assert (shared(one, other) is not None) is meet
    assert (shared(other, one) is not None) is meet


RELEASES = [Version(f"0.{minor}{end}") for minor in range(4) for end in ("", ".1", ".2")]
RANGES = st.lists(
    st.builds(
        lambda operator, version: f"{operator}{version}",
        st.sampled_from([">=", ">", "<", "<=", "==", "!="]),
        st.sampled_from(RELEASES),
    ),
    max_size=3,
).map(",".join)


@given(RANGES, RANGES)
def test_ranges_that_share_a_release_are_found_and_what_is_found_is_in_both(
    one: str, other: str
) -> None:
    found = shared(one, other)
    if found is not None:
        assert specifiers(one).contains(found, prereleases=True)
        assert specifiers(other).contains(found, prereleases=True)
    held = set(specifiers(one).filter(RELEASES)) & set(specifiers(other).filter(RELEASES))
    assert found is not None or not held


def test_reading_and_checking_all_is_quick() -> None:
    """A show of everything has a second in all. Some 15 ms here; the bound is for slow machines."""
    best = 60.0
    for _ in range(5):
        held, began = Configuration(), time.perf_counter()
        for part in PARTS:
            getattr(held, part)
        best = min(best, time.perf_counter() - began)
    assert best < 0.2


def test_the_drivers_are_sound() -> None:
    assert load(HERE / "drivers.yaml", DriversFile).drivers
