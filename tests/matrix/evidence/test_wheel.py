from __future__ import annotations

import base64
import errno
import hashlib
import io
import random
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from matrix.errors import (
    BrokenWheelError,
    DeliveryError,
    MatrixError,
    NotFoundError,
    OutsideError,
)
from matrix.evidence import archive
from matrix.evidence.transport import Connection, Session
from matrix.evidence.wheel import Wheel, find_in_folder

INFO = "pkg-1.0.dist-info"
METADATA = b"Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\nRequires-Dist: torch==2.11.0\nRequires-Dist: numpy\n"
NOISE = random.Random(0).randbytes(3_000_000)


def hashed(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={digest}"


def record(members: dict[str, bytes]) -> bytes:
    rows = [f"{name},{hashed(content)},{len(content)}" for name, content in members.items()]
    return "\n".join([*rows, f"{INFO}/RECORD,,", ""]).encode()


def make(
    path: Path,
    members: dict[str, bytes],
    *,
    method: int = zipfile.ZIP_DEFLATED,
    recorded: bytes | None = None,
) -> Path:
    members = {**members, f"{INFO}/METADATA": METADATA}
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
        if recorded != b"none":
            file.writestr(f"{INFO}/RECORD", recorded or record(members))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pkg-1.0-py3-none-any.whl"


def serve(httpserver: HTTPServer, path: Path) -> str:
    content = path.read_bytes()

    def answer(request: Request) -> Response:
        wanted = request.headers["Range"].removeprefix("bytes=")
        first, _, last = wanted.partition("-")
        start = int(first) if first else max(0, len(content) - int(last))
        end = min(len(content), int(last) + 1) if first else len(content)
        held = {"Content-Range": f"bytes {start}-{end - 1}/{len(content)}"}
        return Response(content[start:end], 206, held)

    httpserver.expect_request(f"/{path.name}").respond_with_handler(answer)
    return httpserver.url_for(f"/{path.name}")


@pytest.fixture
def session() -> Session:
    return Session(Connection(timeout=5, retries=0, backoff=0))


def test_a_wheel_on_disk_tells_its_files_and_metadata(path: Path) -> None:
    with Wheel.open_file(make(path, {"pkg/a.py": b"x = 1\n", "pkg/b.so": NOISE})) as wheel:
        assert wheel.filename == path.name
        assert wheel.names() == ("pkg/a.py", "pkg/b.so", f"{INFO}/METADATA", f"{INFO}/RECORD")
        assert wheel.info("pkg/b.so").size == len(NOISE)
        assert wheel.read("pkg/a.py") == b"x = 1\n"
        assert wheel.metadata().get_all("Requires-Dist") == ["torch==2.11.0", "numpy"]
        assert wheel.sha256("pkg/b.so") == hashlib.sha256(NOISE).hexdigest()
        assert wheel.bytes_total == path.stat().st_size
        assert wheel.bytes_fetched == 0
        with pytest.raises(NotFoundError, match=r"holds no pkg/c\.py"):
            wheel.read("pkg/c.py")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wheel_behind_a_url_reads_like_one_on_disk(
    path: Path, tmp_path: Path, httpserver: HTTPServer, session: Session, method: int
) -> None:
    make(path, {"pkg/a.py": b"x = 1\n", "pkg/b.so": NOISE, "pkg/empty": b""}, method=method)
    with Wheel.open_url(session, serve(httpserver, path)) as wheel:
        assert wheel.read("pkg/a.py") == b"x = 1\n"
        assert wheel.read("pkg/empty") == b""
        assert wheel.bytes_fetched < 100_000
        wheel.extract("pkg/b.so", tmp_path / "b.so")
    assert (tmp_path / "b.so").read_bytes() == NOISE
    session.close()


def test_a_file_url_opens_the_file(path: Path, session: Session) -> None:
    with Wheel.open_url(session, make(path, {"a.py": b"1"}).as_uri()) as wheel:
        assert wheel.read("a.py") == b"1"


def test_a_peek_fetches_what_it_looks_at(
    path: Path, httpserver: HTTPServer, session: Session
) -> None:
    make(path, {"pkg/b.so": NOISE, "pkg/c.so": NOISE})
    with Wheel.open_url(session, serve(httpserver, path)) as wheel:
        before = wheel.bytes_fetched
        chunks = wheel.peek("pkg/b.so")
        assert NOISE.startswith(next(chunks))
        chunks.close()
        assert wheel.bytes_fetched - before <= 512 * 1024
    session.close()


def test_a_probe_that_says_no_leaves_nothing_and_fetches_no_more(
    path: Path, tmp_path: Path, httpserver: HTTPServer, session: Session
) -> None:
    make(path, {"pkg/b.so": NOISE})
    with Wheel.open_url(session, serve(httpserver, path)) as wheel:
        before = wheel.bytes_fetched
        assert not wheel.probe_and_extract("pkg/b.so", tmp_path / "b", lambda _: False)
        assert wheel.bytes_fetched - before <= 512 * 1024
    assert not (tmp_path / "b").exists()
    session.close()


def test_a_probe_that_says_yes_fetches_each_byte_once(
    path: Path, tmp_path: Path, httpserver: HTTPServer, session: Session
) -> None:
    make(path, {"pkg/b.so": NOISE})
    asked = []
    with Wheel.open_url(session, serve(httpserver, path)) as wheel:
        before = wheel.bytes_fetched

        def wanted(chunk: bytes) -> bool | None:
            asked.append(chunk)
            return True if len(asked) == 3 else None

        assert wheel.probe_and_extract("pkg/b.so", tmp_path / "b", wanted)
        assert wheel.bytes_fetched - before <= wheel.info("pkg/b.so").compressed + 200
    assert (tmp_path / "b").read_bytes() == NOISE
    assert len(asked) == 3
    session.close()


@pytest.mark.parametrize(("last", "left"), [(None, 1), (False, 0), (True, 1)])
def test_the_end_of_a_member_is_told_as_an_empty_chunk(
    path: Path, tmp_path: Path, last: Literal[True, False] | None, left: int
) -> None:
    with Wheel.open_file(make(path, {"b.so": b"abc"})) as wheel:
        there = wheel.probe_and_extract("b.so", tmp_path / "b", lambda c: None if c else last)
    assert there == left
    assert (tmp_path / "b").exists() == left


def test_extraction_holds_little_in_memory(path: Path, tmp_path: Path) -> None:
    make(path, {"zeros.so": bytes(80_000_000), "noise.so": NOISE * 10})
    with Wheel.open_file(path) as wheel:
        tracemalloc.start()
        wheel.extract("zeros.so", tmp_path / "z")
        wheel.extract("noise.so", tmp_path / "n")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


def test_what_record_does_not_state_is_refused_and_removed(path: Path, tmp_path: Path) -> None:
    other = record({"a.py": b"other", f"{INFO}/METADATA": METADATA})
    with Wheel.open_file(make(path, {"a.py": b"x"}, recorded=other)) as wheel:
        with pytest.raises(BrokenWheelError, match=r"a\.py is not what RECORD states"):
            wheel.read("a.py")
        with pytest.raises(BrokenWheelError):
            wheel.extract("a.py", tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("row", ["a.py,,1", "a.py,md5=abc,1", "a.py,sha256=é,1", "b.py,,"])
def test_a_file_without_a_good_hash_is_refused(path: Path, row: str) -> None:
    with (
        Wheel.open_file(make(path, {"a.py": b"x"}, recorded=row.encode())) as wheel,
        pytest.raises(BrokenWheelError, match="RECORD"),
    ):
        wheel.read("a.py")


def test_damage_over_the_network_is_a_delivery(
    path: Path, httpserver: HTTPServer, session: Session
) -> None:
    other = record({"a.py": b"other"})
    url = serve(httpserver, make(path, {"a.py": b"x"}, recorded=other))
    with Wheel.open_url(session, url) as wheel, pytest.raises(DeliveryError, match="RECORD"):
        wheel.read("a.py")
    session.close()


def test_a_wheel_without_record_is_refused(path: Path) -> None:
    with pytest.raises(BrokenWheelError, match="has 0 RECORD"):
        Wheel.open_file(make(path, {"a.py": b"x"}, recorded=b"none"))


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "C:/x", "a\\x", "a//x", "./x", "a/.."]
)
def test_a_name_that_leaves_the_wheel_is_refused(path: Path, name: str) -> None:
    with pytest.raises(BrokenWheelError, match="refused: the name"):
        Wheel.open_file(make(path, {name: b"x"}))


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_a_name_that_stands_twice_is_refused(path: Path) -> None:
    make(path, {"a.py": b"x"})
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("a.py", b"y")
    with pytest.raises(BrokenWheelError, match="twice"):
        Wheel.open_file(path)


