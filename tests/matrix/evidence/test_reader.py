from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrix.errors import BrokenWheelError, DeliveryError
from matrix.evidence import reader
from matrix.evidence.reader import CHUNK, FileReader

CONTENT = bytes(range(256)) * 8
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 3000), st.just(0)),
        st.tuples(st.just("seek"), st.integers(-3000, 3000), st.sampled_from([0, 1, 2])),
        st.tuples(st.just("tell"), st.just(0), st.just(0)),
    ),
    max_size=12,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "x.whl"
    path.write_bytes(CONTENT)
    return path


def move(file: io.RawIOBase | io.BytesIO, kind: str, number: int, whence: int) -> object:
    """Make one move; moves before the start are refused by all files, each in its own words."""
    try:
        if kind == "read":
            return file.read(number)
        return file.seek(number, whence) if kind == "seek" else file.tell()
    except (ValueError, OSError):
        return "refused"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(MOVES)
def test_it_moves_and_reads_as_python_s_files_do(
    path: Path, moves: list[tuple[str, int, int]]
) -> None:
    ours, theirs = FileReader(path), io.BytesIO(CONTENT)
    for each in moves:
        if each[0] == "seek" and each[1] < 0:
            base = {0: 0, 1: theirs.tell(), 2: len(CONTENT)}[each[2]]
            if base + each[1] < 0:  # BytesIO stops at the start where a real file refuses
                assert move(ours, *each) == "refused"
                continue
        assert move(ours, *each) == move(theirs, *each)


def test_it_can_be_read_and_sought_and_not_written(path: Path) -> None:
    with FileReader(path) as file:
        assert file.readable()
        assert file.seekable()
        assert not file.writable()
        assert file.bytes_fetched == 0
        assert file.read_at(10, 20) == CONTENT[10:20]


def test_a_large_range_comes_in_chunks(path: Path) -> None:
    path.write_bytes(os.urandom(3 * CHUNK + 5))
    lengths = [len(chunk) for chunk in FileReader(path).stream(1, 3 * CHUNK + 5)]
    assert lengths == [CHUNK, CHUNK, CHUNK, 4]


def test_one_read_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "LARGEST_READ", 100)
    with pytest.raises(BrokenWheelError, match="asks for 2048 bytes of directory"):
        FileReader(path).read()
    assert len(FileReader(path).read(100)) == 100


def test_a_file_that_shrinks_while_it_is_read_is_noticed(path: Path) -> None:
    file = FileReader(path)
    path.write_bytes(b"short")
    with pytest.raises(BrokenWheelError, match=r"/x\.whl: ends early"):
        file.read()


def test_a_file_that_goes_while_it_is_read_is_named(path: Path) -> None:
    file = FileReader(path)
    path.unlink()
    with pytest.raises(BrokenWheelError, match=r"/x\.whl: No such file"):
        file.read()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenWheelError, match="no such file"):
        FileReader(tmp_path)


def test_the_failure_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DeliveryError):
        FileReader(tmp_path / "none", failure=DeliveryError)
