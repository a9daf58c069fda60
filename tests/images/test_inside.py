from __future__ import annotations

import io
import json
import os
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from images import following, inside
from images.engine import State
from images.following import Line, nothing
from images.inside import End, Inside, RunLimitError, User, ending, user
from images.recipe import UID
from matrix.errors import EngineError, OutsideError
from matrix.proberun import ProbeRun
from matrix.result import Result
from probes.request import Request
from tests.images.engines import OPENING, Engine, Work, gone, put, result

KEY = "0" * 64


def request(folder: Path) -> Request:
    return Request(
        run="one",
        stack="s",
        target="sm121",
        machine="aarch64",
        environment="slim",
        subject="vllm",
        results=str(folder / "one.jsonl"),
        image=KEY,
    )


def attempt(engine: Any, folder: Path, **changes: Any) -> tuple[End, list[Line]]:
    told: list[Line] = []
    output = (folder / "log").open("ab")
    with output, Inside(engine, "sha256:1", KEY, **changes) as made:
        end = made.attempt(request(folder), output, tell=told.append, beat=nothing)
    return end, told


def all_of_it(file: Path) -> State:
    put(file, OPENING, result("m=1"))
    return gone(1)


def test_a_containers_lines_are_told_and_what_it_prints_is_kept(tmp_path: Path) -> None:
    engine = Engine(all_of_it)
    end, told = attempt(engine, tmp_path)
    assert end == End(1)
    assert [type(line) for line in told] == [ProbeRun, Result]
    assert (tmp_path / "log").read_bytes() == b"hello\n"
    assert engine.removed == 1


def test_a_container_gets_the_probes_to_read_one_file_to_write_and_its_caches(
    tmp_path: Path,
) -> None:
    engine = Engine(all_of_it)
    attempt(engine, tmp_path, gpu="GPU-1", memory=1 << 30)
    (wanted,) = engine.wanted
    told = wanted.arguments()
    mounts = {each["Target"]: each for each in told["mounts"]}
    assert mounts["/results/one.jsonl"]["Source"] == str(tmp_path / "one.jsonl")
    assert {name: each["ReadOnly"] for name, each in mounts.items()} == {
        "/suite/probes": True,
        "/results/one.jsonl": False,
        "/var/cache/stack": False,
    }
    assert mounts["/var/cache/stack"]["Source"].startswith(f"nvfp4-matrix-cache-{KEY[:20]}-")
    assert not Path(mounts["/suite/probes"]["Source"]).exists(), "the copy goes with the run"
    assert told["device_requests"][0]["DeviceIDs"] == ["GPU-1"]
    assert (told["network_disabled"], told["cap_drop"]) == (True, ["ALL"])
    assert told["mem_limit"] == told["memswap_limit"] == 1 << 30
    assert "privileged" not in told
    caches = {each for each in told["environment"].values() if each.startswith("/var/cache/stack/")}
    assert len(caches) > 5


def test_what_is_asked_is_written_for_the_container_and_belongs_to_its_user(tmp_path: Path) -> None:
    engine = Engine(all_of_it)
    attempt(engine, tmp_path)
    with tarfile.open(fileobj=io.BytesIO(engine.made[0].sent)) as archive:
        (folder, file) = archive.getmembers()
        held = archive.extractfile(file)
        assert held is not None
        asked = json.load(held)
    assert asked["results"] == "/results/one.jsonl"
    assert {folder.uid, file.uid} == {int(engine.wanted[0].user.partition(":")[0])}


def test_a_disk_that_is_full_is_the_world_outside_and_nothing_is_left(tmp_path: Path) -> None:
    engine = Engine(lambda _: gone(74))
    with pytest.raises(OutsideError, match=r"full\?\); what was measured before is kept"):
        attempt(engine, tmp_path)
    assert engine.removed == 1


def test_a_line_that_is_no_result_is_told(tmp_path: Path) -> None:
    def work(file: Path) -> State:
        put(file, OPENING, {"x": 1})
        return gone()

    with pytest.raises(OutsideError, match="1 lines are no results"):
        attempt(Engine(work), tmp_path)


def test_a_run_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    def work(file: Path) -> State:
        put(file, OPENING)
        return State(running=True, code=0, out_of_memory=False)

    engine = Engine(work)
    with pytest.raises(RunLimitError) as raised:
        attempt(engine, tmp_path, until=0.0)
    assert raised.value.exit_code == 1
    assert engine.removed == 1


