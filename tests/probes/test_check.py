from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from probes import check as module
from probes.case import Case
from probes.check import Load, cases, check, checked, digest
from probes.finding import Finding
from probes.request import Request
from probes.subject import Charged


def request(**change: Any) -> Request:
    told = {"run": "r", "stack": "s", "target": "sm121", "machine": "aarch64", "subject": "x"}
    return Request(**{**told, "results": "r.jsonl", **change})


def loads(run: Request) -> Iterator[Load]:
    yield {"m": 1}
    yield {"m": 2 if run.scale == "full" else 3, "backend": "b"}


@check("gemm", loads)
def test_probe(subject: Charged, case: Case, run: Request) -> Finding:
    raise NotImplementedError


test_probe.__test__ = False  # type: ignore[attr-defined]

OFFERS = {"gemm": ("a", "b")}
FOUND = checked(test_probe)


def planned(name: str = "correctness.gemm", **change: Any) -> list[str]:
    assert FOUND is not None
    return [case.name for case in cases(name, FOUND, OFFERS, request(**change))]


def test_a_function_that_is_no_probe_has_no_check() -> None:
    assert checked(planned) is None
    assert checked(None) is None


def test_a_case_is_made_of_each_backend_and_each_load_that_is_its_own() -> None:
    assert planned() == ["a-m=1", "b-m=1", "b-m=2"]
    assert planned(scale="small") == ["a-m=1", "b-m=1", "b-m=3"]


def test_none_is_made_where_the_subject_lacks_the_operation() -> None:
    assert FOUND is not None
    assert cases("correctness.gemm", FOUND, {"moe": ("a",)}, request()) == []


@pytest.mark.parametrize(
    ("only", "count"), [((), 3), (("correctness",), 3), (("speed", "correct"), 3), (("speed",), 0)]
)
def test_only_the_probes_asked_for_are_planned(only: tuple[str, ...], count: int) -> None:
    assert len(planned(only=only)) == count


def test_a_changed_probe_has_another_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shared.py").write_text("a = 1\n", encoding="utf-8")
    suite = tmp_path / "suite" / "test_x.py"
    suite.parent.mkdir()
    suite.write_text("b = 1\n", encoding="utf-8")
    monkeypatch.setattr(module, "_HERE", tmp_path)

    def again() -> str:
        digest.cache_clear()
        return digest(str(suite))

    first = again()
    assert again() == first
    suite.write_bytes(b"b = 1\r\n")
    assert again() == first, "a checkout on another system is the same probe"
    suite.write_text("b = 2\n", encoding="utf-8")
    second = again()
    (tmp_path / "shared.py").write_text("a = 2\n", encoding="utf-8")
    assert len({first, second, again()}) == 3
    digest.cache_clear()
