from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.capability import CapabilitiesFile
from matrix.defect import DefectsFile
from matrix.document import load, loads, nearest
from matrix.errors import ConfigurationError
from matrix.gate import GatesFile
from matrix.path import PathsFile
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


PIECE = """\
capabilities: []
instructions: []
packages: []
pieces:
  - piece: a.b
    package: a
    delivery: image
    families:
      sm10x: 'x'
"""
GATE = """\
gates:
  - gate: a.b
    package: a
    python:
      file: a.py
      function: f
      given: {x: true}
"""
PATH = """\
paths:
  - path: a.b
    package: a
    capability: gemm
    selector: S
    pieces:
      - a.b
      - a.c
    source: a.py
"""
DEFECT = """\
defects:
  - {defect: a, package: a, versions: "<1", targets: [sm120], reason: oom, summary: s, source: t}
  - defect: b
    package: b
    versions: "<1"
    targets: [sm120]
    reason: oom
    summary: s
    source: t
"""
STACK = """\
as_released:
  - range: a>=1
written:
  - name: b
    pins:
      a: 1.0.1
      b: 2.0.1
"""


@pytest.mark.parametrize(
    ("text", "kind", "change", "line", "words"),
    [
        (PIECE, CapabilitiesFile, ("image", "imag"), 7, "Invalid enum value 'imag'"),
        (PIECE, CapabilitiesFile, ("piece: a", "piece: A"), 5, "matching regex"),
        (PIECE, CapabilitiesFile, ("'x'", "[x]"), 9, "Expected `str`, got `array`"),
        (
            PIECE,
            CapabilitiesFile,
            ("package:", "pakage:"),
            6,
            "unknown key 'pakage'; did you mean pa",
        ),
        (PIECE, CapabilitiesFile, ("packages:", "rules:"), 3, "unknown key 'rules'"),
        (GATE, GatesFile, ("function", "functon"), 6, "'functon'; did you mean function?"),
        (GATE, GatesFile, ("x: true", "x: 2.5"), 7, "Expected `bool | int | str | null`"),
        (GATE, GatesFile, ("python:", "pyton:"), 4, "'pyton'; did you mean python?"),
        (PATH, PathsFile, ("- a.c", "- 3"), 8, "Expected `str`, got `int`"),
        (PATH, PathsFile, ("source: a.py", "source: ''"), 9, "length >= 1"),
        (PATH, PathsFile, ("    source: a.py\n", ""), 2, "missing required field `source`"),
        (DEFECT, DefectsFile, ("reason: oom,", "reason: ooom,"), 2, "Invalid enum value 'ooom'"),
        (DEFECT, DefectsFile, ("    source: t", "    soure: t"), 9, "did you mean source?"),
        (DEFECT, DefectsFile, ("b\n    versions", "b\n    package: c\n    versions"), 5, "twice"),
        (STACK, StacksFile, ("a: 1.0.1", "a: 1.0"), 6, "Expected `str`, got `float`"),
        (STACK, StacksFile, ("b: 2.0.1", "a: 2.0.1"), 7, "'a' stands twice"),
        (STACK, StacksFile, ("range: a>=1", "range: [a]"), 2, "Expected `str`, got `array`"),
    ],
)
def test_what_is_wrong_anywhere_is_told_where_it_stands(
    text: str, kind: type, change: tuple[str, str], line: int, words: str
) -> None:
    assert loads(text, kind, "f.yaml")
    with pytest.raises(ConfigurationError) as caught:
        loads(text.replace(*change, 1), kind, "f.yaml")
    assert str(caught.value).startswith(f"f.yaml:{line}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


BOMB = b"\n".join(
    [
        b"a0: &a0 [x, x]",
        *(b"a%d: &a%d [%s]" % (n, n, b"*a%d, " % (n - 1) * 9) for n in range(1, 30)),
    ]
)
"""9 ** 29 strings, if it were written out."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", ":1: the file is empty"),
        (b"# nothing but this\n", ":1: the file is empty"),
        (b"targets:\n  - name: \xff\xfe\n", ": cannot be read (UnicodeDecodeError)"),
        (b"\xff\xfet\x00", ": cannot be read (UnicodeDecodeError)"),
        (b"targets: \x00", ":1: malformed YAML"),
        (b"- name: sm121\n", ":1: Expected `object`, got `array`"),
        (b"sm121", ":1: Expected `object`, got `str`"),
        (b"targets: {name: sm121}\n", ":1: Expected `array`, got `object` (at targets)"),
        (b"targets:\n", ":1: Expected `array`, got `null` (at targets)"),
        (b"targets:\n\t- name: sm121\n", ":2: found character that cannot start any token"),
        (b"targets: []\n---\ntargets: []\n", ":2: but found another document"),
        (b"targets: *sm121\n", ":1: found undefined alias"),
        (b"targets: !!python/object/apply:os.getcwd []\n", ":1: could not determine a constructor"),
        (b"targets: " + b"[" * 3000 + b"]" * 3000, ":1: "),
        (b"targets: " + b"{a: " * 3000 + b"}" * 3000, ":1: "),
        (b"targets: " + b"[" * 100_000, ":1: nested too deep"),
        (b"targets: " + b"{a: " * 100_000, ":1: nested too deep"),
        (b"targets:\n" + b"- " * 100_000, ":2: nested too deep"),
        (b"targets: &a [*a]", ":1: an alias stands for this"),
        (BOMB, ":1: an alias stands for this"),
        (b"targets: []\n? [a, b]\n: 1\n", ":2: a key has to be a word"),
        (b"targets: []\n{a: 1}: 2\n", ":2: a key has to be a word"),
        (b"targets: " + b"9" * 5000, ":1: malformed YAML"),
        (b"targets: " + b"9" * 400, ":1: Expected `array`, got `int` (at targets)"),
        (b"targets: 2026-13-45", ":1: malformed YAML"),
        (b"targets: {<<: 3}", ":1: expected a mapping"),
    ],
)
def test_a_hostile_file_is_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "targets.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(path, TargetsFile)
    assert str(caught.value).startswith(f"{path}{words}")
    assert "\n" not in str(caught.value)


def test_the_closest_name_is_told_and_all_of_them_where_none_is_close() -> None:
    assert nearest("gem", ["gemm", "moe"]) == "; did you mean gemm?"
    assert nearest("attention", ["moe", "gemm"]) == "; known: gemm, moe"
    assert nearest("gemm", []) == ""


def test_much_that_is_not_deep_is_read() -> None:
    text = "as_released:\n" + "  - {range: a>=1, extras: [b]}\n" * 5000
    assert len(loads(text, StacksFile, "s.yaml").as_released) == 5000