def directory_entry(content: bytes, name: bytes) -> int:
    """Return where the central directory's entry of `name` starts."""
    at = content.rindex(name) - 46
    assert content[at : at + 4] == b"PK\x01\x02"
    return at


def patched(path: Path, name: bytes, offset: int, form: str, value: int) -> Path:
    """Write `value` into the directory entry of a member."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, directory_entry(bytes(content), name) + offset, value)
    path.write_bytes(content)
    return path


def local(path: Path, name: bytes, offset: int, form: str, value: int) -> Path:
    """Write `value` into the local header of a member."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.index(name) - 30 + offset, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("offset", "form", "value", "problem"),
    [
        (8, "<H", 1, "encrypted"),
        (10, "<H", 14, "method 14"),
        (24, "<I", 50, "disagree"),
        (24, "<I", 0xFFFFFFF0, "no deflate does that"),
        (16, "<I", 1, "disagree"),
    ],
)
def test_a_directory_that_lies_is_refused(
    path: Path, offset: int, form: str, value: int, problem: str
) -> None:
    make(path, {"pkg/lib.so": b"abc" * 1000})
    patched(path, b"pkg/lib.so", offset, form, value)
    with Wheel.open_file(path) as wheel, pytest.raises(BrokenWheelError, match=problem):
        wheel.read("pkg/lib.so", limit=1 << 40)


