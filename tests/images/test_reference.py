from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.reference import at, reference
from matrix.errors import ConfigurationError

DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("text", "repository", "host", "tag"),
    [
        ("localhost/x", "localhost/x", "localhost", "f00"),
        ("localhost:5000/x:1", "localhost:5000/x", "localhost:5000", "1"),
        ("registry.example/team/a.b_c--d:V_1.x-2", "registry.example/team/a.b_c--d", "registry.example", "V_1.x-2"),
        ("host:5000/x", "host:5000/x", "host:5000", "f00"),
        ("someone/x", "someone/x", "docker.io", "f00"),
        ("x", "x", "docker.io", "f00"),
    ],
)  # fmt: skip
def test_a_name_is_read_as_docker_reads_it(text: str, repository: str, host: str, tag: str) -> None:
    found = reference("--push", text, "f00")
    assert (found.repository, found.host, found.tag) == (repository, host, tag)
    assert str(found) == f"{repository}:{tag}"
    assert at(str(found)) == at(f"{repository}@{DIGEST}") == host


@given(st.text(max_size=300))
def test_whatever_is_written_is_a_name_of_plain_characters_or_refused(text: str) -> None:
    try:
        found = reference("--push", text, "f00")
    except ConfigurationError as error:
        assert "\n" not in str(error)  # noqa: PT017 - either is right
    else:
        assert str(found).isascii()
        assert not set(str(found)) - set(
            "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:/_-"
        )
