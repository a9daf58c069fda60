"""The command line against a world that fails: one line, the right exit code, nothing left behind."""

from __future__ import annotations

import json
import random
import resource
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from matrix.evidence import remote

if TYPE_CHECKING:
    from tests.conftest import Command, MakeWheel, Shelf

pytestmark = pytest.mark.e2e

NOISE = random.Random(0).randbytes(400_000)
OBJECT = b"cvt_fp16_to_fp4"
"""Holds the name of a kernel of ours, and cuobjdump calls it an invalid fat binary."""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which every command leaves as it was."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def wheel(make_wheel: MakeWheel) -> Path:
    return make_wheel("pkg", "1.0", {"pkg/_C.so": NOISE})


def refuse(told: tuple[int, str, str], code: int) -> str:
    """Demand one line on stderr and nothing on stdout; return the line."""
    assert told[0] == code
    assert told[1] == ""
    assert told[2].startswith("nvfp4-matrix: ")
    assert told[2].count("\n") == 1
    assert told[2][:-1].isprintable()
    return told[2][:-1].removeprefix("nvfp4-matrix: ")


def test_a_package_and_a_version_that_the_index_lacks(
    shelf: Shelf, wheel: Path, command: Command
) -> None:
    shelf.add(wheel)
    line = refuse(command("audit", "vlm==1.0"), 2)
    assert line == f"vlm is not in {shelf.base}/simple; did you mean vllm?"
    line = refuse(command("audit", "pkg==1.1"), 2)
    assert line == "pkg 1.1 is not there; the nearest: 1.0"


@pytest.mark.parametrize("asked", ["audit pkg==1.0", "refresh --list"])
@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ((500, "text/plain", b""), "answers 500"),
        ((200, "text/plain", b"hello"), "answers in no form of an index (text/plain)"),
        ((200, "text/html", b"<form>log in</form>"), "answers HTML that lists no files"),
        ((200, "application/json", b"[1]"), "answers no index page"),
        ((200, "application/json", b'{"meta": {}}'), "answers"),
        ((200, "application/json", b"\xff"), "answers no index page"),
    ],
)
def test_an_index_that_answers_no_index_page(
    shelf: Shelf, command: Command, asked: str, page: tuple[int, str, bytes], problem: str
) -> None:
    shelf.page = page
    line = refuse(command(*asked.split()), 3)
    assert line.startswith(f"{shelf.base}/simple/")
    assert problem in line


