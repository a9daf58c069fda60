from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from matrix.configuration import HERE, Configuration
from matrix.document import load
from matrix.driver import DriversFile
from matrix.errors import ConfigurationError

PARTS = ("targets", "capabilities", "gates", "paths", "defects", "stacks", "watched")


SOUND = Path(__file__).parent / "configuration"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for path in SOUND.glob("*.yaml"):
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


def test_the_files_of_these_tests_are_sound(folder: Path) -> None:
    held = Configuration(folder)
    for part in PARTS:
        assert getattr(held, part)


def test_the_shipped_files_use_no_name_that_is_not_there() -> None:
    held = Configuration()
    for part in PARTS:
        assert getattr(held, part)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        (
            "capabilities.yaml",
            "symbol: quantize\n    instruction: fp4-quantize",
            "symbol: quantize\n    instruction: fp4-quantise",
            "unknown instruction 'fp4-quantise'; did you mean fp4-quantize?",
        ),
        (
            "capabilities.yaml",
            "[gemm, kv-cache]",
            "[gemm, kv-cahce]",
            "unknown capability 'kv-cahce'; did you mean kv-cache?",
        ),
        (
            "capabilities.yaml",
            "gate: flashinfer.mm",
            "gate: flashinfer.mn",
            "unknown gate 'flashinfer.mn'; did you mean flashinfer.mm?",
        ),
        (
            "capabilities.yaml",
            "package: flashinfer-python\n    delivery",
            "package: flashinfer-pyton\n    delivery",
            "unknown package 'flashinfer-pyton'; did you mean flashinfer-python?",
        ),
        (
            "capabilities.yaml",
            "needs: [nvidia-cutlass-dsl]",
            "needs: [nvidia-cutlas-dsl]",
            "unknown package 'nvidia-cutlas-dsl'; did you mean nvidia-cutlass-dsl?",
        ),
        (
            "capabilities.yaml",
            "[nvidia-cudnn, flash",
            "[nvidia-cudn, flash",
            "unknown package 'nvidia-cudn'; did you mean nvidia-cudnn?",
        ),
        ("capabilities.yaml", "sm12x: OMMA", "sm13x: OMMA", "unknown family 'sm13x'"),
        ("capabilities.yaml", "sm12x: F2FP", "sm13x: F2FP", "unknown family 'sm13x'"),
        ("capabilities.yaml", "sm12x: 'Sm120'", "sm13x: 'Sm120'", "unknown family 'sm13x'"),
        (
            "capabilities.yaml",
            "versions: '>=9.7'",
            "versions: '9.7'",
            "has versions '9.7', which PEP 440 does not know",
        ),
        (
            "paths.yaml",
            "- vllm.quantize",
            "- vllm.quantise",
            "unknown piece 'vllm.quantise'; did you mean vllm.quantize?",
        ),
        (
            "paths.yaml",
            "- flashinfer.mm",
            "- vllm.quantise",
            "unknown piece 'vllm.quantise'; did you mean vllm.quantize?",
        ),
        (
            "paths.yaml",
            "[vllm.quantize]",
            "[vllm.quantize, flashinfer.mn]",
            "unknown piece 'flashinfer.mn'; did you mean flashinfer.mm?",
        ),
        (
            "paths.yaml",
            "gate: vllm.dense\n    families",
            "gate: vllm.dens\n    families",
            "unknown gate 'vllm.dens'; did you mean vllm.dense?",
        ),
        (
            "paths.yaml",
            "capability: gemm",
            "capability: gem",
            "unknown capability 'gem'; did you mean gemm?",
        ),
        (
            "paths.yaml",
            "package: vllm",
            "package: vlm",
            "unknown package 'vlm'; did you mean vllm?",
        ),
        ("paths.yaml", "[sm10x, sm12x]", "[sm10x, sm13x]", "unknown family 'sm13x'"),
        (
            "paths.yaml",
            'versions: "<0.16"',
            'versions: "to 0.16"',
            "has versions 'to 0.16', which PEP 440 does not know",
        ),
        (
            "gates.yaml",
            "[gemm, kv-cache]",
            "[gemm, kv-cach]",
            "unknown capability 'kv-cach'; did you mean kv-cache?",
        ),
        (
            "gates.yaml",
            "package: flashinfer-python",
            "package: flashinfer",
            "unknown package 'flashinfer'; did you mean flashinfer-python?",
        ),
        (
            "gates.yaml",
            "needs_piece: vllm.quantize\n",
            "needs_piece: vllm.quantise\n",
            "unknown piece 'vllm.quantise'; did you mean vllm.quantize?",
        ),
        (
            "gates.yaml",
            "minimum: 100, needs_piece: vllm.quantize",
            "minimum: 100, needs_piece: vllm.quantise",
            "unknown piece 'vllm.quantise'; did you mean vllm.quantize?",
        ),
        (
            "gates.yaml",
            "_C.f\n    package: vllm",
            "_C.f\n    package: vlm",
            "unknown package 'vlm'; did you mean vllm?",
        ),
        (
            "defects.yaml",
            "piece: vllm.quantize",
            "piece: vllm.quantise",
            "unknown piece 'vllm.quantise'; did you mean vllm.quantize?",
        ),
        (
            "defects.yaml",
            "path: vllm.dense",
            "path: vllm.dens",
            "unknown path 'vllm.dens'; did you mean vllm.dense?",
        ),
        (
            "defects.yaml",
            "[sm120, sm121]",
            "[sm120, sm122]",
            "unknown target 'sm122'; did you mean sm12",
        ),
        ("defects.yaml", "[sm120, sm121]", "[sm120, blackwell]", "Expected `str` matching regex"),
        ("defects.yaml", "[x86_64]", "[x86]", "Invalid enum value 'x86'"),
        (
            "defects.yaml",
            "package: nvidia-cudnn",
            "package: nvidia-cudnn-cu13",
            "unknown package 'nvidia-cudnn-cu13'; did you mean nvidia-cudnn?",
        ),
        (
            "defects.yaml",
            'versions: "<9.23.1"',
            'versions: "< the fix"',
            "has versions '< the fix', which PEP 440 does not know",
        ),
        ("stacks.yaml", "vllm>=0.11\n", "vlm>=0.11\n", "unknown package 'vlm'; did you mean vllm?"),
        ("stacks.yaml", "vllm>=0.11\n", "vllm latest\n", "is no requirement, such as"),
        (
            "stacks.yaml",
            "nvidia-cudnn: 9",
            "nvidia-cudn: 9",
            "unknown package 'nvidia-cudn'; did you mean nvidia-cudnn?",
        ),
        (
            "stacks.yaml",
            "vllm: 0.25.1",
            "vllm: latest",
            "pins vllm: 'latest' is no version",
        ),
        (
            "stacks.yaml",
            "vllm: 0.25.1",
            "vllm: '@--upload-pack=x'",
            "pins vllm: '--upload-pack=x' is no name of a branch, tag or commit",
        ),
    ],
)
def test_a_name_that_is_not_there_is_told_with_its_line(
    folder: Path, file: str, old: str, new: str, words: str
) -> None:
    line = change(folder, file, old, new)
    told = complaint(folder, file.removesuffix(".yaml"))
    assert told.startswith(f"{folder / file}:{line}: ")
    assert words in told


