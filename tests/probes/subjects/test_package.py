from __future__ import annotations

import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from probes.subject import NotOfferedError
from probes.subjects import package

pytestmark = pytest.mark.torch


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is there, with one module that wants what is not."""
    place = tmp_path / "standing"
    place.mkdir()
    (place / "__init__.py").write_text("def old(a, b): return a\n")
    (place / "wanting.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("standing")]:
        monkeypatch.delitem(sys.modules, name)
    return place


def test_a_module_or_function_that_a_release_lacks_is_not_offered(installed: Path) -> None:
    del installed
    told = "standing of no known version has no"
    for name in ("standing.newer", "standing.newer.deeper"):
        with pytest.raises(NotOfferedError, match=told):
            package.module(name)
    for places in (("standing",), ("standing.newer", "standing")):
        with pytest.raises(NotOfferedError, match=told):
            package.first(places, "new")


def test_a_library_that_the_package_itself_misses_is_its_own_fault(installed: Path) -> None:
    del installed
    with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
        package.module("standing.wanting")


def test_the_first_of_several_places_that_has_a_function_gives_it(installed: Path) -> None:
    del installed
    found = package.first(("standing.newer", "standing"), "old")
    assert found(1, 2) == 1
    assert package.parameters(found) == {"a", "b"}
    assert package.known(found, {"a": 1, "c": 3}) == {"a": 1}


def test_an_operator_that_nothing_registered_is_not_offered() -> None:
    assert package.operator("aten", "relu") is torch.ops.aten.relu
    with pytest.raises(NotOfferedError, match=r"aten\.no_such_operator"):
        package.operator("aten", "no_such_operator")


def test_what_a_package_says_of_support_is_told_with_the_question_also_where_it_raises() -> None:
    assert package.said("f(121)", lambda: True) == "f(121) is True"
    told = package.said("f(121)", lambda: int("sm_121"))
    assert told.startswith("f(121) raised ValueError: invalid literal")
