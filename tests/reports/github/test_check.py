"""Check runs and their annotations."""

from __future__ import annotations

import msgspec
import pytest

from matrix.cell import Report
from reports.github import check
from reports.github.posting import Annotation, Check
from reports.github.refusal import LostError
from reports.github.request import Answer, Request
from reports.github.required import judge
from tests.reports.github.hub import COMMIT, Hub
from tests.reports.github.posted import AT, Publish, changed


def many(number: int) -> Check:
    remarks = tuple(
        Annotation(
            path="s.yaml",
            start_line=n,
            end_line=n,
            annotation_level="warning",
            message="m",
            title=str(n),
        )
        for n in range(1, number + 1)
    )
    return Check(
        repository=AT, name="n", hash="h", at="2026", commit=COMMIT, conclusion="failure", title="t",
        summary="s", text="x", annotations=remarks,
    )  # fmt: skip


@pytest.mark.parametrize(("number", "requests"), [(0, 1), (50, 1), (51, 2), (120, 3)])
def test_annotations_go_in_batches(hub: Hub, number: int, requests: int) -> None:
    check.settle(hub.send, many(number), None)
    (run,) = hub.checks
    assert len(hub.requests) == requests
    assert [each["start_line"] for each in run["annotations"]] == list(range(1, number + 1))
    assert (run["status"], run["conclusion"]) == ("completed", "failure")
    assert all(len((r.body or {})["output"].get("annotations", [])) <= 50 for r in hub.requests)


def test_a_check_that_was_left_half_way_is_gone_on_with(hub: Hub) -> None:
    def away(request: Request) -> Answer:
        if request.method == "PATCH":
            raise LostError("away")
        return hub.send(request)

    with pytest.raises(LostError):
        check.settle(away, many(120), None)
    assert hub.checks[0]["status"] == "in_progress"
    check.settle(hub.send, many(120), check.look(hub.send, AT, COMMIT, "n"))
    (run,) = hub.checks
    assert [each["start_line"] for each in run["annotations"]] == list(range(1, 121))
    assert run["status"] == "completed"


def test_the_required_ones_decide_the_conclusion(post: Publish, hub: Hub, small: Report) -> None:
    now = changed(small)
    required = judge(now, ["gemm"], ["vllm==0.33.0"], ["slim"])
    post(now, required=required)
    assert hub.checks[0]["conclusion"] == "failure"
    assert hub.statuses[0]["state"] == "failure"
    assert "trap_kernel" in hub.checks[0]["output"]["summary"]


@pytest.mark.parametrize("ids", [(7, 9), (9, 7)])
def test_of_several_checks_of_the_name_the_newest_counts(ids: tuple[int, int]) -> None:
    """GitHub lists the latest of each app."""
    runs = [{"id": each, "name": "n", "external_id": f"h{each} 2026"} for each in ids]
    runs.append({"id": 11, "name": "another's"})

    def send(_: Request) -> Answer:
        return Answer(status=200, content=msgspec.json.encode({"check_runs": runs}))

    found = check.look(send, AT, COMMIT, "n")
    assert found is not None
    assert (found.id, found.hash) == (9, "h9")