@pytest.mark.parametrize(
    ("file", "old", "new", "words", "lines"),
    [
        (
            "paths.yaml",
            'versions: ">=0.16"',
            'versions: ">=0.15.1"',
            "path 'vllm.dense' of vllm stands twice for 0.15.1",
            (11, 3),
        ),
        (
            "gates.yaml",
            'versions: ">=0.20"',
            'versions: ""',
            "gate 'vllm.dense' of vllm stands twice for 0.dev0",
            (8, 3),
        ),
        (
            "capabilities.yaml",
            "versions: '<0.9.1'",
            "versions: '<=0.9.1'",
            "piece 'vllm.quantize' of vllm stands twice for 0.9.1",
            (27, 20),
        ),
    ],
)
def test_two_entries_for_one_release_are_told_with_both_lines(  # noqa: PLR0917 - a table's columns
    folder: Path, file: str, old: str, new: str, words: str, lines: tuple[int, int]
) -> None:
    change(folder, file, old, new)
    told = complaint(folder, file.removesuffix(".yaml"))
    assert told == f"{folder / file}:{lines[0]}: {words} (line {lines[1]})"


def test_packages_may_share_a_name_and_calls_may_stand_twice(folder: Path) -> None:
    change(folder, "capabilities.yaml", "piece: flashinfer.mm", "piece: vllm.quantize")
    change(folder, "paths.yaml", "- flashinfer.mm", "- vllm.quantize-more")
    held = Configuration(folder)
    assert [piece.piece for piece in held.capabilities.pieces].count("vllm.quantize") == 3
    assert len(held.gates.externs) == 2


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("targets.yaml", "name: sm121", "name: sm120", "'sm120' stands twice"),
        ("capabilities.yaml", "{name: kv-cache", "{name: gemm", "'gemm' stands twice"),
        ("capabilities.yaml", "name: fp4-quantize", "name: fp4-mma", "'fp4-mma' stands twice"),
        (
            "capabilities.yaml",
            "package: nvidia-cudnn\n",
            "package: vllm\n",
            "'vllm' stands twice",
        ),
        ("defects.yaml", "vllm-dense-hangs", "vllm-zeros", "'vllm-zeros' stands twice"),
    ],
)
def test_a_name_that_stands_twice_is_told_where_it_does_again(
    folder: Path, file: str, old: str, new: str, words: str
) -> None:
    line = change(folder, file, old, new)
    assert complaint(folder, file.removesuffix(".yaml")) == f"{folder / file}:{line}: {words}"


