from __future__ import annotations

import errno
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from probes import lines
from probes.case import Case
from probes.finding import Finding
from probes.request import Request

REQUEST = Request(
    run="r", stack="s", target="sm121", machine="aarch64", subject="x", results="r.jsonl"
)
CASE = Case("correctness.gemm", "gemm", "cutlass", {"m": 1})


def read(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_a_line_is_added_to_those_before(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    for number in range(3):
        lines.append(str(file), {"n": number})
    assert read(file) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_half_line_of_an_earlier_crash_is_ended_first(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text('{"n": 0}\n{"n": ', encoding="utf-8")
    lines.append(str(file), {"n": 1})
    assert file.read_text(encoding="utf-8") == '{"n": 0}\n{"n": \n{"n": 1}\n'


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one page; only root can mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(where)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield where
    subprocess.run(["umount", str(where)], check=True)


def test_a_full_disk_is_told_and_what_stood_there_is_kept(full_disk: Path) -> None:
    file = full_disk / "r.jsonl"
    lines.append(str(file), {"n": 0})
    with pytest.raises(OSError, match="No space left"):
        lines.append(str(file), {"n": "x" * 10_000})
    assert read(file) == [{"n": 0}]
    lines.append(str(file), {"n": 1})
    assert read(file) == [{"n": 0}, {"n": 1}]


def test_a_device_that_takes_nothing_says_so() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        lines.append("/dev/full", {"n": 0})
    assert caught.value.errno == errno.ENOSPC


def test_a_stop_between_two_halves_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "r.jsonl"
    lines.append(str(file), {"n": 0})
    write = os.write

    def half(handle: int, content: bytes) -> int:
        write(handle, bytes(content)[:4])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", half)
        with pytest.raises(KeyboardInterrupt):
            lines.append(str(file), {"n": 1})
    assert read(file) == [{"n": 0}]


@example(text="\ud800", kernel="\udc80")
@given(text=st.text(st.characters(codec=None)), kernel=st.text(st.characters(codec=None)))
def test_whatever_a_package_says_becomes_one_line_of_json(text: str, kernel: str) -> None:
    found = Finding(status="fail", reason="failed", text=text, kernels=(kernel,), advertised=kernel)
    told = lines.result(REQUEST, CASE, "0" * 64, found)
    with tempfile.NamedTemporaryFile() as file:
        lines.append(file.name, told)
        content = file.read()
    assert content.count(b"\n") == 1
    assert len(json.loads(content)["text"]) <= lines.MOST_TEXT


def test_kernels_are_told_without_control_characters_and_not_without_end() -> None:
    many = ("a\x1b[31m\nb" + "x" * 5000, *(f"k{number}" for number in range(200_000)))
    found = Finding(status="fail", reason="failed", kernels=many)
    told = lines.result(REQUEST, CASE, "0" * 64, found)["kernels"]
    assert told[0].startswith("a [31m bxxx")
    assert len(told[0]) == lines.MOST_TEXT
    assert (len(told), told[-1]) == (lines.MOST_KERNELS + 1, "… 199901 more")


def test_a_file_that_was_removed_is_not_begun_anew(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lines.append(str(tmp_path / "r.jsonl"), {"n": 0}, create=False)
    assert not list(tmp_path.iterdir())


def test_a_result_says_where_it_belongs_and_what_was_found() -> None:
    found = Finding(
        status="pass", metrics={"error": (0.5, "1")}, kernels=("k",), durations={"first": 0.25}
    )
    told = lines.result(REQUEST, CASE, "0" * 64, found)
    assert (told["run"], told["stack"], told["target"], told["machine"]) == (
        "r",
        "s",
        "sm121",
        "aarch64",
    )
    assert told["probe"] == {"name": "correctness.gemm", "sha256": "0" * 64}
    assert told["load"] == ("m=1",)
    assert told["metrics"] == {"error": {"value": 0.5, "unit": "1"}}
    assert told["durations"] == {"first": 0.25}


def test_the_opening_names_every_case_that_is_planned() -> None:
    told = lines.opening(REQUEST, [(CASE, "0" * 64)], {"python": "3"})
    assert told["record"] == "run"
    assert told["planned"] == [
        {
            "probe": {"name": "correctness.gemm", "sha256": "0" * 64},
            "capability": "gemm",
            "backend": "cutlass",
            "load": ("m=1",),
        }
    ]
