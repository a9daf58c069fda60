from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.configuration import HERE, Configuration
from matrix.document import load, loads
from matrix.errors import ConfigurationError
from matrix.stack import StacksFile
from matrix.target import TargetsFile

TARGET = """\
# targets
targets:
  - name: sm121
    compute_capability: "12.1"
    family: sm12x
    fp4: true
    machines: [aarch64]
    products: [DGX Spark]
    first_cuda: "12.9"
    shared_memory_bytes: 101376
"""


def test_a_good_file_is_read() -> None:
    assert loads(TARGET, TargetsFile, "t.yaml").targets[0].capability == 121


@pytest.mark.parametrize(
    ("change", "line", "words"),
    [
        (("family:", "familly:"), 5, "unknown key 'familly'; did you mean family?"),
        (("fp4: true", "fp4: 'no'"), 6, "Expected `bool`, got `str`"),
        (("[aarch64]", "[arm]"), 7, "Invalid enum value 'arm'"),
        (("fp4: true", "name: sm120"), 6, "'name' stands twice"),
        (("[aarch64]", "[aarch64"), 8, ""),
    ],
)
def test_a_complaint_names_file_and_line(change: tuple[str, str], line: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loads(TARGET.replace(*change), TargetsFile, "t.yaml")
    assert str(caught.value).startswith(f"t.yaml:{line}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        load(tmp_path / "none.yaml", TargetsFile)


@given(st.text(max_size=60))
def test_no_text_ends_in_anything_but_a_value_or_one_line(text: str) -> None:
    try:
        loads(text, StacksFile, "s.yaml")
    except ConfigurationError as error:
        assert str(error).startswith("s.yaml:")  # noqa: PT017 - most texts are good YAML or none


def test_the_shipped_data_is_sound() -> None:
    held = Configuration()
    assert {target.name for target in held.targets} >= {"sm90", "sm100", "sm120", "sm121"}
    assert held.capabilities.pieces
    assert held.paths.paths
    assert held.defects.defects
    assert held.gates.gates
    assert held.stacks.as_released


def test_an_unknown_target_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="did you mean sm121"):
        Configuration().target("sm1211")


def test_an_unknown_capability_in_a_piece_is_told_with_its_line(tmp_path: Path) -> None:
    text = (HERE / "capabilities.yaml").read_text().replace("[kv-cache]", "[kv-cahce]", 1)
    (tmp_path / "capabilities.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"capabilities\.yaml:\d\d+: .*did you mean kv-"):
        _ = Configuration(tmp_path).capabilities
