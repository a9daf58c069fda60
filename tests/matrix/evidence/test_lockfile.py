from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from matrix.errors import ConfigurationError, OutsideError
from matrix.evidence.lockfile import Lock, check_place, differences
from matrix.wholefile import write

TEXT = """\
# vllm==0.33.0 for sm121
torch==2.14.0+cu130 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
    # via vllm
Vllm[flashinfer]==0.33.0 \\
    --hash=sha256:cc
    # via -r stack.in
"""


def test_versions_are_those_of_the_pinned_lines() -> None:
    lock = Lock(text=TEXT, glibc="2.28")
    assert lock.versions == {"torch": "2.14.0+cu130", "vllm": "0.33.0"}
    assert lock.unhashed == ()


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("triton==3.8.0\n    # via torch\n", "triton"),
        ("triton @ file:///triton.whl\n", "triton"),
        ("--index-url=x\n", "--index-url=x"),
        ("./triton.whl\n", "./triton.whl"),
    ],
)
def test_a_line_without_a_hash_or_of_another_form_is_named(line: str, name: str) -> None:
    assert Lock(text=TEXT + line, glibc="2.28").unhashed == (name,)


def test_differences_tell_another_version_and_an_absent_package() -> None:
    judged = {"vllm": "0.33.0", "torch": "2.14.0", "triton": "3.8.0", "flashinfer-python": ""}
    locked = {"vllm": "0.33.0", "torch": "2.14.0+cpu", "numpy": "2.0"}
    assert list(differences(locked, judged)) == [
        "torch 2.14.0+cpu, judged with 2.14.0",
        "triton absent, judged with 3.8.0",
    ]


def test_a_lock_is_written_whole_and_readable_by_others(tmp_path: Path) -> None:
    file = tmp_path / "requirements.txt"
    write(file, TEXT.encode())
    write(file, (TEXT + "# again\n").encode())
    assert file.read_text("utf-8") == TEXT + "# again\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("error", [OSError(28, os.strerror(28)), KeyboardInterrupt()])
def test_what_stops_the_writing_leaves_the_old_lock_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text("old", "utf-8")

    def stop(self: object, text: str) -> int:
        del self, text
        raise error

    monkeypatch.setattr(tempfile._TemporaryFileWrapper, "write", stop, raising=False)
    kind = OutsideError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(kind) as told:
        write(file, TEXT.encode())
    if kind is OutsideError:
        assert str(told.value) == f"{file}: No space left on device"
    assert file.read_text("utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OutsideError, match="Is a directory"):
        write(folder, TEXT.encode())
    assert list(tmp_path.rglob("*")) == [folder]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_place(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, TEXT.encode())
    assert os.read(reader, 10_000).decode() == TEXT
    os.close(reader)
    assert pipe.is_fifo()


def test_a_device_is_written_as_it_is() -> None:
    check_place(Path("/dev/null"))
    write(Path("/dev/null"), TEXT.encode())
    assert Path("/dev/null").is_char_device()
    with pytest.raises(OutsideError, match="/dev/full: No space left on device"):
        write(Path("/dev/full"), TEXT.encode())


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is a folder; name a file"),
        ("none/requirements.txt", "no folder to write that file into"),
        ("file/requirements.txt", "no folder to write that file into"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused_before_anything_is_done(
    tmp_path: Path, name: str, problem: str
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / name
    with pytest.raises(ConfigurationError) as told:
        check_place(path)
    assert str(told.value) == f"{path}: {problem}"


def test_a_folder_that_must_not_be_written_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The superuser may write anywhere, so the system's answer is given here.
    denied = (tmp_path, Path("/dev"))
    monkeypatch.setattr(os, "access", lambda path, mode: path not in denied or mode != os.W_OK)
    with pytest.raises(ConfigurationError, match="cannot be written to"):
        check_place(tmp_path / "requirements.txt")
    check_place(Path("/dev/null"))
