from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import probes
from images.begin import begin, go_on
from images.place import Place
from matrix.errors import ConfigurationError, OutsideError
from probes.case import Case
from probes.check import digest
from probes.request import Request
from tests.images.test_here import OPENING, RESULT

NOW = digest(str(Path(probes.__file__).parent / "suite" / "test_correctness.py"))
WHEN = "2026-11-21T10:15:00Z"
SPARK = Place(
    stack="s", target="sm121", machine="aarch64", environment="slim", gpu="GPU-1", rates={"x": 1}
)


def begun(folder: Path, place: Place = SPARK) -> Request:
    return begin(place, "vllm", folder, when=WHEN, only=("speed",), soak=5)


def planned(*loads: str, name: str = "correctness.gemm", sha256: str = NOW) -> dict[str, Any]:
    checks = [
        {
            "probe": {"name": name, "sha256": sha256},
            "capability": "gemm",
            "backend": "cutlass",
            "load": [load],
        }
        for load in loads
    ]
    conditions: Any = OPENING["conditions"]
    return OPENING | {"conditions": {**conditions, "seed": 7}, "planned": checks}


def written(folder: Path, *lines: dict[str, Any]) -> Path:
    file = folder / "one.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return file


def test_a_run_has_a_name_of_its_own_and_a_file_of_that_name(tmp_path: Path) -> None:
    made = begun(tmp_path / "results")
    assert made.run.startswith("probe-20261121101500-")
    assert made.results == str(tmp_path / "results" / f"{made.run}.jsonl")
    assert (made.device, made.scale, made.memory) == ("cuda", "full", None)
    assert made.options == {"soak_seconds": 5, "rates": {"x": 1}}
    other = Place(stack="t", target="sm121", machine="aarch64", environment="slim", gpu="GPU-1")
    assert begun(tmp_path, other).run != made.run
    assert begun(tmp_path).run != begun(tmp_path).run, "two at once, in the same second"


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
    file = written(tmp_path, planned("m=1", "m=2"), RESULT)
    more = go_on(begun(tmp_path), "one", tmp_path)
    case = Case("correctness.gemm", "gemm", "cutlass", {"m": 2})
    assert more.rest == (f"{case.probe}[{case.name}]",)
    assert (more.run, more.seed, more.results) == ("one", 7, str(file))


def test_a_run_that_was_stopped_before_its_first_result_goes_on_as_the_same_run(
    tmp_path: Path,
) -> None:
    written(tmp_path, planned("m=1"))
    assert go_on(begun(tmp_path), "one", tmp_path).rest == ("correctness.gemm[cutlass-m=1]",)


def test_a_run_of_probes_that_have_changed_does_not_go_on(tmp_path: Path) -> None:
    written(tmp_path, planned("m=1", sha256="0" * 64))
    with pytest.raises(
        ConfigurationError, match=r"correctness\.gemm has changed since; begin a new"
    ):
        go_on(begun(tmp_path), "one", tmp_path)


def test_a_probe_that_is_no_more_does_not_go_on(tmp_path: Path) -> None:
    written(tmp_path, planned("m=1", name="nothing.gemm"))
    with pytest.raises(ConfigurationError, match=r"nothing\.gemm has changed since"):
        go_on(begun(tmp_path), "one", tmp_path)


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
