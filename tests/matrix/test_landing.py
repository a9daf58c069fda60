from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.history import Commit, History, Said, Tag, is_release_branch, said, tag
from matrix.landing import (
    by_commit,
    by_pull,
    entered,
    first_nightly,
    followed,
    holds,
    own_number,
    ranges,
)

SHA = "{:040x}"


def history(
    subjects: Sequence[str],
    branch: Sequence[str] = (),
    cut: int = 0,
    tags: Sequence[Tag] = (),
    said: dict[str, Said] | None = None,
) -> History:
    """Make a main branch of `subjects`, and a release branch of `branch` that is cut behind commit `cut`."""
    main = [
        Commit(SHA.format(n + 1), (SHA.format(n),) if n else (), n + 1, subject)
        for n, subject in enumerate(subjects)
    ]
    apart = [
        Commit(
            SHA.format(1000 + n), (SHA.format(1000 + n - 1 if n else cut + 1),), 1000 + n, subject
        )
        for n, subject in enumerate(branch)
    ]
    return History(
        [*reversed(apart), *reversed(main)],
        main=main[-1].sha,
        branches={"release-v1": apart[-1].sha} if apart else {},
        tags=tags,
        said=said or {},
    )


def hows(subjects: Sequence[str], number: int = 7, *, branch: bool = False) -> list[str]:
    made = history(["Begin"], subjects) if branch else history(["Begin", *subjects])
    return [event.how for event in by_pull(made, number)]


@pytest.mark.parametrize(
    ("subject", "number"),
    [
        ("Keep the suffix (#7)", 7),
        ("Keep the suffix (#6) (#7)", 7),
        ("Merge pull request #7 from somebody/branch", 7),
        ("Keep the suffix (#7) again", None),
        ("Keep the suffix #7", None),
        ('Revert "Keep the suffix (#7)"', None),
        ("(#7)", 7),
        ("", None),
    ],
)
def test_a_squashed_commit_tells_its_number_at_the_end(subject: str, number: int | None) -> None:
    assert own_number(subject) == number


@pytest.mark.parametrize(
    ("subject", "on_main", "on_branch"),
    [
        ("Keep the suffix (#7)", "merged", "picked"),
        ("Merge pull request #7 from somebody/branch", "merged", "picked"),
        ('Revert "Keep the suffix (#7)" (#9)', "reverted", "reverted"),
        ('Revert "Keep the suffix (#7)"', "reverted", "reverted"),
        ('[Core] Revert "Keep the suffix (#7)" (#9)', "reverted", "reverted"),
        ("revert(moe): revert #7 and its dependents #8 (#9)", "reverted", "reverted"),
        ("Revert PR 7 (#9)", "reverted", "reverted"),
        ('Revert "Revert "Keep the suffix (#7)" (#8)" (#9)', "reapplied", "reapplied"),
        ('Reapply "Keep the suffix (#7)" (#9)', "reapplied", "reapplied"),
        ("Reland the suffix, #7 (#9)", "reapplied", "reapplied"),
        ("cherry-pick: #7 (Keep the suffix) (#9)", None, "picked"),
        ("release-v1: cherry-pick #5, #7, #6 (#9)", None, "picked"),
        ("Backport #7 (#9)", None, "picked"),
        ("Test what #7 brought (#9)", None, None),
        ("Keep the suffix (#70)", None, None),
        ("Keep the suffix (#17)", None, None),
        ('Revert "Keep the suffix (#70)" (#9)', None, None),
        ("Revert a regression of last week", None, None),
        ("cherry-pick: #70 (Keep the suffix) (#9)", None, None),
    ],
)
def test_a_subject_says_what_it_does_with_a_pull_request(
    subject: str, on_main: str | None, on_branch: str | None
) -> None:
    assert hows([subject]) == ([on_main] if on_main else [])
    assert hows([subject], branch=True) == ([on_branch] if on_branch else [])


def test_a_revert_is_a_pull_request_of_its_own() -> None:
    subjects = ["Keep the suffix (#7)", 'Revert "Keep the suffix (#7)" (#9)']
    assert hows(subjects, 9) == ["merged"]


words = st.sampled_from(
    [
        "Keep the suffix (#7)",
        'Revert "Keep the suffix (#7)" (#8)',
        'Reapply "Keep the suffix (#7)" (#9)',
        "Another (#10)",
        "Test #7 (#11)",
    ]
)


def there(subjects: Sequence[str]) -> bool:
    """Say whether the change is there behind these commits, one after the other: the last word counts."""
    is_there = False
    for subject in subjects:
        if subject.startswith("Revert"):
            is_there = False
        elif subject.startswith(("Keep", "Reapply")):
            is_there = True
    return is_there


