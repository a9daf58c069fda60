from __future__ import annotations

import os
import posixpath
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import BrokenWheelError
from matrix.evidence import archive
from matrix.evidence.archive import Archive, objection
from matrix.evidence.reader import FileReader

CONTENT = b"abcdefgh" * 5000


def make(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.whl"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pkg/a.py", ""),
        ("pkg/a:b.py", ""),
        ("pkg/...", ""),
        ("pkg/.hidden", ""),
        ("pkg/", ""),
        ("a b/ü.py", ""),
        ("", "is absolute"),
        ("/", "is absolute"),
        ("/etc/passwd", "is absolute"),
        ("a\\b", "holds a backslash"),
        ("a\0b", "is absolute or holds"),
        ("C:/x", "drive letter"),
        ("c:x", "drive letter"),
        ("..", "leaves the wheel"),
        ("../x", "leaves the wheel"),
        ("a/../../x", "leaves the wheel"),
        ("a/./x", "leaves the wheel"),
        ("a//x", "leaves the wheel"),
        ("a/..", "leaves the wheel"),
        ("a//", "leaves the wheel"),
    ],
)
def test_a_name_that_is_no_place_in_the_wheel_is_objected_to(name: str, wrong: str) -> None:
    assert bool(objection(name)) == bool(wrong)
    assert wrong in objection(name)


@given(st.lists(st.sampled_from(["a", "..", ".", "", "/", "\\", "C:", "~", "b.py"])).map("/".join))
def test_what_is_not_objected_to_stays_inside_any_folder(name: str) -> None:
    if not objection(name):
        joined = posixpath.normpath(posixpath.join("/folder", name))
        assert joined.startswith("/folder/")
        assert "\\" not in name


def test_members_are_told_in_the_order_in_which_they_lie_without_folders(path: Path) -> None:
    make(path, {"z.py": b"1", "pkg/": b"", "pkg/a.py": b"22", "b": b""})
    found = Archive(FileReader(path)).members()
    assert [(name, held.size) for name, held in found.items()] == [
        ("z.py", 1),
        ("pkg/a.py", 2),
        ("b", 0),
    ]


def test_a_stored_member_has_its_size_as_compressed_size(path: Path) -> None:
    held = Archive(FileReader(make(path, {"a": CONTENT}, zipfile.ZIP_STORED))).members()["a"]
    assert held.compressed == held.size == len(CONTENT)
    held = Archive(FileReader(make(path, {"a": CONTENT}))).members()["a"]
    assert held.compressed < held.size == len(CONTENT)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("step", [1, 7, 4096, 1 << 20])
def test_a_member_inflates_to_itself_in_steps_of_any_size(
    path: Path, monkeypatch: pytest.MonkeyPatch, method: int, step: int
) -> None:
    monkeypatch.setattr(archive, "_STEP", step)
    held = Archive(FileReader(make(path, {"a": CONTENT, "b": b"", "c": b"x"}, method)))
    chunks = list(held.chunks("a"))
    assert b"".join(chunks) == CONTENT
    if method == zipfile.ZIP_DEFLATED:
        assert max(map(len, chunks)) <= step
    assert b"".join(held.chunks("b")) == b""
    assert b"".join(held.chunks("c")) == b"x"


def test_the_crc_is_checked_at_the_end_and_what_came_before_was_handed_over(path: Path) -> None:
    make(path, {"a": CONTENT}, zipfile.ZIP_STORED)
    text = path.read_bytes()
    at = text.index(CONTENT) + len(CONTENT) - 1
    path.write_bytes(text[:at] + b"X" + text[at + 1 :])
    chunks = Archive(FileReader(path)).chunks("a")
    with pytest.raises(BrokenWheelError, match="a is damaged"):
        for _ in chunks:
            pass


def test_bytes_behind_the_end_of_a_stream_are_refused(path: Path) -> None:
    """A deflated stream that ends early leaves room for what nobody who inflates it would see."""
    content = make(path, {"a": CONTENT}).read_bytes()
    with zipfile.ZipFile(path) as file:
        room = file.getinfo("a").compress_size
    packed = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    short = packed.compress(b"x") + packed.flush()
    start = content.index(b"a", 30) + 1
    path.write_bytes(content[:start] + short.ljust(room, b"!") + content[start + room :])
    with pytest.raises(BrokenWheelError, match="another length"):
        list(Archive(FileReader(path)).chunks("a"))


def test_chunks_that_are_closed_early_let_go_of_the_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Archive(FileReader(make(path, {"a": os.urandom(3_000_000)})))
    opened: list[IO[Any]] = []
    real = Path.open

    def recorded(self: Path, mode: str = "r") -> IO[Any]:
        opened.append(real(self, mode))
        return opened[-1]

    monkeypatch.setattr(Path, "open", recorded)
    chunks = held.chunks("a")
    assert next(chunks)
    assert [file.closed for file in opened] == [False]
    chunks.close()
    assert [file.closed for file in opened] == [True]
