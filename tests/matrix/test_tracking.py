from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from matrix.build import Build
from matrix.history import History, Said, Tag
from matrix.tracking import State, Tracked, events_of, has, tracked, untold
from matrix.upstream import Watched
from tests.matrix.test_landing import SHA, history

WATCHED = Watched(
    watch="vllm#7",
    repository="vllm-project/vllm",
    number=7,
    title="Keep the suffix",
    capabilities=("gemm",),
    targets=("sm121",),
    source="https://example.org/7",
)
ISSUE = Watched(
    watch="vllm#70",
    repository="vllm-project/vllm",
    kind="issue",
    number=70,
    title="NaN",
    capabilities=("gemm",),
    targets=("sm121",),
    source="https://example.org/70",
)
MERGED = "Keep the suffix (#7)"
REVERTED = 'Revert "Keep the suffix (#7)" (#8)'


def release(version: str, n: int) -> Tag:
    return Tag(f"v{version}", SHA.format(n), "release", version)


def track(made: History, watched: Watched = WATCHED, **more: Any) -> Tracked:
    return tracked(watched, made, events_of(watched, made, None), **more)


@pytest.mark.parametrize(
    ("main", "branch", "said", "state"),
    [
        ([MERGED], [], None, "merged"),
        ([MERGED], [], "closed", "merged"),
        ([MERGED, REVERTED], [], "merged", "reverted"),
        ([MERGED, REVERTED, 'Reapply "Keep the suffix (#7)" (#9)'], [], None, "merged"),
        ([MERGED], [REVERTED], None, "merged"),
        (["Begin"], [MERGED], None, "merged"),
        (["Begin"], [], None, "unknown"),
        (["Begin"], [], "open", "open"),
        (["Begin"], [], "closed", "closed"),
    ],
)
def test_the_state_is_computed_and_what_no_history_tells_is_asked_for_or_unknown(
    main: Sequence[str], branch: Sequence[str], said: State | None, state: State
) -> None:
    assert track(history(main, branch), said=said).state == state


def test_an_issue_is_fixed_where_a_commit_says_so() -> None:
    made = history(["Begin", "Pad (#8)"], said={SHA.format(2): Said(fixes=(70,))})
    assert track(made, ISSUE).state == "fixed"
    assert track(history(["Begin"]), ISSUE).state == "unknown"


def test_releases_are_named_in_the_order_of_versions() -> None:
    tags = [release("0.9.0", 1), release("0.10.0", 2), release("0.9.1", 1000), release("0.10.1", 3)]
    found = track(history(["Begin", MERGED, "Go on"], [MERGED], tags=tags))
    assert found.first_release == "0.9.1"
    assert found.releases == ("0.9.1 and later",)
    assert found.picks == 1
    assert (found.merged, found.merged_day) == (SHA.format(2), "1970-01-01")
    assert [landed.branches for landed in found.landed if landed.how == "picked"] == [
        ("release-v1",)
    ]


def test_none_has_it_only_where_that_can_be_known() -> None:
    tags = [release("0.9.0", 1)]
    made = history(["Begin", MERGED], tags=tags)
    assert track(made).first_release == "none"
    assert track(made, published=["0.9.0"]).first_release == "none"
    assert track(made, published=["0.9.0", "0.10.0"]).first_release == "unknown"
    assert track(made, published=["0.10.0rc1"]).first_release == "none"
    assert track(history(["Begin"], tags=tags)).first_release == "unknown"


def test_a_release_is_the_first_at_the_latest_where_others_before_it_are_not_known() -> None:
    made = history(["Begin", MERGED], tags=[release("0.9.0", 1), release("0.12.0", 2)])
    assert not track(made, published=["0.8.0", "0.9.0", "0.12.0", "0.11.0rc1"]).at_latest
    found = track(made, published=["0.9.0", "0.10.0", "0.11.0", "0.12.0"])
    assert (found.first_release, found.at_latest) == ("0.12.0", True)
    assert found.notes[0].startswith("2 published releases before 0.12.0 have no tag here")


def test_a_release_without_a_tag_is_known_by_its_commit() -> None:
    made = history(["Begin", MERGED]).tagged(
        [release("0.9.0", 1), release("0.10.0", 2), release("0.11.0", 77)]
    )
    assert track(made).first_release == "0.10.0"
    assert "0.11.0" not in track(made).has  # of a commit that is not here


def test_a_shallow_history_knows_no_absence() -> None:
    made = history(["Begin", MERGED], tags=[release("0.9.0", 1)])
    made.shallow = True
    found = track(made)
    assert found.first_release == "unknown"
    assert found.notes == ("the clone is shallow: what is older than it is not known",)


def test_nightlies_and_images_are_told_from_tags_and_lists_else_unknown() -> None:
    made = history(["Begin", MERGED, "Go on"], tags=[release("0.10.0", 3)])
    assert (track(made).first_nightly, track(made).first_image) == ("unknown", "unknown")
    old, new, later = (SHA.format(n) for n in (1, 2, 3))
    lists = [
        Build("n1", "nightly", old),
        Build("n2", "nightly", new),
        Build("n3", "nightly", later),
        Build("i:1", "image", old),
        Build("i:0.10.0", "image", "", "0.10.0"),
        Build("i:3", "image", later),
    ]
    found = track(made, builds=lists)
    assert (found.first_nightly, found.first_image) == ("n2", "i:0.10.0")
    found = track(made, builds=[lists[0], lists[3]])
    assert (found.first_nightly, found.first_image) == ("none", "none")
    tagged = history(["Begin", MERGED], tags=[Tag("nightly-1", new, "nightly", "")])
    assert track(tagged).first_nightly == "nightly-1"


def test_what_was_not_read_is_unknown_and_says_why() -> None:
    found = untold(WATCHED, "its history was not read")
    assert found.state == found.first_release == found.evidence == "unknown"
    assert found.notes == ("its history was not read",)


@pytest.mark.parametrize(
    ("version", "answer"),
    [
        ("0.10.0", "yes"),
        ("0.9.0", "no"),
        ("0.11.0", "unknown"),
        ("0.10.0.0", "yes"),
        ("@main + #7", "yes"),
        ("@main + #8 + #7", "yes"),
        ("@main + #77", "unknown"),
        ("@main", "unknown"),
        ("no version", "unknown"),
    ],
)
def test_a_pin_has_a_change_by_its_release_or_by_naming_it(version: str, answer: str) -> None:
    assert has(version, {"0.9.0": False, "0.10.0": True}, 7) == answer
