"""Lists and functions of the shapes that vLLM's sources have had, written anew and much shorter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.architecture import holds_fp4, loadable
from matrix.archlist import chosen
from matrix.cmakefile import Rules, kept, rules
from matrix.configuration import Configuration
from matrix.errors import ConfigurationError
from matrix.target import Target

OLD = """\
# set(CUDA_SUPPORTED_ARCHS "1.0") is a comment
if(DEFINED CMAKE_CUDA_COMPILER_VERSION AND
   CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  set(CUDA_SUPPORTED_ARCHS "8.0;9.0;10.0;10.1;12.0")
else()
  set(CUDA_SUPPORTED_ARCHS "8.0;9.0") # "older"
endif()
if(LANGUAGE STREQUAL "CUDA")
  cuda_archs_loose_intersection(OTHER_ARCHS "9.0a" "${CUDA_ARCHS}")
  cuda_archs_loose_intersection(FP4_ARCHS "12.0;12.0a" "${CUDA_ARCHS}")
  if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 12.8 AND FP4_ARCHS)
    set(SRCS "a.cu")
  endif()
endif()
"""
GROUPS = """\
if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 13.0)
  cuda_archs_loose_intersection(FP4_SM120_ARCHS "12.0f" "${CUDA_ARCHS}")
else()
  cuda_archs_loose_intersection(FP4_SM120_ARCHS "12.0a;12.1a" "${CUDA_ARCHS}")
endif()
if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 12.8 AND FP4_SM120_ARCHS)
endif()
if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 13.0)
  cuda_archs_loose_intersection(FP4_SM100_ARCHS "10.0f;11.0f" "${CUDA_ARCHS}")
else()
  cuda_archs_loose_intersection(FP4_SM100_ARCHS "10.0a;10.1a;10.3a" "${CUDA_ARCHS}")
endif()
if(${CMAKE_CUDA_COMPILER_VERSION} VERSION_GREATER_EQUAL 12.8 AND FP4_SM100_ARCHS)
endif()
"""
LATER = """\
if(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 13.0)
  set(CUDA_SUPPORTED_ARCHS "8.0;9.0;10.0;11.0;12.0")
elseif(CMAKE_CUDA_COMPILER_VERSION VERSION_GREATER_EQUAL 12.8)
  set(CUDA_SUPPORTED_ARCHS "8.0;9.0;10.0;10.1;10.3;12.0;12.1")
else()
  set(CUDA_SUPPORTED_ARCHS "7.0;8.0;9.0")
