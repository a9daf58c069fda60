from __future__ import annotations

import ast

import pytest

from matrix.evidence.library import MAXIMUM_SOURCE, Library, bound_names
from matrix.evidence.value import UndecidedError


def of(members: dict[str, bytes]) -> Library:
    return Library(members.get, members.keys())


def test_a_module_is_a_file_or_a_package() -> None:
    held = of({"a/b.py": b"", "a/c/__init__.py": b"", "d.py": b"", "d/__init__.py": b""})
    assert held.find("a.b") == "a/b.py"
    assert held.find("a.c") == "a/c/__init__.py"
    assert held.find("d") == "d.py"
    assert held.find("a.x") is None
    assert "a/b.py" in held
    assert "a/x.py" not in held


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (None, "is not in this wheel"),
        (b"def f(:\n", "is no Python that can be parsed"),
        (b"\xff\xfe\x00", "is no Python that can be parsed"),
        (b"x = 1\0", "is no Python that can be parsed"),
        (b"(" * 5000, "is no Python that can be parsed"),
        (b"-" * 100_000 + b"1", "is no Python that can be parsed"),
        (b"#" * (MAXIMUM_SOURCE + 1), "is too large to read"),
    ],
)
def test_what_cannot_be_parsed_is_undecided_and_read_once(body: bytes | None, problem: str) -> None:
    asked: list[str] = []

    def read(member: str) -> bytes | None:
        asked.append(member)
        return body

    held = Library(read, ["a.py"])
    for _ in range(2):
        with pytest.raises(UndecidedError, match=rf"a\.py {problem}"):
            held.source("a.py")
    assert asked == ["a.py"]


def test_a_source_that_warns_warns_nobody() -> None:
    assert of({"a.py": b"x = '\\d'\nassert (1, 'x')\n"}).source("a.py").binders["x"]


def test_names_carry_the_conditions_under_which_they_are_bound() -> None:
    body = b"""
x = 1
if A:
    x = 2
else:
    from m import x
try:
    import n as x
except ImportError:
    x = None
finally:
    y = 1
with w() as z:
    def x(): ...
from m import *
"""
    source = of({"a.py": body}).source("a.py")
    told = [
        (type(statement).__name__, [sense for _, sense in guards])
        for statement, guards in source.binders["x"]
    ]
    assert told == [
        ("Assign", []),
        ("Assign", [True]),
        ("ImportFrom", [False]),
        ("Import", [True]),
        ("Assign", [False]),
        ("FunctionDef", []),
    ]
    assert [guards for _, guards in source.binders["y"]] == [()]
    assert [star.module for star in source.stars] == ["m"]


@pytest.mark.parametrize(
    ("statement", "names"),
    [
        ("import a.b, c as d", {"a", "d"}),
        ("from a import b as c, e", {"c", "e"}),
        ("def f(): x = 1", {"f"}),
        ("class C: x = 1", {"C"}),
        ("a, (b, *c) = d = e", {"a", "b", "c", "d"}),
        ("for i in j: k = 1", {"i", "k"}),
        ("f(x := 1, lambda: (y := 2))", {"x"}),
        ("del a", {"a"}),
        ("try: a = 1\nexcept E as b: c = 2", {"a", "b", "c"}),
        ("x.y = z[0] = 1", set()),
    ],
)
def test_a_statement_binds_the_names_of_its_own_scope(statement: str, names: set[str]) -> None:
    assert set(bound_names(ast.parse(statement).body[0])) == names


def test_what_is_required_without_an_extra_is_known_by_its_import_name() -> None:
    metadata = (
        b"Requires-Dist: Flash_Infer.python==1\nRequires-Dist: humming-kernels ; extra == 'h'\n"
        b"Requires-Dist: flashinfer-python>=0.2; platform_machine == 'x86_64'\n"
        b"Requires-Dist: !!!\nRequires-Dist: \xff\xfe\nRequires-Dist: torch-c-dlpack-ext\n\nbody"
    )
    held = of({"a-1.dist-info/METADATA": metadata, "a/b-1.dist-info/METADATA": b"Requires-Dist: x"})
    assert held.required() == {"flashinfer", "flash_infer_python", "torch_c_dlpack_ext"}
    assert of({}).required() == {"flashinfer"}


@pytest.mark.parametrize(
    ("member", "level", "module", "name"),
    [
        ("a/b/c.py", 0, "x.y", "x.y"),
        ("a/b/c.py", 1, "x", "a.b.x"),
        ("a/b/c.py", 2, None, "a"),
        ("a/b/__init__.py", 1, "x", "a.b.x"),
        ("a.py", 1, "x", "x"),
    ],
)
def test_a_relative_import_is_named_in_full(
    member: str, level: int, module: str | None, name: str
) -> None:
    assert of({}).absolute(member, level, module) == name