def test_an_index_that_nobody_listens_at(
    shelf: Shelf, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shelf
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    line = refuse(command("audit", "pkg==1.0"), 3)
    assert line == "http://127.0.0.1:9/simple/pkg/: cannot be reached, or cuts the connection"


@pytest.mark.parametrize("url", ["nonsense", "ftp://host/simple", "http://host:99999/simple"])
def test_an_index_that_is_no_url(
    shelf: Shelf, command: Command, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    assert shelf
    monkeypatch.setenv("PIP_INDEX_URL", url)
    line = refuse(command("audit", "pkg==1.0"), 3)
    assert line == f"{url}/pkg/: no URL that can be read"


@pytest.mark.parametrize("what", ["pages", "hang"])
def test_an_index_or_a_file_that_hangs_ends_by_the_timeout_that_pip_was_told(
    shelf: Shelf, wheel: Path, command: Command, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    shelf.add(wheel)
    getattr(shelf, what).clear()
    monkeypatch.setenv("PIP_TIMEOUT", "0.2")
    line = refuse(command("audit", "pkg==1.0"), 3)
    assert line.startswith(f"{shelf.base}/")
    assert line.endswith(": no answer in time (see pip's --timeout)")


def test_a_transfer_that_is_cut_in_a_member_goes_on_where_it_stopped(
    shelf: Shelf, wheel: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(remote, "ATTEMPTS", 2)
    url = shelf.add(wheel)
    whole = json.loads(command("audit", url, "--json")[1])
    shelf.only_range, shelf.cuts = True, 1
    code, out, _ = command("audit", url, "--json")
    assert (code, json.loads(out)) == (0, whole)
    assert shelf.cuts == 0
    shelf.cuts = 100
    line = refuse(command("audit", url), 3)
    assert line.startswith(f"{url}: the transfer stopped 2 times: ")


def test_a_server_without_ranges_is_read_whole(shelf: Shelf, wheel: Path, command: Command) -> None:
    url = shelf.add(wheel)
    whole = json.loads(command("audit", url, "--json")[1])
    shelf.ranges = False
    code, out, _ = command("audit", url, "--json")
    assert code == 0
    read = json.loads(out)
    assert read.pop("bytes_fetched") == len(shelf.wheels[wheel.name])
    whole.pop("bytes_fetched")
    assert read == whole


def both(shelf: Shelf, command: Command, path: Path) -> str:
    """Read a broken wheel from disk and from the index; return what both say of it."""
    line = refuse(command("audit", path), 2)
    assert line.startswith(f"{path}: ")
    url = shelf.add(path)
    served = refuse(command("audit", url), 3)
    assert served == line.replace(str(path), url)
    return line.removeprefix(f"{path}: ")


def test_a_wheel_whose_directory_is_cut_off(shelf: Shelf, wheel: Path, command: Command) -> None:
    wheel.write_bytes(wheel.read_bytes()[:-30])
    assert both(shelf, command, wheel).startswith("is no whole zip file")


def test_a_member_that_is_not_what_record_states(
    shelf: Shelf, make_wheel: MakeWheel, command: Command
) -> None:
    path = make_wheel("pkg", "1.0", {"pkg/_C.so": NOISE}, recorded={"pkg/_C.so": b"else"})
    assert both(shelf, command, path) == "pkg/_C.so is not what RECORD states (sha256 differs)"


def test_a_wheel_without_metadata(shelf: Shelf, wheel: Path, command: Command) -> None:
    wheel.write_bytes(wheel.read_bytes().replace(b"METADATA", b"METADATB"))
    assert both(shelf, command, wheel) == "holds no METADATA"


def test_a_member_that_unpacks_to_more_than_it_says(
    shelf: Shelf, make_wheel: MakeWheel, command: Command
) -> None:
    path = make_wheel("pkg", "1.0", {"pkg/_C.so": bytes(50_000_000)})
    stated = struct.pack("<I", 50_000_000)
    path.write_bytes(path.read_bytes().replace(stated, struct.pack("<I", 1_000_000)))
    told = both(shelf, command, path)
    assert told == "pkg/_C.so inflates to more than the 1000000 bytes it states"


def test_a_huge_metadata_is_not_read_into_memory(
    shelf: Shelf, make_wheel: MakeWheel, command: Command
) -> None:
    path = make_wheel("pkg", "1.0", metadata=b"Name: pkg\n\n" + bytes(70_000_000))
    assert "more than the 67108864 allowed" in both(shelf, command, path)


@pytest.mark.parametrize(
    "name",
    ["../x.so", "/etc/x.so", "a/../../x.so", "C:/x.so", "a\\x.so", "\x1b[31mx.so", "a\nb.so"],
)
def test_a_member_by_a_name_that_leaves_the_wheel_or_speaks_to_the_terminal(
    shelf: Shelf, make_wheel: MakeWheel, command: Command, name: str
) -> None:
    path = make_wheel("pkg", "1.0", {name: NOISE})
    assert both(shelf, command, path).startswith("refused: the name ")


def test_an_object_that_cuobjdump_refuses_is_told_and_the_rest_is_read(
    shelf: Shelf, make_wheel: MakeWheel, command: Command
) -> None:
    path = make_wheel("pkg", "1.0", {"pkg/_C.so": OBJECT, "pkg/_D.so": NOISE})
    code, out, _ = command("audit", shelf.add(path))
    assert code == 0
    assert "pkg/_C.so could not be read: " in out


def test_a_metadata_that_speaks_to_the_terminal_says_nothing(
    shelf: Shelf, make_wheel: MakeWheel, command: Command, tmp_path: Path
) -> None:
    hostile = b"Name: pkg\nRequires-Python: \x1b]0;owned\x07\nRequires-Dist: \xff\xfe \x1b[2J; x\n"
    hostile += b"Requires-Dist: torch" + b"x" * 100_000 + b"\n" + b"Provides-Extra: | a\n"
    path = make_wheel("vllm", "0.33.0", metadata=hostile, tag="cp38-abi3-manylinux_2_31_x86_64")
    shelf.add(path)
    for arguments in (("audit", path), ("audit", path, "--json")):
        code, out, err = command(*arguments)
        assert (code, err) == (0, "")
        assert all(line.isprintable() for line in out.splitlines())
    ledger = tmp_path / "ledger"
    code, out, err = command("refresh", "--ledger", ledger, "--package", "vllm")
    assert (code, out) == (0, "1 of 1 wheels are in the ledger\n")
    assert all(line.isprintable() for line in err.splitlines())
    assert command("audit", "vllm==0.33.0", "--ledger", ledger)[0] == 0


HOSTILE_TAG = "cp38-abi3-manylinux_|\n\x1b[31m_x86_64"


@pytest.mark.parametrize(
    "tag",
    [
        HOSTILE_TAG,
        "cp38-abi3-manylinux_..%2f_x86_64",
        "1\x1b[31m|\n-cp38-abi3-manylinux_2_31_x86_64",
        "1 ..-cp38-abi3-manylinux_2_31_x86_64",
    ],
)
def test_a_wheel_by_a_name_that_no_build_makes_does_not_exist(
    shelf: Shelf, make_wheel: MakeWheel, command: Command, tmp_path: Path, tag: str
) -> None:
    path = make_wheel("vllm", "0.33.0", tag=tag)
    shelf.add(path)
    assert "is no name of a wheel" in refuse(command("audit", path), 2)
    line = refuse(command("audit", "vllm==0.33.0", "--find", path.parent), 2)
    assert line == "vllm has no wheel for Linux"
    assert refuse(command("audit", "vllm==0.33.0", "--no-ledger"), 2) == line
    ledger = tmp_path / "ledger"
    assert command("refresh", "--ledger", ledger, "--package", "vllm")[0] == 0
    assert [each.name for each in ledger.rglob("*")] == ["releases.json"]


@pytest.fixture
def full(wheel: Path) -> Iterator[None]:
    """No file of more than 100 kB can be written: what EFBIG says here, ENOSPC would say elsewhere."""
    assert wheel.is_file()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("ranges", [True, False])
def test_a_full_disk_is_named_and_nothing_is_left_on_it(
    shelf: Shelf, wheel: Path, command: Command, temporary: Path, *, ranges: bool
) -> None:
    shelf.add(wheel)
    shelf.ranges = ranges
    line = refuse(command("audit", "pkg==1.0"), 3)
    assert line.startswith(f"{temporary}/nvfp4-matrix-")
    assert "cannot write" in line


def test_a_traceback_comes_only_when_asked_for(shelf: Shelf, wheel: Path, command: Command) -> None:
    shelf.add(wheel)
    assert "Traceback" not in command("audit", "pkg==9")[2]
    with pytest.raises(Exception, match=r"pkg 9 is not there"):
        command("--debug", "audit", "pkg==9")