@given(st.lists(words, min_size=1, max_size=12), st.lists(words, max_size=6), st.data())
def test_every_tag_has_what_the_commits_behind_it_say(
    main: list[str], branch: list[str], data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(main) - 1))
    made = history(main, branch, cut)
    events = followed(made, list(by_pull(made, 7)))
    for n in range(len(main)):
        assert holds(made, events, SHA.format(n + 1)) == there(main[: n + 1])
    for n in range(len(branch)):
        assert holds(made, events, SHA.format(1000 + n)) == there(
            [*main[: cut + 1], *branch[: n + 1]]
        )


@given(st.lists(st.booleans(), max_size=9))
def test_ranges_say_of_each_release_whether_it_has_the_change(has: list[bool]) -> None:
    given = {f"0.{n}": is_in for n, is_in in enumerate(has)}
    found: set[str] = set()
    names = list(given)
    for told in ranges(given):
        first, _, last = told.removesuffix(" and later").partition(" to ")
        end = len(names) if told.endswith("later") else names.index(last or first) + 1
        found |= set(names[names.index(first) : end])
    assert found == {name for name, is_in in given.items() if is_in}
    assert (bool(has) and has[-1]) == any(told.endswith("later") for told in ranges(given))


@pytest.mark.parametrize(
    ("name", "kind", "version"),
    [
        ("v0.12.0", "release", "0.12.0"),
        ("0.12.0", "release", "0.12.0"),
        ("v0.6.16.post4", "release", "0.6.16.post4"),
        ("v0.12.0rc1", "candidate", "0.12.0rc1"),
        ("v0.12.0-rc1", "candidate", "0.12.0rc1"),
        ("v0.12.1.dev7", "nightly", "0.12.1.dev7"),
        ("nightly-v0.6.5-20260304", "nightly", ""),
        ("nightly", "nightly", ""),
    ],
)
def test_a_tag_says_which_build_it_is(name: str, kind: str, version: str) -> None:
    found = tag(name, SHA.format(1))
    assert found
    assert (found.kind, found.version) == (kind, version)


@pytest.mark.parametrize(
    "name", ["v0.9.1+rocm", "aarch64", "test-release-026", "-v0.9.0", "v", "v1", ""]
)
def test_a_tag_that_is_no_build_is_none(name: str) -> None:
    assert tag(name, SHA.format(1)) is None


@given(st.text(max_size=30))
def test_any_name_of_a_tag_or_branch_is_read(name: str) -> None:
    tag(name, SHA.format(1))
    is_release_branch(name)


@given(st.text(alphabet='Revrt "(#7)PRapl[]\u201c:', max_size=60))
def test_any_subject_is_read(subject: str) -> None:
    made = history(["Begin", subject])
    assert len(list(by_pull(made, 7))) <= 1


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("releases/v0.12.0", True),
        ("release-v0.6.16", True),
        ("release/4.4", True),
        ("rel-1.0", True),
        ("fix/release-notes", False),
        ("main", False),
        ("pre-release-work", False),
    ],
)
def test_release_branches_are_known_by_name(name: str, is_one: bool) -> None:
    assert is_release_branch(name) is is_one


def test_the_oldest_nightly_with_a_change_is_the_first() -> None:
    nightlies = [Tag(f"nightly-{n}", SHA.format(n), "nightly", "") for n in (4, 2, 3)]
    made = history(["Begin", "Another (#5)", "Keep the suffix (#7)", "Go on"], tags=nightlies)
    found = first_nightly(made, followed(made, list(by_pull(made, 7))))
    assert found
    assert found.name == "nightly-3"


def test_a_commit_is_known_by_its_beginning_where_no_other_begins_so() -> None:
    made = history(["Begin", "Another"])
    assert not list(by_commit(made, "0000000"))  # both begin so
    assert [event.how for event in by_commit(made, SHA.format(2))] == ["merged"]
    assert not list(by_commit(made, "abcdef0"))


def test_a_message_names_commits_and_issues() -> None:
    message = f"X\n\nThis reverts commit {SHA.format(1)}.\n(cherry picked from commit abcdef0)\nFixes: #5\ncloses #6, see #7"
    assert said(message) == Said((SHA.format(1),), ("abcdef0",), (5, 6))
    assert said("prefixes #5, hotfix #6") == Said()


def test_of_twenty_thousand_commits_a_change_is_found_in_time() -> None:
    import time  # noqa: PLC0415 - of this test alone

    count = 20_000
    tags = [Tag(f"v0.{n}.0", SHA.format(n * 50 + 1), "release", f"0.{n}.0") for n in range(400)]
    made = history([f"Change (#{n})" for n in range(count)], tags=tags)
    began = time.perf_counter()
    for number in range(102, 112):
        events = followed(made, list(by_pull(made, number)))
        assert sum(entered(made, events).values()) == 397
    assert time.perf_counter() - began < 5
