from __future__ import annotations

from typing import NamedTuple

import pytest

from matrix.news import news
from matrix.stack import AsReleased, StacksFile

STACKS = StacksFile(as_released=(AsReleased(range="vllm>=0.20,!=0.21.1"),))


class Wheel(NamedTuple):
    package: str
    version: str


def test_the_newest_is_named_first_and_each_once() -> None:
    wheels = [Wheel("vllm", version) for version in ("0.9.2", "0.33.0", "0.100.0", "0.33.0")]
    assert news(wheels, STACKS) == ("vllm==0.100.0", "vllm==0.33.0")


@pytest.mark.parametrize(
    "wheel", [Wheel("torch", "2.14.0"), Wheel("vllm", "0.34.0rc1"), Wheel("vllm", "0.21.1")]
)
def test_what_makes_no_stack_is_no_news(wheel: Wheel) -> None:
    assert news([wheel], STACKS) == ()


def test_what_was_probed_is_no_news() -> None:
    assert news([Wheel("vllm", "0.33.0")], STACKS, probed={"vllm==0.33.0"}) == ()
