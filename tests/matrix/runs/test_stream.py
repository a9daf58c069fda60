from __future__ import annotations

import hashlib
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.runs import stream as stream_module
from matrix.runs.stream import CHUNK, LONGEST, Stream, words


def lines(content: bytes) -> list[bytes]:
    return list(Stream(io.BytesIO(content)))


@given(st.binary(max_size=200), st.integers(1, 9))
def test_lines_are_those_of_the_file_however_it_is_chunked(content: bytes, chunk: int) -> None:
    expected = [line + b"\n" for line in re.split(rb"[\r\n]", content.replace(b"\0", b"")) if line]
    if expected and not content.replace(b"\0", b"").endswith((b"\r", b"\n")):
        expected[-1] = expected[-1][:-1]
    if content.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream_module, "CHUNK", chunk)
        stream = Stream(io.BytesIO(content))
        assert list(stream) == expected
        assert stream.sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("length", [LONGEST - 1, LONGEST, LONGEST + 1, 3 * CHUNK + 5])
def test_of_a_long_line_the_beginning_is_seen(length: int) -> None:
    found = lines(b"a" * length + b"\nb\n")
    assert found == [b"a" * min(length, LONGEST) + b"\n", b"b\n"]


def test_a_file_of_one_line_is_never_held_whole() -> None:
    class Endless:
        left = 64

        def read(self, size: int, /) -> bytes:
            self.left -= 1
            return b"x" * size if self.left > 0 else b""

    assert [len(line) for line in Stream(Endless())] == [LONGEST + 1]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
def test_what_a_windows_shell_redirects_is_read(encoding: str) -> None:
    content = "eins\r\nzwei \u2026\r\n".encode(encoding)
    if encoding == "utf-16-be":
        content = b"\xfe\xff" + content
    assert lines(content) == [b"eins\n", "zwei \u2026\n".encode()]


def test_whole_gives_all_or_nothing_and_takes_no_line_away() -> None:
    content = b"ab\n" * CHUNK
    stream = Stream(io.BytesIO(content))
    assert stream.whole(CHUNK) is None
    assert b"".join(stream) == content
    stream = Stream(io.BytesIO(content))
    assert stream.whole(len(content)) == content
    assert b"".join(stream) == content
    assert stream.sha256 == hashlib.sha256(content).hexdigest()


@given(st.binary(max_size=100))
def test_words_have_no_escape_and_no_newline(line: bytes) -> None:
    told = words(line)
    assert "\x1b" not in told
    assert told == told.strip()


def test_words_of_a_coloured_line() -> None:
    assert words(b"  \x1b[1;31mred\x1b[0m \x1b]8;;http://x\x07link\x1b]8;;\x07 \n") == "red link"
