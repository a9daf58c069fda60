from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="faults are planted in plain torch: run `nox -s faults`")

from probes.faults import page
from probes.faults.campaign import Outcome, judged
from probes.faults.catalogue import FAULTS
from probes.faults.fault import CLASSES, Planted, fault

pytestmark = pytest.mark.torch

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
ROW = re.compile(
    r"^\| `([a-z0-9-]+)` \| (.+) \| (.+) \| ([a-z0-9_]+) \| `([a-z_]+)` \|", re.MULTILINE
)
ONE = FAULTS["zeros-at-one-shape"]


def line(probe: str, load: str, reason: str = "", status: str = "") -> dict[str, Any]:
    return {
        "probe": {"name": probe},
        "load": [load],
        "status": status or ("fail" if reason else "pass"),
        "reason": reason,
        "text": "",
    }


HIT = line("correctness.gemm", "m=17", "all_zero")
OTHERS = [line("correctness.gemm", "m=1"), line("correctness.quantize", "m=17")]


def complaints(*results: dict[str, Any], planned: int | None = None, change: Any = None) -> str:
    opening: dict[str, Any] = {"planned": [{}] * (len(results) if planned is None else planned)}
    content = "\n".join(json.dumps(each) for each in (opening, *results))
    return "; ".join(judged(change or ONE, content, 1.0).complaints)


def test_there_are_faults_enough_and_every_class_has_one() -> None:
    assert len(FAULTS) >= 40
    assert set(CLASSES) >= set("ABCDEFGHIJKLMNOPQ")
    assert set("".join(each.letters for each in FAULTS.values())) == set(CLASSES)


def test_every_class_has_a_reason_of_its_own_that_a_probe_gives() -> None:
    given = {
        letter: {each.reason for each in FAULTS.values() if letter in each.letters}
        for letter in CLASSES
    }
    for letter in "ABCDEFGHJLMNOPQ":
        elsewhere = set().union(*(given[other] for other in CLASSES if other != letter))
        assert given[letter] - elsewhere, f"{letter} is told by no word of its own"


def test_every_fault_is_told_in_one_line_of_prose() -> None:
    for each in FAULTS.values():
        assert each.text.endswith("."), each.name
        assert "|" not in each.text


def test_the_page_and_the_code_name_the_same_faults() -> None:
    told = [
        (name, letters, reason)
        for name, _, letters, _, reason in ROW.findall(PAGE.read_text(encoding="utf-8"))
    ]
    assert told == [(each.name, ", ".join(each.letters), each.reason) for each in FAULTS.values()]


def test_a_reason_or_letter_that_is_unknown_is_refused() -> None:
    for letters, reason in (("I", "no_such_reason"), ("Z", "all_zero")):
        with pytest.raises(ValueError, match="unknown"):
            fault(letters, "gemm", reason)(type("Unheard", (Planted,), {}))
    assert "unheard" not in FAULTS


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        fault("I", "gemm", "all_zero")(type("ZerosAtOneShape", (Planted,), {}))


def test_a_fault_that_is_named_and_harms_nothing_else_is_caught() -> None:
    assert complaints(HIT, *OTHERS) == ""


def test_a_fault_that_nobody_names_is_missed() -> None:
    assert "nothing said all_zero" in complaints(line("correctness.gemm", "m=17"), *OTHERS)


def test_another_reason_is_not_the_right_one() -> None:
    told = complaints(line("correctness.gemm", "m=17", "wrong_numbers"), *OTHERS)
    assert "nothing said all_zero" in told
    assert "gave another reason: wrong_numbers" in told
    assert complaints(HIT, line("correctness.gemm", "m=17", "wrong_numbers"), *OTHERS)


def test_a_reason_that_is_stated_beside_the_right_one_does_no_harm() -> None:
    wide = replace(ONE, also=frozenset({"wrong_numbers"}))
    other = line("correctness.gemm", "m=17", "wrong_numbers")
    assert complaints(HIT, other, *OTHERS, change=wide) == ""
    assert "nothing said" in complaints(other, *OTHERS, change=wide)


@pytest.mark.parametrize(
    "harmed",
    [
        line("correctness.gemm", "m=1", "all_zero"),
        line("correctness.quantize", "m=17", "all_zero"),
        line("correctness.quantize", "m=17", "harness_error", "error"),
    ],
)
def test_a_neighbour_that_is_blamed_is_a_false_alarm(harmed: dict[str, Any]) -> None:
    assert "was blamed for" in complaints(HIT, harmed, *OTHERS)


def test_a_case_that_does_not_come_back_is_told() -> None:
    assert "1 planned cases did not come back" in complaints(HIT, *OTHERS, planned=4)


def test_what_shows_no_neighbour_shows_nothing() -> None:
    assert "neighbours are unharmed" in complaints(HIT)
    assert "neighbours are unharmed" in complaints(HIT, line("x", "y", "not_offered", "skip"))


def test_the_page_says_what_was_not_caught() -> None:
    missed = Outcome(fault=ONE, found=(), complaints=("nothing said all_zero",), seconds=1.0)
    caught = Outcome(fault=FAULTS["hang"], found=("correctness.gemm",), complaints=(), seconds=1.0)
    told = page.written([missed, caught], seeds=3, alarms=0, seconds=1.0, spent=2.0, cores=2)
    assert "1 of 2 caught" in told
    rows = {row.split("`")[1]: row for row in told.splitlines() if row.startswith("| `")}
    assert rows["zeros-at-one-shape"].endswith("**not caught** |")
    assert rows["hang"].endswith("`correctness.gemm` |")
    assert rows["sign-lost"].endswith("**not caught** |")
