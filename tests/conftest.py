"""Tiny wheels, and an index on loopback that serves them whole, by range, slowly or broken."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import sys
import threading
import venv
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

import pytest
from hypothesis import settings

settings.register_profile("untimed", settings(), deadline=None)
settings.load_profile("untimed")  # a test is never timed: a machine may have other work

PEP_691 = "application/vnd.pypi.simple.v1+json"


class MakeWheel(Protocol):
    """Writes a wheel; `recorded` overrides RECORD's hash of members."""

    def __call__(
        self,
        package: str,
        version: str,
        members: Mapping[str, bytes] | None = None,
        *,
        tag: str = "py3-none-any",
        requires: Sequence[str] = (),
        metadata: bytes | None = None,
        recorded: Mapping[str, bytes] | None = None,
    ) -> Path: ...


@pytest.fixture
def make_wheel(tmp_path: Path) -> MakeWheel:
    def make(
        package: str,
        version: str,
        members: Mapping[str, bytes] | None = None,
        *,
        tag: str = "py3-none-any",
        requires: Sequence[str] = (),
        metadata: bytes | None = None,
        recorded: Mapping[str, bytes] | None = None,
    ) -> Path:
        stem = f"{package.replace('-', '_')}-{version}"
        info = f"{stem}.dist-info"
        lines = ["Metadata-Version: 2.1", f"Name: {package}", f"Version: {version}"]
        lines += [f"Requires-Dist: {each}" for each in requires]
        content = dict(members or {})
        content[f"{info}/METADATA"] = metadata or "\n".join([*lines, ""]).encode()
        content[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nTag: {tag}\n".encode()
        rows = []
        for name, body in content.items():
            digest = hashlib.sha256((recorded or {}).get(name, body)).digest()
            text = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            rows.append(f"{name},sha256={text},{len(body)}")
        folder = tmp_path / "wheels"
        folder.mkdir(exist_ok=True)
        path = folder / f"{stem}-{tag}.whl"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            content[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
            for name, body in content.items():  # of no date: the same bytes for the same content
                file.writestr(zipfile.ZipInfo(name), body, zipfile.ZIP_DEFLATED)
        return path

    return make


class Shelf(ThreadingHTTPServer):
    """An index and its files; faults are set by attribute."""

    daemon_threads = True
    request_queue_size = 64
    ranges = True
    sizes = True
    page: tuple[int, str, bytes] | None = None  # answer every project page so
    cuts = 0  # how many answers of files are cut in their middle
    only_range = False  # cut no answer to a request for the tail

    def __init__(self, address: str = "127.0.0.1") -> None:
        super().__init__((address, 0), Handler)
        self.wheels: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.hang = threading.Event()
        """Set: files are answered at once. Clear: they hang until it is set, pages do not."""
        self.hang.set()
        self.hang_on = ""
        """Only files whose names begin so."""
        self.hanging = threading.Event()
        self.drip, self.dripped = threading.Event(), threading.Event()
        """Set: after the first half of a file the rest takes long."""
        self.pages = threading.Event()
        """The same for pages."""
        self.pages.set()

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that hang up are what is tested."""

    @property
    def base(self) -> str:
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def add(self, path: Path, content: bytes | None = None) -> str:
        """Put a wheel on the shelf, or other content under its name; return its URL."""
        self.wheels[path.name] = path.read_bytes() if content is None else content
        return f"{self.base}/files/{path.name}"

    def fetched(self) -> list[str]:
        """Names of the files that were asked for, each once."""
        return list(dict.fromkeys(p.removeprefix("/files/") for p in self.asked if "/files/" in p))


class Handler(BaseHTTPRequestHandler):
    server: Shelf
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        kind, _, name = self.path.strip("/").partition("/")
        if kind == "simple":
            self.server.pages.wait(20)
            self._page(name.strip("/"))
        else:
            name = unquote(name)  # of 2.13.0+cpu
            self._file(name, self.server.wheels.get(name))

    def do_HEAD(self) -> None:
        content = self.server.wheels.get(self.path.rpartition("/")[2], b"")
        self.send_response(200 if content else 404)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()

    def _page(self, project: str) -> None:
        if self.server.page is not None:
            status, kind, body = self.server.page
            self._answer(status, body, {"Content-Type": kind})
            return
        files: list[dict[str, Any]] = [
            {
                "filename": name,
                "url": f"{self.server.base}/files/{name}",
                "hashes": {"sha256": hashlib.sha256(content).hexdigest()},
                **({"size": len(content)} if self.server.sizes else {}),
            }
            for name, content in self.server.wheels.items()
            if name.partition("-")[0].replace("_", "-") == project
        ]
        page = {"meta": {"api-version": "1.1"}, "name": project, "files": files}
        found = 200 if files else 404
        self._answer(found, json.dumps(page).encode(), {"Content-Type": PEP_691})

    def _file(self, name: str, content: bytes | None) -> None:
        if content is None:
            self._answer(404, b"", {})
            return
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not self.server.hang.is_set() and name.startswith(self.server.hang_on):
            self.server.hanging.set()
            self.server.hang.wait(20)
        if wanted is None or not self.server.ranges:
            self._answer(200, content, {}, cut=True)
            return
        total = len(content)
        start = int(wanted[1]) if wanted[1] else max(0, total - int(wanted[2]))
        end = min(total, int(wanted[2]) + 1) if wanted[1] and wanted[2] else total
        held = {"Content-Range": f"bytes {start}-{end - 1}/{total}"}
        cut = bool(wanted[1]) or not self.server.only_range
        self._answer(206, content[start:end], held, cut=cut)

    def _answer(
        self, status: int, body: bytes, headers: Mapping[str, str], *, cut: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if cut and self.server.cuts:
            self.server.cuts -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        if self.server.drip.is_set():
            self.wfile.write(body[: len(body) // 2])
            body = body[len(body) // 2 :]
            self.server.dripped.wait(20)
        self.wfile.write(body)


@pytest.fixture
def address() -> str:
    """Where the index listens; a module of tests may know better."""
    return "127.0.0.1"


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, address: str) -> Iterator[Shelf]:
    """The one index that this process and its children know, asked once, for a second at most."""
    with Shelf(address) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", f"{running.base}/simple")
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
        monkeypatch.setenv("PIP_RETRIES", "0")
        monkeypatch.setenv("PIP_TIMEOUT", "10")
        for name in ("PIP_FIND_LINKS", "PIP_NO_INDEX", "PIP_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("NO_PROXY", address)
        yield running
        running.hang.set()
        running.dripped.set()
        running.pages.set()
        running.shutdown()
        thread.join()


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Command:
    """Run the command line in this process, with no results; returns exit code, stdout, stderr."""
    from reports.cli import main  # noqa: PLC0415

    monkeypatch.setattr("matrix.journal.FOLDER", tmp_path_factory.mktemp("journal") / "results")

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nvfp4-matrix", *map(str, arguments)])
        code: Any = 0
        capfd.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        told = capfd.readouterr()
        return code, told.out, told.err

    return run


class MakeStack(Protocol):
    """Lays an environment whose packages answer as an installed stack; returns its folder.

    `files` are laid over it by path in site-packages; None removes one.
    """

    def __call__(
        self, version: str = "0.33.0", files: Mapping[str, str | None] | None = None
    ) -> Path: ...


@pytest.fixture
def make_stack(tmp_path: Path) -> MakeStack:
    def make(version: str = "0.33.0", files: Mapping[str, str | None] | None = None) -> Path:
        place = tmp_path / "stack"
        venv.create(place, with_pip=False, symlinks=True)
        (packages,) = place.glob("lib/python*/site-packages")
        shutil.copytree(Path(__file__).parent / "stack", packages, dirs_exist_ok=True)
        pins = {"vllm": version, "torch": "2.14.0", "flashinfer_python": "0.7.2.post1"}
        for name, pinned in pins.items():
            info = packages / f"{name}-{pinned}.dist-info"
            info.mkdir()
            told = f"Metadata-Version: 2.1\nName: {name}\nVersion: {pinned}\n"
            (info / "METADATA").write_text(told, encoding="utf-8")
        for name, text in (files or {}).items():
            file = packages / name
            if text is None:
                shutil.rmtree(file) if file.is_dir() else file.unlink()
            else:
                file.parent.mkdir(exist_ok=True)
                file.write_text(text, encoding="utf-8")
        return place

    return make
