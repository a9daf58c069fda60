from __future__ import annotations

import gzip
import hashlib
import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from matrix.errors import DeliveryError, OutsideError
from matrix.evidence import reader as reader_module
from matrix.evidence import remote
from matrix.evidence.remote import RangeReader
from matrix.evidence.transport import Connection, Session, redact

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session(Connection(timeout=5, retries=0, backoff=0))
    yield made
    made.close()


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def ranged(request: Request) -> tuple[bytes, dict[str, str]]:
    """Answer a range as a good server does: body and headers."""
    first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, len(CONTENT) - int(last))
    end = min(len(CONTENT), int(last) + 1) if first else len(CONTENT)
    return CONTENT[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(CONTENT)}"}


def serve(httpserver: HTTPServer, answer: Callable[[Request], Response]) -> str:
    httpserver.expect_request("/x.whl").respond_with_handler(answer)
    return httpserver.url_for("/x.whl")


@pytest.mark.parametrize(
    ("headers", "problem"),
    [
        ({}, "a range that cannot be read"),
        ({"Content-Range": "bytes 1-2"}, "a range that cannot be read"),
        ({"Content-Range": "bytes */262144"}, "a range that cannot be read"),
        ({"Content-Range": "bytes 5-2/262144"}, "a range that cannot be$"),
        ({"Content-Range": "bytes 0-262144/262144"}, "a range that cannot be$"),
        (
            {"Content-Range": "bytes 0-9/262144", "Content-Encoding": "gzip"},
            "a range that cannot be read",
        ),
    ],
)
def test_an_answer_that_names_no_range_is_refused(
    httpserver: HTTPServer, session: Session, headers: dict[str, str], problem: str
) -> None:
    url = serve(httpserver, lambda _: Response(gzip.compress(b"x"), 206, headers))
    with pytest.raises(DeliveryError, match=problem):
        RangeReader(session, url)


def test_no_compressed_answer_is_asked_for(httpserver: HTTPServer, session: Session) -> None:
    url = serve(httpserver, lambda request: Response(*_with_206(ranged(request))))
    RangeReader(session, url).close()
    assert httpserver.log[0][0].headers["Accept-Encoding"] == "identity"


def _with_206(answer: tuple[bytes, dict[str, str]]) -> tuple[bytes, int, dict[str, str]]:
    return answer[0], 206, answer[1]


def test_a_body_longer_than_its_range_gives_no_byte_too_many(
    httpserver: HTTPServer, session: Session
) -> None:
    def more(request: Request) -> Response:
        body, headers = ranged(request)
        return Response(body + b"more", 206, headers)

    with RangeReader(session, serve(httpserver, more)) as reader:
        assert reader.read_at(0, len(CONTENT)) == CONTENT


def test_a_server_that_forgets_its_ranges_is_refused(
    httpserver: HTTPServer, session: Session
) -> None:
    def forget(request: Request) -> Response:
        if httpserver.log:
            return Response(CONTENT, 200)
        return Response(*_with_206(ranged(request)))

    with (
        RangeReader(session, serve(httpserver, forget)) as reader,
        pytest.raises(DeliveryError, match="answers 200 OK to a range it knew"),
    ):
        reader.read_at(0, 10)


@pytest.mark.parametrize("sha256", ["", hashlib.sha256(CONTENT).hexdigest()])
def test_a_whole_download_lies_in_one_folder_that_goes_with_the_reader(
    httpserver: HTTPServer, session: Session, temporary: Path, sha256: str
) -> None:
    url = serve(httpserver, lambda _: Response(CONTENT))
    reader = RangeReader(session, url, sha256=sha256)
    assert len(list(temporary.iterdir())) == 1
    assert reader.read() == CONTENT
    assert reader.bytes_fetched == len(CONTENT)
    reader.close()
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("body", [b"", b"something else"])
def test_a_download_that_fails_leaves_nothing(
    httpserver: HTTPServer, session: Session, temporary: Path, body: bytes
) -> None:
    url = serve(httpserver, lambda _: Response(body))
    with pytest.raises(DeliveryError, match="sha256 differs"):
        RangeReader(session, url, sha256="0" * 64)
    assert list(temporary.iterdir()) == []


def test_a_name_that_no_disk_takes_is_no_matter(httpserver: HTTPServer, session: Session) -> None:
    path = f"/{'x' * 300}.whl"
    httpserver.expect_request(path).respond_with_data(CONTENT)
    with RangeReader(session, httpserver.url_for(path)) as reader:
        assert reader.size == len(CONTENT)


def test_no_place_for_a_temporary_folder_is_the_disk_s_fault(
    httpserver: HTTPServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/no/such/folder")
    url = serve(httpserver, lambda _: Response(CONTENT))
    with pytest.raises(OutsideError, match="no temporary folder: No such file"):
        RangeReader(session, url)


def test_a_disk_that_refuses_a_download_is_not_asked_again(
    httpserver: HTTPServer, session: Session, temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "open", full)
    url = serve(httpserver, lambda _: Response(CONTENT))
    with pytest.raises(OutsideError, match="cannot write: No space left on device"):
        RangeReader(session, url)
    whole = [request for request, _ in httpserver.log if "Range" not in request.headers]
    assert len(whole) == 1
    assert list(temporary.iterdir()) == []


def test_a_disk_that_refuses_the_last_bytes_is_named(
    httpserver: HTTPServer, session: Session, temporary: Path
) -> None:
    """What a buffer holds back is refused when it is flushed."""
    size = reader_module.CHUNK
    url = serve(httpserver, lambda _: Response(bytes(size + 4000)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 1000, hard))
    try:
        with pytest.raises(OutsideError, match="cannot write: File too large"):
            RangeReader(session, url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(temporary.iterdir()) == []


def test_what_a_server_or_an_index_says_is_told_without_what_a_terminal_obeys(
    httpserver: HTTPServer, session: Session
) -> None:
    url = serve(httpserver, lambda _: Response(b"", "404 \x1b[31mGone"))
    with pytest.raises(DeliveryError, match=r"/x\.whl: the server answers 404 \[31mGone$"):
        RangeReader(session, url)
    assert redact("https://host/\x1b]0;a\x07b.whl") == "https://host/]0;ab.whl"


def test_what_moves_is_not_given_up(
    httpserver: HTTPServer, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Attempts count anew after `PROGRESS` bytes: a slow line is cut often and gets there."""
    monkeypatch.setattr(remote, "ATTEMPTS", 2)
    monkeypatch.setattr(remote, "TAIL", 1)
    monkeypatch.setattr(remote, "PROGRESS", 20_000)

    def short(request: Request) -> Response:
        body, headers = ranged(request)
        return Response(body[:30_000], 206, headers)

    with RangeReader(session, serve(httpserver, short)) as reader:
        assert reader.read_at(0, 200_000) == CONTENT[:200_000]
        monkeypatch.setattr(remote, "PROGRESS", 1_000_000)
        with pytest.raises(DeliveryError, match="stopped 2 times"):
            reader.read_at(0, 200_000)
