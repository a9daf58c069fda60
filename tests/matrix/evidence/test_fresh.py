from __future__ import annotations

import shutil
import subprocess
from collections import namedtuple
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.errors import NotFoundError, OutsideError, ToolError
from matrix.evidence import fresh as module
from matrix.evidence.fresh import fresh

if TYPE_CHECKING:
    from tests.conftest import MakeWheel, Shelf

Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil has it


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where environments come and go; uv's cache is nobody's."""
    folder = tmp_path / "temporary"
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.delenv("UV_CACHE_DIR", raising=False)
    monkeypatch.setattr(module, "ROOM", 10**6)
    return folder


def never(seconds: float) -> None:
    raise AssertionError(f"waited {seconds} s")


def versions(python: Path) -> dict[str, str]:
    asked = (
        "import importlib.metadata as m\n"
        "for each in m.distributions(): print(each.name, each.version)"
    )
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True)
    return dict(line.split() for line in told.stdout.splitlines())


def test_a_release_is_there_with_what_it_requires_and_gone_afterwards(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel
) -> None:
    shelf.add(make_wheel("lead", "1.0", {"lead.py": b"x = 1"}, requires=["part"]))
    shelf.add(make_wheel("part", "2.0"))
    with fresh("lead==1.0", wait=never) as made:
        assert versions(made.python) == {"lead": "1.0", "part": "2.0"}
        assert made.size > 5
        assert made.seconds > 0
        assert made.python.is_relative_to(temporary)
    assert list(temporary.iterdir()) == []


def test_it_goes_too_when_asking_fails(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel
) -> None:
    shelf.add(make_wheel("lead", "1.0"))
    with pytest.raises(KeyboardInterrupt), fresh("lead==1.0", wait=never):
        raise KeyboardInterrupt
    assert list(temporary.iterdir()) == []


def test_a_cache_that_is_named_stays(
    temporary: Path,
    shelf: Shelf,
    make_wheel: MakeWheel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    shelf.add(make_wheel("lead", "1.0"))
    with fresh("lead==1.0", wait=never):
        pass
    assert (tmp_path / "cache").is_dir()
    assert list(temporary.iterdir()) == []


def test_certificates_may_be_of_any_version(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel
) -> None:
    del temporary
    shelf.add(make_wheel("lead", "1.0", requires=["certifi>=2026.10.19", "cuda-python"]))
    shelf.add(make_wheel("certifi", "2026.1.1"))
    shelf.add(make_wheel("cuda-python", "12.6.2"))
    shelf.add(make_wheel("cuda-python", "12.9.0"))
    with fresh("lead==1.0", wait=never) as made:
        assert versions(made.python)["certifi"] == "2026.1.1"
        assert versions(made.python)["cuda-python"] == "12.9.0"


def test_a_folder_of_ones_own_wheels_is_left_out(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    del temporary
    shelf.add(make_wheel("lead", "1.0"))
    own = make_wheel("lead", "1.0+own")
    monkeypatch.setenv("PIP_FIND_LINKS", str(own.parent))
    with fresh("lead==1.0", wait=never) as made:
        assert versions(made.python) == {"lead": "1.0"}


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    temporary: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROOM", 14 * 10**9)
    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage(10**12, 10**12, 13_900_000_000))
    told = r"has 13\.9 GB free, and .* needs 14 GB"
    with pytest.raises(OutsideError, match=told), fresh("lead==1.0", wait=never):
        pass
    assert shelf.asked == []
    assert list(temporary.iterdir()) == []


def test_what_has_no_solution_is_not_tried_again(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel
) -> None:
    shelf.add(make_wheel("lead", "1.0", requires=["part==9"]))
    shelf.add(make_wheel("part", "2.0"))
    with pytest.raises(NotFoundError, match="part==9"), fresh("lead==1.0", wait=never):
        pass
    assert list(temporary.iterdir()) == []


def test_an_index_that_fails_is_asked_three_times(temporary: Path, shelf: Shelf) -> None:
    shelf.page = 500, "text/plain", b""
    waited: list[float] = []
    with pytest.raises(ToolError), fresh("lead==1.0", wait=waited.append):
        pass
    assert waited == [5.0, 10.0]
    assert list(temporary.iterdir()) == []


def test_an_index_that_recovers_is_enough(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel
) -> None:
    del temporary
    shelf.add(make_wheel("lead", "1.0"))
    shelf.page = 500, "text/plain", b""

    def recover(_: float) -> None:
        shelf.page = None

    with fresh("lead==1.0", wait=recover) as made:
        assert versions(made.python) == {"lead": "1.0"}


def test_a_stop_while_it_is_removed_waits_for_the_end(
    temporary: Path, shelf: Shelf, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.add(make_wheel("lead", "1.0"))
    remove, stops = shutil.rmtree, [KeyboardInterrupt(), SystemExit(143)]

    def stopped(folder: Path) -> None:
        if stops:
            raise stops.pop()
        remove(folder)

    with pytest.raises(KeyboardInterrupt), fresh("lead==1.0", wait=never):
        monkeypatch.setattr("shutil.rmtree", stopped)
    assert list(temporary.iterdir()) == []
