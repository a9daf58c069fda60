from __future__ import annotations

import hashlib
import re
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from matrix.errors import DeliveryError
from matrix.evidence import reader as reader_module
from matrix.evidence import remote
from matrix.evidence.remote import RangeReader
from matrix.evidence.transport import Connection, Session, redact, split_login

CONTENT = bytes(range(256)) * 4096 + b"the end"


class Server(ThreadingHTTPServer):
    """A file server whose faults are set by attribute."""

    daemon_threads = True
    content = CONTENT
    ranges = True
    suffixes = True
    etag = ""
    cut_after = 0  # bytes of each body after which the connection drops; 0 never
    cuts = 0  # how many answers are cut; later ones are whole
    status = 0  # answer every request so
    lie_start = 0
    etag_later = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []
        self.logins: list[str] = []

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that hang up are what is tested."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/x.whl"


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        server = self.server
        wanted = self.headers.get("Range", "")
        server.requests.append(wanted)
        server.logins.append(self.headers.get("Authorization", ""))
        total = len(server.content)
        found = re.fullmatch(r"bytes=(\d*)-(\d*)", wanted)
        if server.status:
            self._answer(server.status, b"", {})
        elif found and not found[1] and not server.suffixes:
            self._answer(416, b"", {})
        elif found and server.ranges:
            start = int(found[1]) if found[1] else max(0, total - int(found[2]))
            end = min(total, int(found[2]) + 1) if found[1] and found[2] else total
            headers = {"Content-Range": f"bytes {start + server.lie_start}-{end - 1}/{total}"}
            self._answer(206, server.content[start:end], headers)
        else:
            self._answer(200, server.content, {})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        server = self.server
        self.send_response(status)
        etag = server.etag_later if server.etag_later and len(server.requests) > 1 else server.etag
        if etag:
            headers["ETag"] = etag
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cut_after and server.cuts and len(body) > server.cut_after:
            server.cuts -= 1
            self.wfile.write(body[: server.cut_after])
            self.close_connection = True
        else:
            self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def session() -> Iterator[Session]:
    made = Session(Connection(timeout=5, retries=1, backoff=0))
    yield made
    made.close()


def test_a_range_costs_its_bytes_and_the_tail_only(server: Server, session: Session) -> None:
    with RangeReader(session, server.url) as reader:
        assert reader.size == len(CONTENT)
        assert reader.read_at(1000, 1100) == CONTENT[1000:1100]
        reader.seek(-7, 2)
        assert reader.read() == b"the end"
        assert reader.bytes_fetched == remote.TAIL + 100
    assert server.requests == [f"bytes=-{remote.TAIL}", "bytes=1000-1099"]


def test_a_range_that_runs_into_the_tail_comes_whole(server: Server, session: Session) -> None:
    with RangeReader(session, server.url) as reader:
        assert reader.read_at(100, len(CONTENT)) == CONTENT[100:]


def test_a_file_shorter_than_the_tail(server: Server, session: Session) -> None:
    server.content = b"short"
    with RangeReader(session, server.url) as reader:
        assert reader.read() == b"short"


def test_a_server_that_refuses_suffix_ranges_is_asked_from_the_start(
    server: Server, session: Session
) -> None:
    server.suffixes = False
    with RangeReader(session, server.url) as reader:
        assert reader.read_at(5, 50) == CONTENT[5:50]
        assert reader.bytes_fetched < 100


def test_without_ranges_the_file_comes_once_and_goes_with_the_reader(
    server: Server, session: Session
) -> None:
    server.ranges = False
    reader = RangeReader(session, server.url, sha256=hashlib.sha256(CONTENT).hexdigest())
    folder = reader._folder
    assert folder is not None
    before = len(server.requests)
    assert reader.read_at(5, 50) == CONTENT[5:50]
    assert len(server.requests) == before
    reader.close()
    with pytest.raises(FileNotFoundError):
        zipfile.ZipFile(folder.name + "/x.whl")


def test_a_whole_file_with_another_hash_is_refused(server: Server, session: Session) -> None:
    server.ranges = False
    with pytest.raises(DeliveryError, match="sha256"):
        RangeReader(session, server.url, sha256="0" * 64)


