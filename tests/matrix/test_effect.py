from __future__ import annotations

from typing import Any

import msgspec

from matrix.cell import Cell
from matrix.effect import Change, Lamps, of_stacks, of_wheels

CELL = Cell(
    stack="vllm==0.19.1",
    target="sm121",
    machine="aarch64",
    environment="slim",
    capability="gemm",
    declared="yes",
    compiled="no",
    selected="weight_only",
    executed="missing",
    verdict="fallback",
    reason="weight_only_fallback",
)


def cells(**more: Any) -> list[Cell]:
    """Make a cell in both environments."""
    return [
        msgspec.structs.replace(CELL, environment=environment, **more)
        for environment in ("slim", "devel")
    ]


def change(lamp: Any, before: str, after: str, *environments: Any) -> Change:
    return Change(
        target="sm121",
        machine="aarch64",
        capability="gemm",
        lamp=lamp,
        before=before,
        after=after,
        environments=environments,
    )


def test_a_lamp_that_says_something_else_is_a_change() -> None:
    before = [Lamps("sm121", "aarch64", "gemm", "yes", "no")]
    after = [Lamps("sm121", "aarch64", "gemm", "yes", "yes")]
    assert list(of_wheels(before, after)) == [change("compiled", "no", "yes")]
    assert not list(of_wheels(after, after))


def test_what_was_read_on_one_side_alone_is_no_change() -> None:
    lamps = [Lamps("sm121", "aarch64", "gemm", "yes", "yes")]
    assert not list(of_wheels([], lamps))
    assert not list(of_wheels(lamps, []))
    assert not list(of_stacks([], cells()))


def test_environments_that_say_the_same_are_told_together() -> None:
    after = [cells(selected="native", verdict="likely")[0], cells(selected="native")[1]]
    assert list(of_stacks(cells(), after)) == [
        change("selected", "weight_only", "native", "slim", "devel"),
        change("verdict", "fallback", "likely", "slim"),
    ]


def test_to_have_been_asked_or_run_on_one_side_alone_is_no_change() -> None:
    assert not list(of_stacks(cells(selected="not_asked"), cells()))
    assert not list(of_stacks(cells(), cells(executed="pass")))
    assert not list(of_stacks(cells(executed="error"), cells(executed="fail")))
    assert list(of_stacks(cells(executed="fail"), cells(executed="pass"))) == [
        change("executed", "fail", "pass", "slim", "devel")
    ]


def test_the_compiled_lamp_of_a_stack_is_told_of_its_wheels_alone() -> None:
    """What a stack's cell says of it is folded over packages, and the wheels are compared by themselves."""
    assert not list(of_stacks(cells(), cells(compiled="yes")))
