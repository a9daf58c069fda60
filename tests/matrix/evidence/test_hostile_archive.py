"""What a hostile zip file may not do, beside what `test_archive.py` says of whole ones."""

from __future__ import annotations

import struct
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.errors import BrokenWheelError
from matrix.evidence.archive import Archive, objection
from matrix.evidence.reader import FileReader


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("a\x1b[31m", "control"),
        ("a\nb", "control"),
        ("a\x9b31m", "control"),
        ("a\u202eb", "control"),
        ("a\u2028b", "control"),
        ("a\udcffb", "control"),
        ("x" * 256, "longer"),
        ("a/" + "ü" * 128 + "/b", "longer"),
    ],
)
def test_a_name_that_speaks_to_the_terminal_or_fits_no_disk_is_refused(
    name: str, problem: str
) -> None:
    assert problem in objection(name)
    assert objection("x" * 255) == ""


@given(st.text(st.sampled_from("ab./\\:\0\n\x1b\u202e~ ü"), max_size=12))
def test_whatever_is_taken_stays_below_its_folder_and_on_its_line(name: str) -> None:
    if objection(name):
        return
    folder = Path("/some/where")
    assert (folder / name).is_relative_to(folder)
    assert ".." not in (folder / name).parts
    assert not any(unicodedata.category(each).startswith("C") for each in name)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.whl"


def write(path: Path, name: str, content: bytes, method: int) -> bytes:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(zipfile.ZipInfo(name), content, method)
    return path.read_bytes()


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_method_that_wheels_do_not_use_is_named(path: Path, method: int) -> None:
    write(path, "a", b"x" * 100, method)
    with pytest.raises(BrokenWheelError, match=f"a is compressed by method {method}"):
        list(Archive(FileReader(path)).chunks("a"))


def test_an_encrypted_member_is_refused(path: Path) -> None:
    content = bytearray(write(path, "a", b"x" * 100, zipfile.ZIP_STORED))
    content[6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(BrokenWheelError, match="a is encrypted"):
        list(Archive(FileReader(path)).chunks("a"))


def test_a_size_that_no_deflate_reaches_is_refused_before_anything_is_inflated(path: Path) -> None:
    content = write(path, "a", b"x" * 100, zipfile.ZIP_DEFLATED)
    path.write_bytes(content.replace(struct.pack("<I", 100), struct.pack("<I", 1 << 30)))
    with pytest.raises(BrokenWheelError, match="a claims to be 1073741824 bytes"):
        next(Archive(FileReader(path)).chunks("a"))


def test_a_name_that_its_flag_says_is_utf_8_and_is_not_is_refused(path: Path) -> None:
    content = write(path, "ü", b"x", zipfile.ZIP_STORED)
    path.write_bytes(content.replace("ü".encode(), b"\xff\xfe"))
    with pytest.raises(BrokenWheelError) as caught:
        Archive(FileReader(path))
    assert str(caught.value).isprintable()
