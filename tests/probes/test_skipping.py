from __future__ import annotations

from typing import Any

from probes.case import Case
from probes.request import Request
from probes.skipping import skip

REQUEST: dict[str, Any] = {"run": "r", "stack": "s", "target": "sm121", "machine": "aarch64", "subject": "x", "results": "r.jsonl"}  # fmt: skip
ONE = (Case("correctness.gemm", "gemm", "cutlass", {"m": 1}), "a")
TWO = (Case("speed.gemm", "gemm", "cutlass", {"m": 1}), "b")
CACHE = (Case("correctness_cache.kv_cache", "kv_cache", "vllm", {}), "c")
PLANNED = [ONE, CACHE, TWO]


def asked(**more: Any) -> Request:
    return Request(**REQUEST, **more)


def stands(*cases: tuple[Case, str]) -> dict[str, Any]:
    checks = {case.identity: [sha256, 90.0] for case, sha256 in cases}
    return {"capability": "gemm", "run": "earlier", "checks": checks}


def test_without_reason_nothing_is_left_out() -> None:
    assert skip(PLANNED, asked()) == (PLANNED, [])


def test_what_cannot_work_is_left_out_with_its_reason() -> None:
    left, skipped = skip(PLANNED, asked(pruned={"gemm": "broken: no_kernel_image", "moe": "so"}))
    assert left == [CACHE]
    assert skipped == [{"capability": "gemm", "checks": 2, "why": "broken: no_kernel_image"}]


def test_what_an_earlier_run_found_holds_where_it_has_every_check() -> None:
    third = (Case("speed.gemm", "gemm", "cutlass", {"m": 2}), "b")
    left, skipped = skip(PLANNED, asked(standing=[stands(ONE, TWO, third)]))
    assert left == [CACHE]
    assert skipped == [{"capability": "gemm", "checks": 2, "run": "earlier", "seconds": 180.0}]


def test_a_new_check_or_a_changed_probe_brings_its_whole_capability_back() -> None:
    assert skip(PLANNED, asked(standing=[stands(ONE)])) == (PLANNED, [])
    changed = (TWO[0], "other code")
    assert skip(PLANNED, asked(standing=[stands(ONE, changed)])) == (PLANNED, [])


def test_what_cannot_work_is_told_before_what_was_found() -> None:
    _, skipped = skip(PLANNED, asked(pruned={"gemm": "why"}, standing=[stands(ONE, TWO)]))
    assert [each.get("why") for each in skipped] == ["why"]


def test_a_question_is_another_one_where_something_that_decides_a_check_is() -> None:
    same = asked().question
    assert asked(image="i", only=["speed"], rest=["x"]).question == same
    for more in (
        {"seed": 1},
        {"scale": "small"},
        {"limit": 60.0},
        {"options": {"soak_seconds": 9}},
    ):
        assert asked(**more).question != same
