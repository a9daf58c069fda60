from __future__ import annotations

import msgspec
import pytest

from matrix.configuration import Configuration
from matrix.image import asked, audited, pins_differ
from matrix.knowledge import Knowledge
from matrix.selections import Selections


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


def test_a_pin_that_is_not_installed_as_pinned_is_a_difference() -> None:
    found = pins_differ(
        {"torch": "2.14.0", "flashinfer-python": "0.7", "gone": "1"},
        {"Torch": "2.14.0+cpu", "flashinfer_python": "0.7", "pip": "23"},
    )
    assert [(d.kind, d.what, d.promised, d.found) for d in found] == [
        ("pin", "torch", "2.14.0", "2.14.0+cpu"),
        ("pin", "gone", "1", "not installed"),
    ]


def test_the_wheel_itself_is_as_promised(knowledge: Knowledge) -> None:
    record = knowledge.published.record("vllm", "0.33.0", "x86_64")
    assert record
    known = knowledge.configuration
    package, differs = audited(record, record, ["gemm"], known.targets, known.capabilities.pieces)
    assert package.promised
    assert package.compiled["gemm"]["sm100"] == "yes"
    assert differs == ()


def test_a_build_that_lost_its_kernels_is_told_for_each_target_that_had_them(
    knowledge: Knowledge,
) -> None:
    record = knowledge.published.record("vllm", "0.33.0", "x86_64")
    assert record
    known = Configuration()
    bare = msgspec.structs.replace(record, kernels=())
    package, differs = audited(bare, record, ["gemm"], known.targets, known.capabilities.pieces)
    assert package.compiled["gemm"]["sm100"] == "no"
    assert {d.target for d in differs} >= {"sm100", "sm120"}
    assert all(d.promised.startswith(("yes", "trap", "partial")) for d in differs)
    unheld, none = audited(bare, None, ["gemm"], known.targets, known.capabilities.pieces)
    assert (unheld.promised, none) == (False, ())


def test_another_choice_than_the_release_once_made_is_a_difference() -> None:
    kept = Selections().find("vllm", "0.33.0", "x86_64")
    assert kept
    told, differs = asked(kept, kept, "slim")
    assert told.promised
    assert told.choices["sm120"]["dense_w4a4"]
    assert differs == ()
    slim = kept.environments["slim"]
    dense = slim.targets["sm120"]["dense_w4a4"]
    marlin = msgspec.structs.replace(dense, selected="Marlin")
    targets = {**slim.targets, "sm120": {**slim.targets["sm120"], "dense_w4a4": marlin}}
    other = msgspec.structs.replace(
        kept, environments={"slim": msgspec.structs.replace(slim, targets=targets)}
    )
    _, differs = asked(other, kept, "slim")
    assert [(d.kind, d.what, d.target, d.promised, d.found) for d in differs] == [
        ("selected", "dense_w4a4", "sm120", dense.selected, "Marlin")
    ]
    assert asked(other, None, "slim")[1] == ()
    assert asked(other, kept, "devel")[0].choices == {}
