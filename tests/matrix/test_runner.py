from __future__ import annotations

import json
from typing import Any

import pytest

from matrix.errors import ConfigurationError
from matrix.plan import labels
from matrix.runner import Runner, attendance, read, since
from tests.matrix.test_chunk import job
from tests.matrix.test_proberun import result

NOW = "2026-11-21T15:00:00Z"
SPARK = ("self-hosted", "Linux", "ARM64", "gpu", "sm121")


def runner(name: str = "spark", status: str = "online", labels: tuple[str, ...] = SPARK) -> Any:
    """One of `GET /repos/{owner}/{repo}/actions/runners`, as GitHub's documentation shows it."""
    return {
        "id": 23,
        "name": name,
        "os": "linux",
        "status": status,
        "busy": True,
        "runner_group_id": 1,
        "ephemeral": True,
        "labels": [{"id": n, "name": label, "type": "custom"} for n, label in enumerate(labels)],
    }


def listed(*runners: Any) -> bytes:
    return json.dumps({"total_count": len(runners), "runners": runners}).encode()


def known(content: bytes) -> tuple[Runner, ...]:
    runners = read(content, "r.json")
    assert runners is not None
    return runners


def test_a_busy_runner_with_the_labels_takes_a_job_whatever_their_case() -> None:
    there = attendance([job()], known(listed(runner())))
    assert (len(there.present), there.away, there.online) == (1, (), {("sm121", "aarch64"): 1})


@pytest.mark.parametrize(
    ("runners", "why"),
    [
        ((runner(status="offline"),), "runner offline"),
        ((), "no runner registered"),
        ((runner(labels=SPARK[:-1]),), "no runner registered"),
        ((runner(labels=(*SPARK[:-1], "sm120")),), "no runner registered"),
    ],
)
def test_a_job_that_no_runner_could_take_is_away_and_says_why(
    runners: tuple[Any, ...], why: str
) -> None:
    there = attendance([job(), job(1)], known(listed(*runners)))
    assert (there.present, len(there.away)) == ((), 2)
    assert there.absent == {("sm121", "aarch64"): why}


def test_one_of_two_runners_is_enough() -> None:
    there = attendance([job()], known(listed(runner(status="offline"), runner("other"))))
    assert there.online == {("sm121", "aarch64"): 1}


def test_elastic_runners_need_not_be_there() -> None:
    there = attendance([job()], (), elastic=("sm121",))
    assert (len(there.present), there.online) == (1, {("sm121", "aarch64"): 0})


def test_all_pages_are_read() -> None:
    pages = b"[" + listed(runner("a")) + b"," + listed(runner("b")) + b"]"
    assert [each.name for each in known(pages)] == ["a", "b"]


def test_that_nobody_could_ask_is_not_the_same_as_that_there_is_none() -> None:
    assert read(b"null", "r.json") is None
    assert read(listed(), "r.json") == ()


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]x", b'{"message": "Bad credentials"}', b"[" * 100_000]
)
def test_what_is_no_list_of_runners_is_told_with_its_name(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"r\.json: is no list of runners"):
        read(content, "r.json")


def away(when: str, **changes: Any) -> Any:
    return result(
        "", status="missing", reason="runner_offline", metrics={}, kernels=(), when=when, **changes
    )


def test_it_is_away_since_it_was_first_found_so_after_the_last_result() -> None:
    kept = [
        away("2026-11-01T00:00:00Z"),
        result("m=1", when="2026-11-10T00:00:00Z"),
        away("2026-11-11T00:00:00Z"),
        away("2026-11-12T00:00:00Z"),
        away("2026-11-05T00:00:00Z", target="sm120", machine="x86_64"),
    ]
    assert since("sm121", "aarch64", kept, NOW) == "2026-11-11T00:00:00Z"
    assert since("sm120", "x86_64", kept, NOW) == "2026-11-05T00:00:00Z"


def test_it_is_away_since_now_the_first_time() -> None:
    assert since("sm121", "aarch64", [result("m=1")], NOW) == NOW


def test_the_labels_that_a_job_asks_for_are_those_of_the_design() -> None:
    assert labels(job()) == ("self-hosted", "linux", "arm64", "gpu", "sm121")
