from __future__ import annotations

import threading
from pathlib import Path

import pytest

from images import alone, gpu


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lock").mkdir()
    (tmp_path / "lock").chmod(0o1777)
    monkeypatch.setattr(gpu, "LOCKS", (tmp_path / "lock",))
    monkeypatch.setattr(alone, "_STEP", 0.01)


def test_the_same_is_built_once_at_a_time_on_a_machine() -> None:
    order: list[str] = []
    waits = threading.Event()

    def second() -> None:
        def tell(line: str) -> None:
            order.append(line)
            waits.set()

        with alone.alone_here("f" * 64, tell):
            order.append("second")

    with alone.alone_here("f" * 64, order.append):
        other = threading.Thread(target=second)
        other.start()
        assert waits.wait(10)
        order.append("first")
    other.join(10)
    assert order == ["another build of the same is running; waiting for it", "first", "second"]


def test_others_do_not_wait() -> None:
    told: list[str] = []
    with alone.alone_here("a" * 64, told.append), alone.alone_here("b" * 64, told.append):
        assert told == []
