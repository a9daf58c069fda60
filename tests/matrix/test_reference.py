from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from matrix.reference import entries, shared, specifiers


def test_entries_of_one_name_are_numbered() -> None:
    assert [entry.nth for entry in entries("path", ["a", "b", "a", "a"])] == [0, 0, 1, 2]


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        (">=0.8.5,<0.16", ">=0.16,<0.20", False),
        (">=0.8.5,<0.16", ">=0.15.9", True),
        ("", ">=0.20", True),
        ("", "<0.1", True),
        ("<0.12", ">=0.12", False),
        ("<=0.12", ">=0.12", True),
        ("<0.12", ">=0.12rc1", False),  # PEP 440: <0.12 leaves its own pre-releases out
        (">0.12,<0.13", ">0.11,<0.14", True),
        (">0.12", "<=0.12", False),
        ("!=0.12", "==0.12", False),
        ("!=0.12", "!=0.13", True),
        ("==0.12.*", ">=0.12.3,<0.12.4", True),
        ("==0.12.*", ">=0.13", False),
        ("~=0.12.1", "<0.13", True),
        ("==1!2.0", ">=1!1", True),
        ("==2.0+cu130", "<3", True),
    ],
)
def test_ranges_meet_where_some_release_is_in_both(one: str, other: str, meet: bool) -> None:
    assert (shared(one, other) is not None) is meet
    assert (shared(other, one) is not None) is meet


RELEASES = [Version(f"0.{minor}{end}") for minor in range(4) for end in ("", ".1", ".2")]
RANGES = st.lists(
    st.builds(
        lambda operator, version: f"{operator}{version}",
        st.sampled_from([">=", ">", "<", "<=", "==", "!="]),
        st.sampled_from(RELEASES),
    ),
    max_size=3,
).map(",".join)


@given(RANGES, RANGES)
def test_ranges_that_share_a_release_are_found_and_what_is_found_is_in_both(
    one: str, other: str
) -> None:
    found = shared(one, other)
    if found is not None:
        assert specifiers(one).contains(found, prereleases=True)
        assert specifiers(other).contains(found, prereleases=True)
    held = set(specifiers(one).filter(RELEASES)) & set(specifiers(other).filter(RELEASES))
    assert found is not None or not held
