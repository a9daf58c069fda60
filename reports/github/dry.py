"""A dry run: what would be written is told instead, what can be read is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from reports.github.request import Answer, Request, Send


class Dry:
    """Stands for the client: reads go through `send` where there is one, writes are handed to `tell` alone."""

    def __init__(self, tell: Callable[[Request], None], send: Send | None = None) -> None:
        self._tell = tell
        self._send = send

    def send(self, request: Request) -> Answer:
        """Tell a request, and answer it as GitHub would on a good day; without `send` nothing is there."""
        self._tell(request)
        if request.writes:
            body = request.body or {}
            made = {"id": 1, "sha": "0" * 40, "status": body.get("status", "")}
            return Answer(status=200, content=msgspec.json.encode(made))
        if self._send is not None:
            return self._send(request)
        if "/branches/" in request.path:
            return Answer(status=404)
        if "/releases/" in request.path:
            return Answer(status=200, content=b'{"upload_url": "(upload_url of the release)"}')
        return Answer(status=200, content=b"[]")


def told(request: Request) -> str:
    """Write a request out: its first line, then its body as it would be sent."""
    lines = [f"{request.method} {request.path}"]
    if request.body is not None:
        lines.append(_indented(request.body))
    elif request.content:
        lines.append(f"({request.kind})\n{request.content.decode(errors='replace')}")
    return "\n".join(lines) + "\n"


def _indented(body: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(body), indent=2).decode()
