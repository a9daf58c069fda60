from __future__ import annotations

import pytest

from matrix.configuration import Configuration
from matrix.errors import ConfigurationError
from matrix.namedstack import NamedStack
from matrix.stack import Pin, Stack
from matrix.trial import asked, patched


@pytest.fixture(scope="module")
def configuration() -> Configuration:
    return Configuration()


def resolved(**pins: str) -> Stack:
    listed = tuple(Pin(package=name.replace("_", "-"), version=v) for name, v in pins.items())
    return Stack(name="s", machine="x86_64", pins=listed)


RELEASED = resolved(vllm="0.33.0", flashinfer_python="0.7.2.post1")


def patch(named: NamedStack, package: str, number: int, stack: Stack = RELEASED) -> dict[str, str]:
    return patched(named, stack, package, number, without_extras=stack).pins


@pytest.mark.parametrize(
    ("text", "package"),
    [
        ("vllm#7", "vllm"),
        ("vllm-project/vllm#7", "vllm"),
        ("https://github.com/vllm-project/vllm/pull/7", "vllm"),
        ("flashinfer#7", "flashinfer-python"),
        ("flashinfer-python#7", "flashinfer-python"),
    ],
)
def test_a_request_is_named_by_package_or_repository(
    text: str, package: str, configuration: Configuration
) -> None:
    assert asked(text, configuration) == (package, 7)


@pytest.mark.parametrize(
    "text", ["vllm", "vllm#", "vllm#x", "vllm#0", "#7", "vllm#7 --x", "vllm#1234567890"]
)
def test_what_is_no_request_is_refused(text: str, configuration: Configuration) -> None:
    with pytest.raises(ConfigurationError, match="is no pull request"):
        asked(text, configuration)


def test_a_package_that_cannot_be_built_is_refused_with_the_nearest(
    configuration: Configuration,
) -> None:
    with pytest.raises(
        ConfigurationError, match=r"how to build 'flashinfe' from source; did you mean flashinfer\?"
    ):
        asked("flashinfe#7", configuration)


def test_a_release_becomes_its_tag_with_the_request() -> None:
    named = NamedStack("vllm==0.33.0", {"vllm": "0.33.0"})
    made = patched(named, RELEASED, "vllm", 7, without_extras=RELEASED)
    assert made.pins == {"vllm": "@v0.33.0 + #7"}
    assert made.name == "vllm-0.33.0-with-vllm-7"


def test_a_package_that_the_stack_only_requires_is_pinned_behind_its_lead() -> None:
    named = NamedStack("vllm==0.33.0", {"vllm": "0.33.0"})
    pins = patch(named, "flashinfer-python", 7)
    assert list(pins.items()) == [("vllm", "0.33.0"), ("flashinfer-python", "@v0.7.2.post1 + #7")]


def test_a_commit_gets_one_request_more_and_none_twice() -> None:
    named = NamedStack("s", {"vllm": "@main + #5"})
    assert patch(named, "vllm", 7) == {"vllm": "@main + #5 + #7"}
    with pytest.raises(ConfigurationError, match="has #5 of vllm already"):
        patch(named, "vllm", 5)


def test_what_the_stack_has_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="has no flashinfer-python"):
        patch(NamedStack("s", {"vllm": "0.8.5"}), "flashinfer-python", 7, resolved(vllm="0.8.5"))


def test_what_an_extra_brings_is_pinned_and_an_index_kept() -> None:
    named = NamedStack(
        "s", {"vllm": "0.11.0"}, ("flashinfer",), indexes={"vllm": "https://host/index"}
    )
    with_extras = resolved(vllm="0.11.0", torch="2.8.0", flashinfer_python="0.3.1")
    plain = resolved(vllm="0.11.0", torch="2.8.0")
    made = patched(named, with_extras, "flashinfer-python", 7, without_extras=plain)
    assert made.pins == {"vllm": "0.11.0 @ https://host/index", "flashinfer-python": "@v0.3.1 + #7"}
