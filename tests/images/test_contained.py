from __future__ import annotations

import base64
import hashlib
import io
import tarfile
from collections.abc import Generator, Mapping

import pytest

from images.contained import Contained, file_in
from matrix.errors import BrokenWheelError, NotFoundError
from matrix.evidence.wheel import Wheel

SITE = "/opt/stack/lib/python3.12/site-packages"


def archived(content: bytes | None, kind: bytes = tarfile.REGTYPE) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        entry = tarfile.TarInfo("x")
        entry.type, entry.size = kind, len(content or b"")
        if kind == tarfile.SYMTYPE:
            entry.linkname = "/etc/passwd"
        archive.addfile(entry, io.BytesIO(content or b""))
    return output.getvalue()


class Image:
    """Files by path, handed out as an engine does: as a tar, in chunks of any size."""

    def __init__(self, files: Mapping[str, bytes], chunk: int = 700) -> None:
        self.files = files
        self.chunk = chunk
        self.asked: list[str] = []

    def archive(self, path: str) -> Generator[bytes]:
        self.asked.append(path)
        if path not in self.files:
            raise NotFoundError(path)
        told = archived(self.files[path])
        for start in range(0, len(told), self.chunk):
            yield told[start : start + self.chunk]


def image(files: Mapping[str, bytes], *, chunk: int = 700, more: str = "") -> Image:
    rows = []
    for name, body in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).decode().rstrip("=")
        rows.append(f"{name},sha256={digest},{len(body)}")
    record = "\n".join([*rows, "alpha-1.dist-info/RECORD,,", more])
    there = {**files, "alpha-1.dist-info/RECORD": record.encode()}
    return Image({f"{SITE}/{name}": body for name, body in there.items()}, chunk)


FILES = {"alpha/big.so": bytes(range(256)) * 9000, "alpha/__init__.py": b"x = 1\n"}


@pytest.mark.parametrize("chunk", [1, 511, 512, 513, 1 << 20])
def test_a_file_comes_as_it_is_however_the_engine_cuts_it(chunk: int) -> None:
    small = {"alpha/a.py": b"y" * 3000}
    with Wheel(Contained(image(small, chunk=chunk), SITE, "alpha-1.dist-info")) as wheel:
        assert wheel.read("alpha/a.py") == b"y" * 3000


def test_only_what_is_asked_for_leaves_the_image() -> None:
    source = image(FILES)
    with Wheel(Contained(source, SITE, "alpha-1.dist-info")) as wheel:
        assert wheel.info("alpha/big.so").size == 256 * 9000
        assert wheel.read("alpha/__init__.py") == b"x = 1\n"
        assert wheel.read("alpha/big.so") == FILES["alpha/big.so"]
    record = f"{SITE}/alpha-1.dist-info/RECORD"
    files = [f"{SITE}/alpha/__init__.py", f"{SITE}/alpha/big.so"]
    assert source.asked == [record, record, *files]


def test_a_file_that_is_not_what_its_record_says_is_found() -> None:
    source = image(FILES)
    changed = Image({**source.files, f"{SITE}/alpha/__init__.py": b"x = 2\n"})
    wheel = Wheel(Contained(changed, SITE, "alpha-1.dist-info"))
    with pytest.raises(BrokenWheelError, match="not what RECORD states"):
        wheel.read("alpha/__init__.py")


def test_a_file_that_is_gone_is_told() -> None:
    source = image(FILES)
    left = {name: body for name, body in source.files.items() if not name.endswith(".so")}
    wheel = Wheel(Contained(Image(left), SITE, "alpha-1.dist-info"))
    with pytest.raises(NotFoundError):
        wheel.read("alpha/big.so")


def test_what_lies_elsewhere_or_was_compiled_since_is_left_out() -> None:
    more = "../../../bin/alpha,sha256=x,9\nalpha/__pycache__/a.pyc,,\nalpha/odd,sha256=x,-1\n"
    found = Contained(image(FILES, more=more), SITE, "alpha-1.dist-info").members()
    assert [*found] == ["alpha-1.dist-info/RECORD", *FILES]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_what_is_no_file_is_refused(kind: bytes) -> None:
    with pytest.raises(BrokenWheelError, match="/x: is no file"):
        list(file_in([archived(None, kind)], "/x"))


@pytest.mark.parametrize("told", [[], [b""], [b"no tar" * 200], [archived(b"x" * 5000)[:2000]]])
def test_a_damaged_answer_is_told(told: list[bytes]) -> None:
    with pytest.raises(BrokenWheelError, match="/x: "):
        list(file_in(told, "/x"))