def test_a_member_that_inflates_to_more_than_it_states_is_stopped(
    path: Path, tmp_path: Path
) -> None:
    make(path, {"pkg/lib.so": bytes(50_000_000)})
    patched(path, b"pkg/lib.so", 24, "<I", 100_000)
    local(path, b"pkg/lib.so", 22, "<I", 100_000)
    with Wheel.open_file(path) as wheel, pytest.raises(BrokenWheelError, match="inflates to more"):
        wheel.extract("pkg/lib.so", tmp_path / "lib.so")
    assert not (tmp_path / "lib.so").exists()


def test_a_member_over_its_neighbour_is_refused(path: Path) -> None:
    make(path, {"pkg/lib.so": NOISE[:5000], "pkg/two.so": b"x"})
    patched(path, b"pkg/lib.so", 20, "<I", 6000)
    with pytest.raises(BrokenWheelError, match="over its neighbour"):
        Wheel.open_file(path)


def test_a_damaged_member_is_refused(path: Path) -> None:
    make(path, {"pkg/lib.so": NOISE[:5000]}, method=zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.write_bytes(content)
    with Wheel.open_file(path) as wheel, pytest.raises(BrokenWheelError, match="damaged"):
        wheel.read("pkg/lib.so")


def test_a_member_larger_than_the_limit_is_not_read(path: Path) -> None:
    with (
        Wheel.open_file(make(path, {"a.py": b"x" * 100})) as wheel,
        pytest.raises(BrokenWheelError, match="more than the 99"),
    ):
        wheel.read("a.py", limit=99)


@pytest.mark.parametrize("left", [0, 10, 500, -1, -30])
def test_a_truncated_wheel_is_one_line(path: Path, left: int) -> None:
    make(path, {"a.py": b"x" * 100})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(BrokenWheelError, match="no whole zip file") as caught:
        Wheel.open_file(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_one_line(path: Path) -> None:
    with pytest.raises(BrokenWheelError, match="no such file"):
        Wheel.open_file(path)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_bytes_flipped_anywhere_raise_nothing_undefined(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped-1.0-py3-none-any.whl"
    content = bytearray(make(path, {"a/b.py": b"x" * 300, "c.so": NOISE[:200]}).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        with Wheel.open_file(path) as wheel:
            for name in wheel.names():
                wheel.read(name)
    except MatrixError:
        pass


def test_a_full_disk_names_the_folder(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, _: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    with Wheel.open_file(make(path, {"a.py": b"x"})) as wheel:
        real = Path.open
        monkeypatch.setattr(
            Path,
            "open",
            lambda self, mode="r", **held: Full() if mode == "wb" else real(self, mode, **held),
        )
        with pytest.raises(OutsideError, match=r"cannot write a: No space left") as caught:
            wheel.extract("a.py", tmp_path / "a")
    assert str(caught.value).startswith(str(tmp_path))


def installed(folder: Path, members: dict[str, bytes]) -> Path:
    for name, content in {**members, f"{INFO}/METADATA": METADATA}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    rows = record({**members, f"{INFO}/METADATA": METADATA}) + b"../../bin/pkg,,\nx.pyc,,\n"
    (folder / INFO / "RECORD").write_bytes(rows)
    return folder


def test_an_installed_distribution_reads_like_its_wheel(tmp_path: Path) -> None:
    installed(tmp_path, {"pkg/a.py": b"x = 1\n", "pkg/b.so": NOISE})
    with Wheel.open_installed(tmp_path, "PKG") as wheel:
        assert wheel.names() == ("pkg/a.py", "pkg/b.so", f"{INFO}/METADATA", f"{INFO}/RECORD")
        assert wheel.read("pkg/a.py") == b"x = 1\n"
        assert wheel.metadata()["Version"] == "1.0"
        wheel.extract("pkg/b.so", tmp_path / "copy")
        (tmp_path / "pkg/a.py").write_bytes(b"x = 2\n")
        with pytest.raises(BrokenWheelError, match="RECORD"):
            wheel.read("pkg/a.py")


def test_what_is_not_installed_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="vllm is not installed"):
        Wheel.open_installed(tmp_path, "vllm")


def test_a_wheel_is_found_in_a_folder_by_machine(tmp_path: Path) -> None:
    for machine in ("x86_64", "aarch64"):
        make(tmp_path / f"pkg-1.0-cp38-abi3-manylinux_2_31_{machine}.whl", {})
    found = find_in_folder(tmp_path, "pkg", "1.0", "aarch64")
    assert found.name == "pkg-1.0-cp38-abi3-manylinux_2_31_aarch64.whl"


def test_zip64_headers_are_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("a.py", "w", force_zip64=True) as member:
            member.write(b"x" * 100)
        file.writestr(f"{INFO}/RECORD", record({"a.py": b"x" * 100}))
    monkeypatch.setattr(archive, "_STEP", 7)
    with Wheel.open_file(path) as wheel:
        assert wheel.read("a.py") == b"x" * 100
