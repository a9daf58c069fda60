from __future__ import annotations

import json
from pathlib import Path

import pytest

from images.begin import begin, go_on
from images.place import Place
from matrix.errors import ConfigurationError, OutsideError
from probes.case import Case
from probes.request import Request
from tests.images.test_here import OPENING, RESULT

WHEN = "2026-11-21T10:15:00Z"
SPARK = Place(
    stack="s", target="sm121", machine="aarch64", environment="slim", gpu="GPU-1", rates={"x": 1}
)


def begun(folder: Path, place: Place = SPARK) -> Request:
    return begin(place, "vllm", folder, when=WHEN, only=("speed",), soak=5)


def test_a_run_has_a_name_of_its_own_and_a_file_of_that_name(tmp_path: Path) -> None:
    made = begun(tmp_path / "results")
    assert made.run.startswith("probe-20261121101500-")
    assert made.results == str(tmp_path / "results" / f"{made.run}.jsonl")
    assert (made.device, made.scale, made.memory) == ("cuda", "full", None)
    assert made.options == {"soak_seconds": 5, "rates": {"x": 1}}
    other = Place(stack="t", target="sm121", machine="aarch64", environment="slim", gpu="GPU-1")
    assert begun(tmp_path, other).run != made.run


def test_on_a_cpu_it_is_small_and_bounded(tmp_path: Path) -> None:
    made = begun(tmp_path, Place(stack="s", target="cpu", machine="x86_64", environment="slim"))
    assert (made.device, made.scale) == ("cpu", "small")
    assert made.memory


def test_a_request_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = begun(tmp_path)
    made.write(tmp_path / "request.json")
    again = Request.read(tmp_path / "request.json")
    assert again.run == made.run
    assert list(again.only) == ["speed"]


def test_a_folder_that_cannot_be_made_is_the_world_outside(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutsideError, match="file"):
        begun(tmp_path / "file" / "results")


def test_a_run_goes_on_without_what_it_finished(tmp_path: Path) -> None:
    lines = (OPENING | {"conditions": {**OPENING["conditions"], "seed": 7}}, RESULT)  # type: ignore[dict-item]
    file = tmp_path / "one.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    more = go_on(begun(tmp_path), "one", tmp_path)
    case = Case("correctness.gemm", "gemm", "cutlass", {"m": 1})
    assert more.done == (f"{case.probe}[{case.name}]",)
    assert (more.run, more.seed, more.results) == ("one", 7, str(file))


@pytest.mark.parametrize("run", ["other", "../one", "", "a b"])
def test_a_run_that_is_not_there_is_told(tmp_path: Path, run: str) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps(OPENING) + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="has no run of that name"):
        go_on(begun(tmp_path / "x"), run, tmp_path / "x")


def test_a_run_of_another_cell_does_not_go_on(tmp_path: Path) -> None:
    opening = json.dumps({**OPENING, "stack": "another"})
    (tmp_path / "one.jsonl").write_text(opening + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="its stack was another, and here it is s"):
        go_on(begun(tmp_path), "one", tmp_path)


def test_what_an_import_made_does_not_go_on(tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text(json.dumps(RESULT) + "\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="does not begin as a probe run"):
        go_on(begun(tmp_path), "one", tmp_path)