def test_an_engine_that_stays_away_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inside, "_PATIENCE", 0.1)
    work: Work = lambda _: gone(-1)  # noqa: E731
    with pytest.raises(EngineError, match="it is gone"):
        attempt(Engine(work), tmp_path)


def test_a_folder_that_takes_no_results_is_told_before_a_container_is_made(tmp_path: Path) -> None:
    engine: Any = Engine()
    asked = request(tmp_path / "none")
    with (
        (tmp_path / "log").open("ab") as output,
        Inside(engine, "sha256:1", KEY) as made,
        pytest.raises(OutsideError, match=r"one\.jsonl: No such file"),
    ):
        made.attempt(asked, output, tell=print, beat=nothing)


@pytest.mark.parametrize(
    ("state", "out_of_memory", "away", "reason"),
    [
        (gone(0), False, False, ""),
        (gone(1), False, False, ""),
        (gone(1), True, False, ""),  # a check ran out of memory, and the suite came to its end
        (gone(5), False, False, ""),
        (gone(74), False, False, ""),
        (gone(137), True, False, "oom"),
        (gone(137, out_of_memory=True), False, False, "oom"),
        (gone(137), False, False, "killed"),
        (gone(143), False, False, "killed"),
        (gone(2), False, False, "killed"),
        (gone(137), False, True, "runner_lost"),
        (gone(0), False, True, "runner_lost"),
        (gone(139), False, False, "harness_error"),
        (gone(70), False, False, "harness_error"),
    ],
)
def test_how_a_container_ended_says_why(
    state: State, *, out_of_memory: bool, away: bool, reason: str
) -> None:
    end = ending(state, out_of_memory=out_of_memory, away=away)
    assert (end.reason, end.code) == (reason, state.code)
    assert bool(end.text) == bool(reason)


@pytest.mark.parametrize(
    ("uid", "security", "expected"),
    [
        (1000, ("name=seccomp",), User(1000, 100, 100, 0o644)),
        (0, (), User(UID, UID, UID, 0o664)),
        (1000, ("name=seccomp", "name=rootless"), User(0, 0, 100, 0o644)),
        (1000, ("name=userns",), User(UID, UID, 100, 0o666)),
    ],
)
def test_results_stay_the_callers_and_nobody_runs_as_root(
    uid: int, security: tuple[str, ...], expected: User
) -> None:
    assert user(uid, 100, security) == expected


def test_the_file_of_results_is_made_for_who_writes_it(tmp_path: Path) -> None:
    attempt(Engine(all_of_it), tmp_path)
    told = (tmp_path / "one.jsonl").stat()
    assert told.st_uid == os.getuid()
    assert told.st_mode & 0o002 == 0


@pytest.mark.parametrize("size", [following.MOST + 1, 1 << 42])
def test_what_writes_without_end_is_ended_and_what_was_finished_before_is_kept(
    tmp_path: Path, size: int
) -> None:
    def work(file: Path) -> State:
        put(file, OPENING, result("m=1"))
        os.truncate(file, size)
        return State(running=True, code=0, out_of_memory=False)

    engine = Engine(work)
    with pytest.raises(OutsideError, match="more than 256 MiB, which are no results"):
        attempt(engine, tmp_path)
    assert engine.removed == 1
    opening, results = following.finished(tmp_path / "one.jsonl")
    assert opening is not None
    assert len(results) == 1
    assert (tmp_path / "one.jsonl").read_bytes().count(b"\0") == 0


@pytest.mark.parametrize("content", [b"\0" * (100 << 20), b"\n" * 400_000])
def test_lines_without_end_are_not_held_in_memory(tmp_path: Path, content: bytes) -> None:
    def work(file: Path) -> State:
        put(file, OPENING)
        with file.open("ab") as output:
            output.write(content)
        return gone()

    tracemalloc.start()
    try:
        with pytest.raises(OutsideError, match="lines are no results: "):
            attempt(Engine(work), tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 30 << 20
    finally:
        tracemalloc.stop()


def test_what_is_printed_without_end_is_kept_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inside, "_MOST_PRINTED", 8)
    attempt(Engine(all_of_it), tmp_path)
    attempt(Engine(all_of_it), tmp_path)
    assert (tmp_path / "log").read_bytes() == b"hello\nhe"
