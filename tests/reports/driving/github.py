"""A GitHub that is a dictionary: what commands ask of it is written down, and answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reports.driving.connection import Connection
from reports.github.request import Answer, Repository, Request

REPOSITORY = Repository(owner="me", name="rigs")
LINK = "https://github.com/me/rigs/actions/runs/7"


class GitHub:
    """`answers`: by method and path without its query; a status, or a document that is found. Comments are kept."""

    def __init__(self, answers: Mapping[str, Any] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []
        self.comments: list[dict[str, Any]] = []

    @property
    def connection(self) -> Connection:
        return Connection(self.send, REPOSITORY, LINK)

    def send(self, request: Request) -> Answer:
        path = request.path.removeprefix("/repos/me/rigs")
        asked = f"{request.method} {path}"
        self.asked.append(asked)
        short = asked.partition("?")[0]
        if short.endswith("/comments"):
            return self._comments(request)
        if request.method == "PATCH":
            number = int(path.rpartition("/")[2])
            self.comments[number]["body"] = (request.body or {})["body"]
            return found(self.comments[number])
        given = self.answers.get(asked, self.answers.get(short, 404))
        return Answer(status=given) if isinstance(given, int) else found(given)

    def _comments(self, request: Request) -> Answer:
        if request.method == "GET":
            return found(self.comments)
        made = {
            "id": len(self.comments),
            "body": (request.body or {})["body"],
            "user": {"login": "github-actions[bot]", "type": "Bot"},
        }
        self.comments.append(made)
        return found(made, 201)


def found(document: Any, status: int = 200) -> Answer:
    return Answer(status=status, content=json.dumps(document).encode())
