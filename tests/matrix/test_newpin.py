from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from matrix.evidence.git import Git
from matrix.newpin import NewPin, new_pins
from matrix.stack import WrittenStack
from matrix.tracking import Tracked, untold
from tests.matrix.test_tracking import WATCHED

PACKAGES = {"vllm-project/vllm": "vllm"}


def track(number: int, *has: str, **more: Any) -> Tracked:
    watched = msgspec.structs.replace(WATCHED, watch=f"vllm#{number}", number=number, **more)
    return msgspec.structs.replace(untold(watched), has=has)


def proposed(pin: str, *tracked: Tracked) -> list[tuple[str, tuple[str, ...]]]:
    stacks = [WrittenStack(name="spark", pins={"vllm": pin, "torch": "2.10.0"})]
    return [(new.after, new.watches) for new in new_pins(stacks, tracked, PACKAGES)]


@pytest.mark.parametrize(
    ("pin", "tracked", "new"),
    [
        ("0.19.0", [track(7, "0.20.0", "0.21.0")], [("0.20.0", ("vllm#7",))]),
        ("0.20.0", [track(7, "0.20.0", "0.21.0")], []),
        ("0.19.0", [track(7)], []),
        ("0.21.0", [track(7, "0.20.1")], []),  # a pick into an older line is no way forward
        ("0.19.0", [track(7, "0.20.0", "0.21.0"), track(8, "0.21.0")], [("0.21.0", ("vllm#7", "vllm#8"))]),
        ("0.20.0", [track(7, "0.20.0", "0.21.0"), track(8, "0.21.0")], [("0.21.0", ("vllm#8",))]),
        ("0.19.0", [track(7, "0.20.0"), track(8, "0.21.0")], [("0.20.0", ("vllm#7",))]),
        ("0.19.0 @ https://host/index", [track(7, "0.20.0")], []),
        ("@main", [track(7, "0.20.0")], []),
        ("@main + #7", [track(7, "0.20.0", "0.21.0")], [("0.21.0", ("vllm#7",))]),
        ("@v0.19.0 + #7", [track(7, "0.18.1", "0.20.0", "0.21.0")], [("0.20.0", ("vllm#7",))]),
        ("@main + #7 + #8", [track(7, "0.20.0"), track(8)], []),
        ("@main + #7 + #9", [track(7, "0.20.0")], []),
        ("@v0.22.0 + #7", [track(7, "0.20.0")], []),
    ],
)  # fmt: skip
def test_a_pin_is_replaced_by_the_release_that_brings_what_it_lacks(
    pin: str, tracked: Sequence[Tracked], new: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert proposed(pin, *tracked) == new


def test_a_change_of_another_package_says_nothing_of_this_one() -> None:
    assert proposed("0.19.0", track(7, "0.20.0", repository="flashinfer-ai/flashinfer")) == []


versions = st.integers(1, 9).map(lambda n: f"0.{n}.0")


@given(versions, st.lists(st.lists(versions, unique=True), max_size=4))
def test_a_new_pin_is_later_and_has_what_it_is_said_to_bring(
    pin: str, has: list[list[str]]
) -> None:
    tracked = [track(n + 1, *each) for n, each in enumerate(has)]
    for after, watches in proposed(pin, *tracked):
        assert Version(after) > Version(pin)
        assert watches
        for one in tracked:
            assert (one.watch in watches) == (after in one.has and pin not in one.has)


@given(st.text(max_size=200), st.text(max_size=20), versions)
def test_any_stack_has_a_branch_that_git_takes(stack: str, package: str, after: str) -> None:
    new = NewPin(stack=stack, package=package, before="1", after=after, watches=("vllm#7",))
    assert new.branch.isascii()
    assert new.title == new.title[:200]
    assert not {"..", "//", "@{"} & {new.branch[n : n + 2] for n in range(len(new.branch))}
    assert not new.branch.endswith((".", "/", ".lock"))


@pytest.mark.parametrize("stack", ["spark", "-x", "a..b", "\u00e4", "x.lock"])
def test_git_takes_that_branch(stack: str, tmp_path: Any) -> None:
    new = NewPin(stack=stack, package="vllm", before="1", after="0.20.0.post1", watches=())
    Git(tmp_path).text("check-ref-format", f"refs/heads/{new.branch}")


def test_a_title_refers_to_no_thread() -> None:
    new = NewPin(
        stack="spark",
        package="vllm",
        before="1",
        after="0.20.0",
        watches=("vllm#7", "vllm@abcdef0"),
    )
    assert new.title == "spark: vllm 0.20.0, which has vllm 7, vllm abcdef0"
