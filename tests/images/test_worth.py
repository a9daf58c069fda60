from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from images.place import Place
from images.worth import hopeless, worthwhile
from matrix.journal import Reading
from matrix.knowledge import Knowledge
from matrix.proberun import ProbeRun
from matrix.result import Result
from probes.request import Request
from tests.matrix.test_standing import BOTH, GPU, NOW, run

NOTHING = Reading((), ())


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return Knowledge.load()


def place(**changes: Any) -> Place:
    told = {"stack": "vllm==0.11.0", "target": "sm121", "machine": "aarch64", "environment": "slim"}
    return Place(**{**told, **changes})


def test_what_has_no_kernel_is_not_asked_of_a_gpu(knowledge: Knowledge) -> None:
    """The aarch64 torch of vLLM 0.11.0 was a CPU build, so that nothing of it runs on a DGX Spark."""
    why = hopeless(place(), knowledge, NOTHING)
    assert why["gemm"] == "broken: torch_without_cuda"


def test_what_has_one_is(knowledge: Knowledge) -> None:
    assert "gemm" not in hopeless(place(stack="vllm==0.33.0"), knowledge, NOTHING)


@pytest.mark.parametrize("changes", [{"stack": "of my own"}, {"target": "cpu"}])
def test_of_what_is_not_known_nothing_is_said(
    knowledge: Knowledge, changes: dict[str, str]
) -> None:
    assert hopeless(place(**changes), knowledge, NOTHING) == {}


def test_what_was_found_goes_with_the_request(knowledge: Knowledge, tmp_path: Path) -> None:
    where = place(stack=NOW.stack, gpu="GPU-1")
    request = Request(
        run="r",
        stack=where.stack,
        target=where.target,
        machine=where.machine,
        environment=where.environment,
        subject="vllm",
        results="r.jsonl",
        image=NOW.image,
    )
    before: ProbeRun = msgspec.structs.replace(run(), question=request.question)
    results: list[Result] = BOTH
    kept = Reading(tuple(results), (), (before,))
    asked = worthwhile(request, where, knowledge, kept, GPU)
    asked.write(tmp_path / "request.json")
    (stands,) = json.loads((tmp_path / "request.json").read_text())["standing"]
    assert stands["run"] == "one"
    assert [*stands["checks"].values()] == [[BOTH[0].probe.sha256, 60.0]] * 2
    assert (
        worthwhile(request, where, knowledge, kept, {**GPU, "driver_version": "1"}).standing == ()
    )
