"""For what a source is built: its own lists, the builder's CUDA, and what kind of wheel it makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from images import fromsource
from images.fromsource import Asked, _arches, _Bench
from images.sources import Commit
from images.wheelhouse import Workshop
from matrix.configuration import Configuration
from matrix.errors import ConfigurationError
from matrix.evidence.pipconfig import PipConfig
from matrix.namedstack import NamedStack

CONFIGURATION = Configuration()
TARGETS = [target for target in CONFIGURATION.targets if target.fp4]
LISTS = """\
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
  set(CUDA_SUPPORTED_ARCHS "10.0;12.0")
endif()
cuda_archs_loose_intersection(FP4_ARCHS "10.0f;12.0f" "${CUDA_ARCHS}")
"""


class Checkout:
    """A repository, as far as it is asked for a file."""

    def text(self, commit: str, path: str) -> str:
        del commit
        return LISTS if path == "CMakeLists.txt" else ""


def arches(package: str, cuda: str, arch_list: str = "", told: Sequence[str] = ()) -> Any:
    commit = Commit(
        package=package,
        repository="https://host/x",
        ref="main",
        commit="0" * 40,
        merged="0" * 40,
        tree="0" * 40,
        version="1",
    )
    heard = list(told)
    shop: Any = Workshop(
        engine=None,  # type: ignore[arg-type]
        base="",
        config=PipConfig(),
        bundle=b"",
        environment={},
        tell=heard.append,
    )
    asked = Asked("x86_64", "3.12", TARGETS, arch_list, "", relock=False)
    bench = _Bench(NamedStack("x", {}), asked, Path(), shop, CONFIGURATION, cuda)
    checkout: Any = Checkout()
    return _arches(bench, commit, checkout), heard


def test_machine_code_is_for_what_the_lists_keep_and_the_rest_is_told() -> None:
    made, heard = arches("vllm", "13.0")
    assert made.archs == ("10.0", "12.0")
    assert "sm121" in [target.name for target in made.served]
    assert heard == ["vllm: with CUDA 13.0 no FP4 kernels for sm110"]


def test_a_wheel_of_source_is_for_every_target_with_a_compiler_and_without() -> None:
    for cuda in ("", "13.0"):
        made, heard = arches("flashinfer-python", cuda)
        assert list(made.served) == TARGETS
        assert heard == []


def test_a_package_without_machine_code_promises_nothing() -> None:
    made, _ = arches("compiled", "")
    assert made.archs == made.served == ()


@pytest.mark.parametrize(("package", "by_hand"), [("vllm", ""), ("compiled", "12.0")])
def test_machine_code_without_a_compiler_is_refused_before_anything_is_built(
    package: str, by_hand: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"{package}: the builder has no nvcc"):
        arches(package, "", by_hand)


def test_a_stack_of_releases_is_as_it_is() -> None:
    named = NamedStack("x", {"vllm": "0.33.0"})
    shop: Any = None
    asked = Asked("x86_64", "3.12", TARGETS, "", "", relock=False)
    assert fromsource.settled(named, asked, Path(), shop, CONFIGURATION).named is named
    with pytest.raises(ConfigurationError, match="nothing of x is built from source"):
        fromsource.settled(named, asked._replace(arch_list="12.0"), Path(), shop, CONFIGURATION)