def test_a_defect_of_nothing_and_a_gate_that_cannot_answer_are_told(folder: Path) -> None:
    change(folder, "defects.yaml", "    piece: vllm.quantize\n", "")
    assert ":3: defect 'vllm-zeros' has to say one of piece and p" in complaint(folder, "defects")
    change(folder, "gates.yaml", "python: {file: a.py, function: f}", "note: none")
    assert ":3: gate 'vllm.dense' has to say one of python and" in complaint(folder, "gates")


def test_a_stack_without_pins_is_told(folder: Path) -> None:
    text = (folder / "stacks.yaml").read_text()
    (folder / "stacks.yaml").write_text(f"{text}  - name: empty\n    pins: {{}}\n")
    line = text.count("\n") + 1
    told = complaint(folder, "stacks")
    assert told == f"{folder / 'stacks.yaml'}:{line}: name 'empty' pins nothing"


def test_a_repository_of_a_package_that_is_no_commit_is_told(folder: Path) -> None:
    text = (folder / "stacks.yaml").read_text()
    more = "  - name: mine\n    pins: {vllm: 0.25.1}\n    repositories: {vllm: /x}\n"
    (folder / "stacks.yaml").write_text(f"{text}{more}")
    told = complaint(folder, "stacks")
    assert told.endswith(
        "name 'mine' names a repository of vllm, which it does not pin to a commit"
    )


def test_where_sources_are_is_known_of_what_is_built() -> None:
    held = Configuration()
    assert held.upstream("vllm").nvcc
    assert held.upstream("flashinfer-python").separator == " "
    assert held.upstream("nothing").repository == ""


def test_a_file_asks_for_no_other_than_those_that_it_names(folder: Path) -> None:
    (folder / "gates.yaml").write_text("]")
    (folder / "paths.yaml").write_text("]")
    held = Configuration(folder)
    assert held.targets
    assert held.stacks
    assert complaint(folder, "capabilities").startswith(f"{folder / 'gates.yaml'}:1: ")


def test_the_drivers_are_sound() -> None:
    assert load(HERE / "drivers.yaml", DriversFile).drivers


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("package: vllm", "package: vlm", "unknown package 'vlm'; did you mean vllm?"),
        ("[gemm]", "[gem]", "unknown capability 'gem'; did you mean gemm?"),
        ("[sm121]", "[sm12]", "unknown target 'sm12'"),
        ("    number: 7", "    number: 0", "has to say a number, or with kind: commit a commit"),
        (
            "    commit: abcdef0",
            "    commit: ''",
            "has to say a number, or with kind: commit a commit",
        ),
        (
            "    kind: commit",
            "    kind: pull",
            "has to say a number, or with kind: commit a commit",
        ),
        ("watch: vllm@abcdef0", "watch: vllm#7", "'vllm#7' stands twice"),
        ("    number: 7\n", "    number: 7\n    state: merged\n", "unknown key 'state'"),
        ("source: https:", "source: http:", "source"),
    ],
)
def test_a_watched_change_that_cannot_be_followed_is_told_with_its_line(
    folder: Path, old: str, new: str, words: str
) -> None:
    change(folder, "upstream.yaml", old, new)
    told = complaint(folder, "watched")
    assert re.match(rf"{re.escape(str(folder / 'upstream.yaml'))}:\d+: ", told)
    assert words in told


def test_a_watched_change_is_of_a_repository_that_is_named(folder: Path) -> None:
    text = (folder / "upstream.yaml").read_text()
    head, _, rest = text.partition("watched:")
    (folder / "upstream.yaml").write_text(
        f"{head}watched:{rest.replace('vllm-project/vllm', 'a/b')}"
    )
    assert "is of a/b, which is no repository above" in complaint(folder, "watched")
