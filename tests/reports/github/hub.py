"""A GitHub of these tests: what the API does with the few requests that are sent to it, in memory or over HTTP."""

from __future__ import annotations

import hashlib
import re
import socket
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from reports.github.request import Answer, Request

COMMIT = "4f2a9c1e8b7d6a5f4e3c2b1a0f9e8d7c6b5a4f3e"
Found = tuple[int, Any]


class Hub:
    """One repository; `requests` are those that came. `faults` answers some in its stead."""

    def __init__(self, *, base: str = "") -> None:
        self.base = base
        self.requests: list[Request] = []
        self.comments: list[dict[str, Any]] = []
        self.checks: list[dict[str, Any]] = []
        self.statuses: list[dict[str, Any]] = []
        self.objects: dict[str, Any] = {}
        self.refs: dict[str, str] = {}
        self.assets: list[dict[str, Any]] = []
        self.author = {"login": "github-actions[bot]", "type": "Bot"}
        self.faults: Callable[[Request], Answer | None] = lambda _: None
        self._id = 0
        self._lock = threading.Lock()

    def send(self, request: Request) -> Answer:
        """Answer one request."""
        with self._lock:
            self.requests.append(request)
            if (fault := self.faults(request)) is not None:
                return fault
            status, document = self._answer(request)
        content = b"" if document is None else msgspec.json.encode(document)
        return Answer(status=status, content=content)

    def sent(self, method: str) -> list[str]:
        """Paths that were asked for by `method`."""
        return [each.path for each in self.requests if each.method == method]

    def files(self, branch: str) -> Mapping[str, str]:
        """What stands on a branch."""
        return dict(self.objects[self.objects[self.refs[branch]]["tree"]])

    def next_id(self) -> int:
        self._id += 1
        return self._id

    def _answer(self, request: Request) -> Found:  # noqa: C901, PLR0911, PLR0912 - one arm a path
        parts = urlsplit(request.path)
        path = (
            parts.path.partition("/repos/o/n/")[2]
            if parts.path.startswith("/repos")
            else parts.path
        )
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        body = request.body or {}
        match request.method, path.split("/"):
            case "GET", ["", "user"]:
                person = self.author["type"] == "User"
                return (
                    (200, self.author) if person else (403, {"message": "Resource not accessible"})
                )
            case "GET", ["issues", _, "comments"]:
                page, size = int(query["page"]), int(query["per_page"])
                return 200, self.comments[(page - 1) * size : page * size]
            case "POST", ["issues", _, "comments"]:
                self.comments.append(self.comment(body["body"]))
                return 201, self.comments[-1]
            case "PATCH", ["issues", "comments", number]:
                return self._patch(self.comments, int(number), body)
            case "DELETE", ["issues", "comments", number]:
                return self._delete(self.comments, int(number))
            case "GET", ["commits", commit, "check-runs"]:
                runs = [
                    c
                    for c in self.checks
                    if (c["head_sha"], c["name"]) == (commit, query["check_name"])
                ]
                return 200, {"total_count": len(runs), "check_runs": runs[-1:]}
            case "POST", ["check-runs"]:
                self.checks.append({"id": self.next_id(), "html_url": "u", **body, "output": {}})
                return 201, self._annotate(self.checks[-1], body)
            case "PATCH", ["check-runs", number]:
                run = next(each for each in self.checks if each["id"] == int(number))
                return 200, self._annotate(run, body)
            case "GET", ["commits", _, "statuses"]:
                return 200, self.statuses[::-1]
            case "POST", ["statuses", _]:
                self.statuses.append(body)
                return 201, body
            case "GET", ["releases", "tags", tag]:
                if tag != "v1":
                    return 404, {"message": "Not Found"}
                return 200, {
                    "upload_url": f"{self.base}/upload{{?name,label}}",
                    "assets": self.assets,
                }
            case "DELETE", ["releases", "assets", number]:
                return self._delete(self.assets, int(number))
            case "POST", [*_, "upload"] if query["name"] in {each["name"] for each in self.assets}:
                return 422, {"message": "Validation Failed", "errors": [{"code": "already_exists"}]}
            case "POST", [*_, "upload"]:
                self.assets.append({"id": self.next_id(), **query, "content": request.content})
                return 201, {"browser_download_url": "d"}
            case method, ["branches" | "contents" | "git", *_]:
                return self._git(method, path, query, body)
        return 404, {"message": "Not Found"}

    def comment(
        self, body: str, author: Mapping[str, str] | None = None, **more: Any
    ) -> dict[str, Any]:
        """A comment of somebody."""
        number = self.next_id()
        return {
            "id": number, "body": body, "user": dict(author or self.author),
            "author_association": "NONE", "html_url": f"https://example.org/{number}", **more,
        }  # fmt: skip

    def _git(  # noqa: C901, PLR0911, PLR0912 - one arm a path
        self, method: str, path: str, query: Mapping[str, str], body: dict[str, Any]
    ) -> Found:
        match method, path.split("/"):
            case "GET", ["branches", named]:
                tip = self.refs.get(unquote(named))
                if tip is None:
                    return 404, {"message": "Branch not found"}
                tree = {"tree": {"sha": self.objects[tip]["tree"]}}
                return 200, {"name": named, "commit": {"sha": tip, "commit": tree}}
            case "GET", ["contents", *file]:
                content = self.objects[self.objects[query["ref"]]["tree"]].get("/".join(file))
                if content is None:
                    return 404, {"message": "Not Found"}
                return 200, {"encoding": "base64", "content": b64encode(content.encode()).decode()}
            case "POST", ["git", "trees"]:
                tree = dict(self.objects[body["base_tree"]]) if "base_tree" in body else {}
                for entry in body["tree"]:
                    if "content" in entry:
                        tree[entry["path"]] = entry["content"]
                    elif tree.pop(entry["path"], None) is None:
                        return 422, {"message": "GitRPC::BadObjectState"}
                return 201, {"sha": self._keep(tree)}
            case "POST", ["git", "commits"]:
                return 201, {"sha": self._keep(body)}
            case "POST", ["git", "refs"]:
                named = body["ref"].removeprefix("refs/heads/")
                if named in self.refs:
                    return 422, {"message": "Reference already exists"}
                self.refs[named] = body["sha"]
                return 201, {}
            case "PATCH", ["git", "refs", "heads", *named_]:
                named = "/".join(named_)
                if self.refs[named] not in (body["sha"], *self.objects[body["sha"]]["parents"]):
                    return 422, {"message": "Update is not a fast forward"}
                self.refs[named] = body["sha"]
                return 200, {}
        return 404, {"message": "Not Found"}

    def _keep(self, held: Any) -> str:
        name = hashlib.sha1(msgspec.json.encode(held)).hexdigest()
        self.objects[name] = held
        return name

    @staticmethod
    def _annotate(run: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        output = dict(body.get("output", {}))
        run.setdefault("annotations", []).extend(output.pop("annotations", []))
        run |= {key: value for key, value in body.items() if key != "output"}
        run["output"] = {**output, "annotations_count": len(run["annotations"])}
        return run

    @staticmethod
    def _patch(held: list[dict[str, Any]], number: int, body: dict[str, Any]) -> Found:
        for each in held:
            if each["id"] == number:
                each.update(body)
                return 200, each
        return 404, {"message": "Not Found"}

    @staticmethod
    def _delete(held: list[dict[str, Any]], number: int) -> Found:
        for each in held:
            if each["id"] == number:
                held.remove(each)
                return 204, None
        return 404, {"message": "Not Found"}


class HubServer(ThreadingHTTPServer):
    """A hub over real HTTP. `before` may cut, delay or answer before the hub sees a request; `after` loses answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = Hub(base=self.base)
        self.headers: list[dict[str, str]] = []
        self.etags = False
        self.cut_before: Callable[[Request], bool] = lambda _: False
        self.cut_after: Callable[[Request], bool] = lambda _: False

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay silent: clients that hang up are what is tested."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        content = self.rfile.read(length)
        json = "json" in self.headers.get("Content-Type", "") and bool(content)
        method: Any = self.command
        request = Request(
            method=method, path=self.path, content=content, kind=self.headers.get("Content-Type", ""),
            body=msgspec.json.decode(content) if json and not re.search("upload", self.path) else None,
        )  # fmt: skip
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.server.cut_before(request):
            self._cut()
            return
        answer = self.server.hub.send(request)
        if self.server.cut_after(request):
            self._cut()
            return
        tag = f'"{hashlib.sha256(answer.content).hexdigest()[:16]}"'
        status, content = answer.status, answer.content
        if self.server.etags and method == "GET" and self.headers.get("If-None-Match") == tag:
            status, content = 304, b""
        self.send_response(status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if self.server.etags and method == "GET":
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 - http.server's names
