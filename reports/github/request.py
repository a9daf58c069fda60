"""Requests to GitHub and their answers, as values: what is planned, printed and tested is what is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from urllib.parse import quote

import msgspec

from matrix.errors import OutsideError
from matrix.model import Model

Method = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


class Request(Model, frozen=True, kw_only=True):
    """One request: `path` below the API's address, with its query, or a whole URL for uploads.

    `body` is sent as JSON; `content` as it is, of type `kind`. `again`: asking twice does no more than
    asking once, so that an answer that was lost may be asked for again.
    """

    method: Method
    path: str
    body: dict[str, Any] | None = None
    content: bytes = b""
    kind: str = "application/json"
    again: bool = True

    @property
    def writes(self) -> bool:
        """Whether it changes anything."""
        return self.method != "GET"


class Answer(Model, frozen=True, kw_only=True):
    """What came back; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str] = {}
    content: bytes = b""

    @property
    def good(self) -> bool:
        """Whether the request was done."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110, 15.3

    @property
    def document(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return msgspec.json.decode(self.content)
        except msgspec.DecodeError:
            return None

    def word(self, name: str) -> str:
        """Give a field that the API promises. Raises OutsideError where it is not there."""
        document = self.document
        found = document.get(name) if isinstance(document, dict) else None
        if not isinstance(found, str):
            raise OutsideError(f"GitHub answers without {name}, which its API promises")
        return found

    @property
    def message(self) -> str:
        """Give what GitHub says was wrong."""
        document = self.document
        found = document.get("message") if isinstance(document, dict) else None
        return found if isinstance(found, str) else ""


Send = Callable[[Request], Answer]
"""Carries a request out; an answer that says no is an answer, too. Raises OutsideError where none came."""


class Repository(Model, frozen=True, kw_only=True):
    """A repository by its owner and name."""

    owner: str
    name: str

    def path(self, *parts: str | int, **query: str | int) -> str:
        """Give the path of something of the repository; every part is quoted whole."""
        quoted = "/".join(quote(str(each), safe="") for each in (self.owner, self.name, *parts))
        asked = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        return f"/repos/{quoted}" + (f"?{asked}" if asked else "")
