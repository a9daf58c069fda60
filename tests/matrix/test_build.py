from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.build import Build, builds
from matrix.errors import ConfigurationError


@pytest.mark.parametrize(
    ("line", "build"),
    [
        (
            "0.19.1rc1.dev7+gabcdef123",
            Build("0.19.1rc1.dev7+gabcdef123", "nightly", "abcdef123"),
        ),
        ("vllm/vllm-openai:nightly-0123456789abcdef0123456789abcdef01234567",
         Build("vllm/vllm-openai:nightly-0123456789abcdef0123456789abcdef01234567", "image", "0123456789abcdef0123456789abcdef01234567")),
        ("registry.local:5000/vllm:cu130 abcdef0  # by hand", Build("registry.local:5000/vllm:cu130", "image", "abcdef0")),
        ("vllm==0.20.0 abcdef0", Build("vllm==0.20.0", "release", "abcdef0", "0.20.0")),
        ("vllm/vllm-openai:v0.20.0", Build("vllm/vllm-openai:v0.20.0", "image", "", "0.20.0")),
    ],
)  # fmt: skip
def test_a_build_is_tied_to_a_commit_by_its_name_or_by_what_stands_behind_it(
    line: str, build: Build
) -> None:
    assert list(builds(["# builds", "", line], "list")) == [build]


@pytest.mark.parametrize(
    "line",
    [
        "latest",
        "vllm/vllm-openai:latest",
        "name abc",
        "name abcdef0 more",
        "name --x",
        "vllm==0.20.0",
        "vllm==x abcdef0",
    ],
)
def test_a_build_that_nothing_ties_to_a_commit_is_refused(line: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^list:2: "):
        list(builds(["", line], "list"))


@given(st.lists(st.text(max_size=40), max_size=3))
def test_any_list_is_read_or_refused(lines: list[str]) -> None:
    with suppress(ConfigurationError):
        assert all(one.commit or one.version for one in builds(lines, "list"))