endif()
"""
BETWEEN = LATER.replace('11.0;12.0"', '11.0;12.0;12.1"')
EXACT = '"arch=compute_\\([0-9]+a?\\)" if ("${_base}" IN_LIST TGT_CUDA_ARCHS)'
FAMILY = """"arch=compute_\\([0-9]+[af]?\\)"
if ("${_base}" IN_LIST TGT_CUDA_ARCHS) elseif("${_base}a" IN_LIST _TGT_CUDA_ARCHS)"""
FIRST = """"arch=compute_\\([0-9]+[af]?\\)"
if("${_base}" IN_LIST _TGT_CUDA_ARCHS) list(REMOVE_ITEM _TGT_CUDA_ARCHS "${_base}a" "${_base}f")
if("${_base}a" IN_LIST _TGT_CUDA_ARCHS)"""

TARGETS = {target.name: target for target in Configuration().targets if target.fp4}


def read(lists: str, functions: str) -> Rules:
    found = rules(lists, functions)
    assert found is not None
    return found


RELEASES = {
    "old": read(OLD, EXACT),
    "exact": read(LATER + GROUPS, EXACT),
    "between": read(BETWEEN + GROUPS, FAMILY),
    "family": read(LATER + GROUPS, FAMILY),
    "first": read(LATER + GROUPS, FIRST),
}


@pytest.mark.parametrize(
    ("release", "cuda", "asked", "found"),
    [
        # As CMake itself says with each release's own functions: 0.10.2, 0.12.0, 0.19.1, 0.20.0, 0.33.0.
        ("old", "12.8", "12.0", ["12.0a"]),
        ("old", "12.9", "12.1", ["12.0a"]),
        ("old", "12.6", "12.0", []),
        ("old", "12.8", "10.3", []),
        ("exact", "12.9", "10.3", ["10.3a"]),
        ("exact", "13.0", "12.1", ["12.0f"]),
        ("exact", "13.0", "12.0f", ["12.0f"]),
        ("between", "13.0", "12.1", ["12.1"]),
        ("between", "13.0", "12.0", ["12.0f"]),
        ("between", "12.9", "12.1", ["12.1a"]),
        ("family", "13.0", "12.1", ["12.0f"]),
        ("family", "13.0", "12.0a", ["12.0a"]),
        ("family", "12.9", "12.0+PTX", ["12.0a"]),
        ("first", "13.0", "12.0+PTX", ["12.0f"]),
        ("first", "13.0", "12.1f", ["12.0f"]),
        ("first", "13.0", "10.0;11.0;12.0", ["12.0f", "10.0f", "11.0f"]),
        ("first", "12.8", "11.0", []),
        ("first", "12.6", "12.0", []),
    ],
)
def test_what_is_kept_for_fp4_is_what_cmake_keeps(
    release: str, cuda: str, asked: str, found: list[str]
) -> None:
    assert list(kept(RELEASES[release], cuda, tuple(asked.split(";")))) == found


def test_a_guard_behind_a_list_counts() -> None:
    early = OLD.replace("VERSION_GREATER_EQUAL 12.8)\n", "VERSION_GREATER_EQUAL 12.4)\n", 1)
    assert kept(read(early, EXACT), "12.8", ("12.0",)) == ("12.0a",)
    assert kept(read(early, EXACT), "12.6", ("12.0",)) == ()


def test_a_source_without_such_lists_has_no_rules() -> None:
    assert rules("", "") is None
    assert rules('project(x)\nset(CUDA_SUPPORTED_ARCHS "12.0")', "") is None


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert rules(text, text) is None or "CUDA" in text


@pytest.mark.parametrize(
    ("release", "cuda", "targets", "archs", "served"),
    [
        ("first", "13.0", ["sm121"], "12.0", ["sm121"]),
        ("between", "13.0", ["sm121"], "12.0", ["sm121"]),
        ("family", "12.9", ["sm121"], "12.1", ["sm121"]),
        ("exact", "13.0", ["sm103", "sm121"], "10.0;12.0", ["sm103", "sm121"]),
        ("old", "12.9", ["sm120", "sm121"], "12.0", ["sm120"]),
        ("first", "12.8", [*TARGETS], "10.0;12.0", ["sm100", "sm120"]),
        (
            "first",
            "13.0",
            [*TARGETS],
            "10.0;11.0;12.0",
            ["sm100", "sm103", "sm110", "sm120", "sm121"],
        ),
    ],
)
def test_the_list_serves_the_targets_as_far_as_the_source_and_cuda_go(
    release: str, cuda: str, targets: list[str], archs: str, served: list[str]
) -> None:
    made = chosen(RELEASES[release], cuda, [TARGETS[name] for name in targets])
    assert ";".join(made.archs) == archs
    assert [target.name for target in made.served] == served


@given(
    st.sampled_from([*RELEASES.values(), None]),
    st.sampled_from(["12.8", "12.9", "13.0", "13.5"]),
    st.lists(st.sampled_from([*TARGETS.values()]), min_size=1, unique=True),
)
def test_our_list_is_never_a_trap(rule: Rules | None, cuda: str, targets: list[Target]) -> None:
    try:
        made = chosen(rule, cuda, targets)
    except ConfigurationError:
        return
    assert not any("PTX" in arch for arch in made.archs)
    for target in made.served:
        assert any(loadable(i, target.capability) and holds_fp4(i) for i in made.images)
    assert chosen(rule, cuda, targets, ";".join(made.archs)).served == made.served


@pytest.mark.parametrize(
    ("release", "cuda", "by_hand", "target", "said"),
    [
        (
            "between",
            "13.0",
            "12.1",
            "sm121",
            "the FP4 kernels for sm121 would be lost; with CUDA 13.0 write it as 12.0",
        ),
        ("first", "13.0", "12.0a", "sm121", "for sm121 would be lost"),
        (
            "first",
            "13.0",
            "12.0+PTX",
            "sm120",
            r"\+PTX is dropped for FP4 kernels; with CUDA 13.0 write it as 12.0",
        ),
        ("first", "13.0", "12.0; touch x", "sm120", "write it as 12.0"),
        ("old", "12.9", "12.1", "sm121", "no list of architectures"),
    ],
)
def test_a_list_by_hand_that_loses_kernels_is_refused_with_the_right_one(
    release: str, cuda: str, by_hand: str, target: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        chosen(RELEASES[release], cuda, [TARGETS[target]], by_hand)


def test_a_source_of_another_form_needs_the_suffix_in_the_list() -> None:
    assert chosen(None, "13.0", [TARGETS["sm121"]]).archs == ("12.1a",)
    with pytest.raises(
        ConfigurationError, match=r"would be lost; with CUDA 13\.0 write it as 12\.0a"
    ):
        chosen(None, "13.0", [TARGETS["sm120"]], "12.0")
