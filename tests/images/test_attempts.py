from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from images import attempts
from images.attempts import Going, carry_out, key, resumed, unfinished
from images.engine import State
from images.following import Line, finished, nothing
from images.inside import Inside
from images.owner import me
from matrix.errors import ConfigurationError, EngineError, OutsideError, ToolError
from matrix.journal import Journal
from matrix.proberun import settled
from probes.request import Request
from tests.images.engines import OPENING, Engine, Work, gone, put, result
from tests.images.test_inside import KEY, request

HERE = {"image": KEY}
DEAD = me()._replace(start="1").word


def run(folder: Path, *works: Work, asked: Request | None = None) -> tuple[list[Line], list[str]]:
    told: list[Line] = []
    said: list[str] = []
    engine: Any = Engine(*works)
    with Inside(engine, "sha256:1", KEY) as inside:
        made = asked or request(folder)
        carry_out(inside, made, tell=told.append, beat=nothing, say=said.append)
    return told, said


def work(*loads: str, code: int = 0, opens: bool = False, oom: bool = False) -> Work:
    def do(file: Path) -> State:
        put(file, *([OPENING | HERE] if opens else []), *(result(load) for load in loads))
        return gone(code, out_of_memory=oom)

    return do


def mark(folder: Path, owner: str, named: str = "k", run: str = "one") -> None:
    (folder / f"{run}.going").write_bytes(msgspec.json.encode(Going(key=named, owner=owner)))


def errors(folder: Path) -> list[tuple[str, str]]:
    results = finished(folder / "one.jsonl")[1]
    return [(each.load[0], each.reason) for each in results if each.status == "error"]


def test_a_run_that_came_to_its_end_leaves_results_and_log(tmp_path: Path) -> None:
    told, said = run(tmp_path, work("m=1", "m=2", "m=3", opens=True))
    assert (len(told), said) == (4, [])
    assert {file.name for file in tmp_path.iterdir()} == {"one.jsonl", "one.log"}


def test_a_check_that_takes_its_container_along_is_told_and_the_rest_goes_on(
    tmp_path: Path,
) -> None:
    first = work("m=1", opens=True, code=137, oom=True)
    told, said = run(tmp_path, first, work("m=3"))
    assert errors(tmp_path) == [("m=2", "oom")]
    assert len(told) == 4
    assert "goes on in a new one" in said[0]


def test_where_no_check_comes_back_the_checks_are_not_blamed_for_ever(tmp_path: Path) -> None:
    never = work(code=137, oom=True)
    with pytest.raises(OutsideError, match="ran out of memory 3 times before a check came back"):
        run(tmp_path, work(opens=True, code=137, oom=True), never, never)
    assert len(errors(tmp_path)) == 2


def test_a_container_that_is_killed_ends_the_command_and_the_check_is_run_once_more(
    tmp_path: Path,
) -> None:
    with pytest.raises(OutsideError, match=r"one: the container was ended from outside; 1 of 3 ch"):
        run(tmp_path, work("m=1", opens=True, code=137))
    assert errors(tmp_path) == [("m=2", "killed")]
    again = resumed(request(tmp_path), "one", tmp_path)
    assert again is not None
    assert len(again.rest or ()) == 2
    with pytest.raises(OutsideError, match="2 of 3 checks are kept"):
        run(tmp_path, work(code=137), asked=again)
    last = resumed(request(tmp_path), "one", tmp_path)
    assert last is not None
    assert last.rest == ("correctness.gemm[cutlass-m=3]",), "twice was enough"


def test_an_engine_that_goes_away_blames_no_check(tmp_path: Path) -> None:
    def away(file: Path) -> State:
        put(file, OPENING | HERE, result("m=1"))
        return gone(-1)

    attempts_patience = pytest.MonkeyPatch()
    attempts_patience.setattr("images.inside._PATIENCE", 0.1)
    try:
        with pytest.raises(EngineError, match="it is gone; 1 of 3 checks are kept; the same comm"):
            run(tmp_path, away)
    finally:
        attempts_patience.undo()
    assert errors(tmp_path) == []
    going = msgspec.json.decode((tmp_path / "one.going").read_bytes(), type=Going)
    assert going.owner == "", "it ended in order"