def test_a_long_range_is_asked_for_in_pieces_that_grow(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_PIECE", 100)
    monkeypatch.setattr(remote, "LAST_PIECE", 400)
    with RangeReader(session, server.url) as reader:
        assert reader.read_at(0, 1_200) == CONTENT[:1_200]
    asked = ["bytes=0-99", "bytes=100-299", "bytes=300-699", "bytes=700-1099", "bytes=1100-1199"]
    assert server.requests[1:] == asked


def test_who_stops_early_fetches_no_more_than_the_piece_it_is_in(
    server: Server, session: Session
) -> None:
    with RangeReader(session, server.url) as reader:
        before = reader.bytes_fetched
        chunks = reader.stream(0, 900_000)
        next(chunks)
        chunks.close()
        assert reader.bytes_fetched - before <= remote.FIRST_PIECE
    assert server.requests[1:] == [f"bytes=0-{remote.FIRST_PIECE - 1}"]


def test_a_cut_transfer_is_taken_up_where_it_stopped(
    server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "FIRST_PIECE", 1_000_000)
    with RangeReader(session, server.url) as reader:
        server.cut_after, server.cuts = 300_000, 2
        assert reader.read_at(0, 900_000) == CONTENT[:900_000]
        assert reader.bytes_fetched == remote.TAIL + 900_000
    assert server.requests[1:] == ["bytes=0-899999", "bytes=300000-899999", "bytes=600000-899999"]


def test_a_cut_whole_download_is_begun_again(server: Server, session: Session) -> None:
    server.ranges = False
    server.cut_after, server.cuts = 300_000, 3
    with RangeReader(session, server.url) as reader:
        assert reader.read() == CONTENT


def test_a_transfer_that_is_cut_forever_ends_in_one_line(server: Server, session: Session) -> None:
    with RangeReader(session, server.url) as reader:
        server.cut_after, server.cuts = 10, 1000
        with pytest.raises(DeliveryError, match=r"/x\.whl: the transfer stopped 5 times"):
            reader.read_at(0, 900_000)
    assert len(server.requests) == 1 + remote.ATTEMPTS


def test_a_file_that_changes_its_length_is_noticed(server: Server, session: Session) -> None:
    with RangeReader(session, server.url) as reader:
        server.content = CONTENT + b"more"
        with pytest.raises(DeliveryError, match="changed"):
            reader.read_at(0, 10)


def test_a_file_that_changes_its_etag_is_noticed(server: Server, session: Session) -> None:
    server.etag, server.etag_later = '"a"', '"b"'
    with (
        RangeReader(session, server.url) as reader,
        pytest.raises(DeliveryError, match="changed"),
    ):
        reader.read_at(0, 10)


def test_a_range_that_was_not_asked_for_is_refused(server: Server, session: Session) -> None:
    with RangeReader(session, server.url) as reader:
        server.lie_start = 1
        with pytest.raises(DeliveryError, match="from byte 11, asked from 10"):
            reader.read_at(10, 20)


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
def test_an_error_names_the_url_without_credentials(
    server: Server, session: Session, status: int
) -> None:
    server.status = status
    url = server.url.replace("//", "//user:word@") + "?token=secret"
    with pytest.raises(DeliveryError) as caught:
        RangeReader(session, url)
    assert str(caught.value).startswith(f"{server.url}: the server answers {status}")
    assert "word" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_nobody_listening_is_one_line(session: Session) -> None:
    with pytest.raises(DeliveryError, match="cannot be reached"):
        RangeReader(session, "http://127.0.0.1:9/x.whl")


def test_closed_early_it_does_not_fetch_the_rest(server: Server, session: Session) -> None:
    server.content = CONTENT * 20
    with RangeReader(session, server.url) as reader:
        stream = reader.stream(0, reader.size)
        next(stream)
        stream.close()
        assert reader.bytes_fetched <= remote.TAIL + 2 * reader_module.CHUNK


def test_threads_share_a_session(server: Server, session: Session) -> None:
    with RangeReader(session, server.url) as reader, ThreadPoolExecutor(8) as pool:
        starts = range(0, 400_000, 10_000)
        parts = pool.map(lambda start: reader.read_at(start, start + 10_000), starts)
        assert b"".join(parts) == CONTENT[:400_000]
        assert reader.bytes_fetched == remote.TAIL + 400_000


def test_credentials_of_an_index_go_with_its_files(server: Server) -> None:
    bare, login = split_login(server.url.replace("//", "//user:w%40rd@"))
    assert bare == server.url
    assert login
    session = Session(Connection(logins=(login,), backoff=0))
    RangeReader(session, bare).close()
    session.close()
    assert server.logins == ["Basic dXNlcjp3QHJk"]


def test_redact_leaves_nothing_secret() -> None:
    assert redact("https://u:p@host:8/a/b.whl?sig=1#sha256=2") == "https://host:8/a/b.whl"
