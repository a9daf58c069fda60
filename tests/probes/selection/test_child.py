from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probes.selection import child


def run(work: dict[str, Callable[[], Any]], scratch: Path) -> dict[str, tuple[Any, str]]:
    return {key: (told, wrong) for key, told, wrong in child.in_children(work, str(scratch), 2)}


def test_each_answer_comes_from_a_process_of_its_own(tmp_path: Path) -> None:
    found = run(dict.fromkeys("abc", os.getpid), tmp_path)
    processes = {told for told, _ in found.values()}
    assert len(processes) == 3
    assert os.getpid() not in processes


def test_a_child_that_dies_is_told_and_the_others_answer(tmp_path: Path) -> None:
    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def fail() -> None:
        raise KeyError("two\nlines")

    def leave() -> None:
        os._exit(3)

    found = run({"die": die, "fail": fail, "leave": leave, "well": lambda: 1}, tmp_path)
    assert found == {
        "die": (None, "the interpreter was ended by SIGKILL"),
        "fail": (None, r"KeyError: 'two\nlines'"),
        "leave": (None, "the interpreter ended with exit code 3"),
        "well": (1, ""),
    }


def test_a_child_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "PATIENCE", 0.2)
    started = time.monotonic()
    found = run({"hang": lambda: time.sleep(60), "well": lambda: 1}, tmp_path)
    assert time.monotonic() - started < 20
    assert found["hang"] == (None, "no answer within 0 s")
    assert found["well"] == (1, "")