@pytest.mark.parametrize(
    ("end", "kind", "said"),
    [
        (work(code=137, oom=True), ToolError, "before its first check: see to --memory"),
        (work(code=70), ToolError, r"exit code 70 before its first check \(.*one.log tells more"),
        (work(code=5), ConfigurationError, "vllm has no probe of such a name"),
    ],
)
def test_a_run_that_did_not_come_as_far_as_to_open_leaves_nothing(
    tmp_path: Path, end: Work, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        run(tmp_path, end)
    told = {"one.log"} if "tells more" in said else set()
    assert {file.name for file in tmp_path.iterdir()} - {"one.log"} == set()
    assert told <= {file.name for file in tmp_path.iterdir()}, "what is told of is there"


def test_a_run_whose_owner_is_dead_is_gone_on_with_and_its_check_blamed_once(
    tmp_path: Path,
) -> None:
    put(tmp_path / "one.jsonl", OPENING | HERE, result("m=1"))
    mark(tmp_path, DEAD)
    assert unfinished(tmp_path, "k") == "one"
    more = resumed(request(tmp_path), "one", tmp_path)
    assert more is not None
    assert errors(tmp_path) == [("m=2", "runner_lost")]
    assert len(more.rest or ()) == 2, "it gets another try"
    run(tmp_path, work("m=2", "m=3"), asked=more)
    last = Journal(tmp_path).read().results
    assert [each.reason for each in last] == ["wrong_numbers"] * 3, "what came later counts"


def test_a_check_that_takes_the_machine_along_is_not_run_for_ever(tmp_path: Path) -> None:
    put(tmp_path / "one.jsonl", OPENING | HERE)
    for _ in range(2):
        mark(tmp_path, DEAD)
        resumed(request(tmp_path), "one", tmp_path)
    assert errors(tmp_path) == [("m=1", "runner_lost")] * 2
    assert len(settled(finished(tmp_path / "one.jsonl")[1])) == 1


@pytest.mark.parametrize(("owner", "wanted"), [(me().word, "k"), ("", "other"), (DEAD, "other")])
def test_a_run_of_the_living_or_of_something_else_is_left_alone(
    tmp_path: Path, owner: str, wanted: str
) -> None:
    put(tmp_path / "one.jsonl", OPENING | HERE)
    mark(tmp_path, owner)
    assert unfinished(tmp_path, wanted) is None


def test_of_several_the_newest_goes_on(tmp_path: Path) -> None:
    for name in ("probe-20261121000000-aa", "probe-20261122000000-aa", "probe-20261120000000-aa"):
        mark(tmp_path, "", run=name)
    (tmp_path / "probe-20261123000000-aa.going").write_text("{")
    assert unfinished(tmp_path, "k") == "probe-20261122000000-aa"


@pytest.mark.parametrize("file", ["one.jsonl", "one.log"])
def test_a_run_that_wrote_nothing_is_begun_anew(tmp_path: Path, file: str) -> None:
    (tmp_path / file).touch()
    mark(tmp_path, DEAD)
    assert resumed(request(tmp_path), "one", tmp_path) is None
    assert {each.name for each in tmp_path.iterdir()} <= {"one.log"}


def test_a_run_of_another_image_does_not_go_on(tmp_path: Path) -> None:
    put(tmp_path / "one.jsonl", OPENING | {"image": "another"})
    with pytest.raises(ConfigurationError, match="its image was another"):
        resumed(request(tmp_path), "one", tmp_path)


@pytest.mark.parametrize(
    "change", [{"image": "1"}, {"seed": 1}, {"only": ("speed",)}, {"limit": 1.0}, {"stack": "t"}]
)
def test_what_is_asked_otherwise_is_another_run(tmp_path: Path, change: dict[str, Any]) -> None:
    asked = request(tmp_path)
    assert key(replace(asked, **change), "GPU-1") != key(asked, "GPU-1")
    assert key(asked, "GPU-2") != key(asked, "GPU-1")
    assert key(replace(asked, run="two", results="x", rest=()), "GPU-1") == key(asked, "GPU-1")


def test_who_stops_a_run_blames_no_check(tmp_path: Path) -> None:
    def stopped(file: Path) -> State:
        put(file, OPENING | HERE)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped)
    more = attempts.resumed(request(tmp_path), "one", tmp_path)
    assert more is not None
    assert len(more.rest or ()) == 3
    assert errors(tmp_path) == []


def test_a_run_of_which_no_container_can_be_made_leaves_nothing(tmp_path: Path) -> None:
    def refused(_: Path) -> State:
        raise EngineError("no such GPU")

    with pytest.raises(EngineError, match="no such GPU"):
        run(tmp_path, refused)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_name_of_a_run_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    mark(tmp_path, DEAD)
    (tmp_path / "one.jsonl").touch()
    with pytest.raises(ConfigurationError, match="has no run of that name"):
        resumed(request(tmp_path), "../one", tmp_path / "results")
    assert (tmp_path / "one.going").exists()
