from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import ConfigurationError, OutsideError
from matrix.journal import LONGEST, Journal, decode
from matrix.result import Metric, Probe, Result
from tests.matrix.test_proberun import opening
from tests.matrix.test_proberun import result as ran


def result(run: str = "one", **changes: Any) -> Result:
    made: dict[str, Any] = {
        "stack": "vllm==0.33.0",
        "target": "sm121",
        "machine": "aarch64",
        "capability": "serve",
        "probe": Probe(name="serve", sha256="0" * 64),
        "kernels": ("k",),
        "status": "pass",
        "metrics": {"output_throughput": Metric(value=1.5, unit="tok/s")},
        "when": "2026-11-21T03:00:00Z",
        "run": run,
    }
    return Result(**{**made, **changes})


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "results")
    assert journal.read() == ((), (), ())
    paths = journal.append([result(), result("two"), result(backend="b")])
    journal.append([result(backend="c")])
    assert [path.name for path in paths] == ["one.jsonl", "two.jsonl"]
    read, complaints, _ = journal.read()
    assert [(each.run, each.backend) for each in read] == [
        ("one", ""),
        ("one", "b"),
        ("one", "c"),
        ("two", ""),
    ]
    assert complaints == ()


@given(cut=st.integers(0, 2000))
def test_a_crash_anywhere_in_the_last_line_leaves_what_was_before_and_is_told(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder)
    (path,) = journal.append([result(backend="first"), result(backend="last")])
    content = path.read_bytes()
    first = content.index(b"\n") + 1
    cut = first + cut % (len(content) - first)
    path.write_bytes(content[:cut])
    read, complaints, _ = journal.read()
    assert [each.backend for each in read] == ["first"]
    assert len(complaints) == (cut != first)
    journal.append([result(backend="after")])
    read, complaints, _ = journal.read()
    assert [each.backend for each in read] == [
        "first",
        *(["last"] if cut == len(content) - 1 else []),  # only its newline was missing
        "after",
    ]
    assert all(complaint.startswith(f"{path}:2: left out: ") for complaint in complaints)
    assert len(complaints) == (first < cut < len(content) - 1)


def test_damage_is_told_by_file_and_line_and_the_rest_kept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (path,) = journal.append([result(backend=str(n)) for n in range(4)])
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\xff\0\x1b[31m{\n"
    lines[2] = lines[2].replace(b'"pass"', b'"perfect"')
    lines.insert(0, b"x" * (LONGEST + 5) + b"\n")
    lines.insert(0, b"[" * 100_000 + b"\n")
    path.write_bytes(b"".join(lines))
    read, complaints, _ = journal.read()
    assert [each.backend for each in read] == ["0", "3"]
    assert [complaint.split(": left out: ")[0] for complaint in complaints] == [
        f"{path}:{n}" for n in (1, 2, 4, 5)
    ]
    assert "the line is too long" in complaints[1]


def test_a_line_that_stands_twice_counts_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    (path,) = journal.append([result()])
    path.write_bytes(path.read_bytes() * 2)
    assert len(journal.read().results) == 1


def test_a_file_speaks_for_its_own_run_alone(tmp_path: Path) -> None:
    """What ran in a container wrote it, and may lie."""
    journal = Journal(tmp_path)
    (path,) = journal.append([result()])
    forged = tmp_path / "another.jsonl"
    forged.write_bytes(path.read_bytes())
    read, complaints, _ = journal.read()
    assert len(read) == 1
    assert complaints == (f"{forged}:1: left out: it is of run {path.stem}",)


def test_a_run_speaks_for_its_own_cell_alone(tmp_path: Path) -> None:
    run = opening("m=1", "m=2")
    mine, theirs = ran("m=1"), ran("m=2", stack="vllm==0.32.0")
    lines = [msgspec.json.encode(each) + b"\n" for each in (run, mine, theirs)]
    (tmp_path / f"{run.run}.jsonl").write_bytes(b"".join(lines))
    read, complaints, _ = Journal(tmp_path).read()
    assert [(each.load, each.status) for each in read] == [
        (("m=1",), "pass"),
        (("m=2",), "missing"),
    ]
    assert complaints == (
        f"{tmp_path}/{run.run}.jsonl:3: left out: it is of vllm==0.32.0 on sm121, and its run is not",
    )


def test_appending_at_once_mixes_no_lines(tmp_path: Path) -> None:
    journal = Journal(tmp_path)

    def write(name: str) -> None:
        for n in range(20):
            journal.append([result(backend=f"{name}{n}"), result(backend=f"{name}{n}+")])

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    read, complaints, _ = journal.read()
    assert (len(read), complaints) == (160, ())


def test_a_write_that_comes_in_parts_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, bytes(data)[:7]))
    journal = Journal(tmp_path)
    journal.append([result()])
    assert journal.read().results == (result(),)


def test_results_are_on_the_disk_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    Journal(tmp_path).append([result()])
    assert len(synced) == 1


@pytest.mark.parametrize("run", ["", "../x", "a/b", ".hidden", "a" * 101, "a\n", "ä"])
def test_a_run_that_is_no_file_name_is_refused(tmp_path: Path, run: str) -> None:
    with pytest.raises(ValueError, match="no name of a run"):
        Journal(tmp_path / "results").append([result(run)])
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_is_told(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x", "utf-8")
    with pytest.raises(ConfigurationError, match="is no folder of results"):
        Journal(file).read()
    with pytest.raises(OutsideError, match=r"file/one\.jsonl: "):
        Journal(file).append([result()])


@given(st.binary(max_size=300))
def test_no_line_does_more_than_raise_a_value_error(line: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode(line), Result)


def test_decoding_is_the_inverse_of_encoding() -> None:
    assert decode(msgspec.json.encode(result()) + b"\n") == result()
