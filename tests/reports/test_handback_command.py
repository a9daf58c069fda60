from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("results", "kept"):
        (tmp_path / name).mkdir()
    return tmp_path


ASKED = ("handback", "--results", "results", "--before", "kept", "--output", "back")


def test_what_is_new_or_went_on_is_handed_back_and_nothing_else(
    folders: Path, command: Command
) -> None:
    for name, before, now in (
        ("same", "1\n", "1\n"),
        ("longer", "1\n", "1\n2\n"),
        ("new", None, "1\n"),
    ):
        if before is not None:
            (folders / "kept" / f"{name}.jsonl").write_text(before)
        (folders / "results" / f"{name}.jsonl").write_text(now)
    (folders / "results" / "new.log").write_text("no result")
    assert command(*ASKED) == (0, "2 runs are new, or went on\n", "")
    assert {path.name: path.read_text() for path in (folders / "back").iterdir()} == {
        "longer.jsonl": "1\n2\n",
        "new.jsonl": "1\n",
    }


def test_a_job_that_was_handed_nothing_hands_back_all(folders: Path, command: Command) -> None:
    (folders / "kept").rmdir()
    (folders / "results" / "a.jsonl").write_text("1\n")
    assert command(*ASKED)[:2] == (0, "1 runs are new, or went on\n")


def test_no_folder_is_one_line_and_exit_2(folders: Path, command: Command) -> None:
    (folders / "results").rmdir()
    code, _, err = command(*ASKED)
    assert (code, err) == (2, "nvfp4-matrix: --results results: is no folder\n")
