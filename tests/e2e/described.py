"""GitHub's own description of its API (npm @octokit/openapi): what is sent must be what it describes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema

Document = dict[str, Any]


class Description:
    """Operations by method and path."""

    def __init__(self, file: Path) -> None:
        self.document: Document = _dialect(json.loads(file.read_text(encoding="utf-8")))
        self.checked: list[str] = []

    def check(self, method: str, url: str, body: bytes | None) -> None:
        """Fail where a request is none that the description has, or has parameters or a body that it has not."""
        parts = urlsplit(url)
        template, operation = self._operation(method, parts.path)
        self.checked.append(f"{method} {template}")
        parameters = [self._resolved(each) for each in operation.get("parameters", ())]
        query = {each["name"]: each for each in parameters if each["in"] == "query"}
        given = dict(parse_qsl(parts.query))
        assert set(given) <= set(query), f"{template} takes no {set(given) - set(query)}"
        for name, each in query.items():
            assert not each.get("required") or name in given, f"{template} needs {name}"
        for name, value in given.items():
            kind = query[name]["schema"].get("type")
            self._validate(int(value) if kind == "integer" else value, query[name]["schema"])
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            self._validate(json.loads(body or b"{}"), content["application/json"]["schema"])
        elif not content:
            assert not body, f"{template} takes no body"

    def _operation(self, method: str, path: str) -> tuple[str, Document]:
        found = [
            (template, operations[method.lower()])
            for template, operations in self.document["paths"].items()
            if method.lower() in operations and _pattern(template).fullmatch(path)
        ]
        assert found, f"GitHub has no {method} {path}"
        # A reference swallows what follows it: the path that says the most itself is meant.
        return max(found, key=lambda each: len(re.sub(r"\{\w+\}", "", each[0])))

    def _resolved(self, each: Document) -> Document:
        while "$ref" in each:
            node: Any = self.document
            for step in each["$ref"].removeprefix("#/").split("/"):
                node = node[step]
            each = node
        return each

    def _validate(self, value: Any, schema: Mapping[str, Any]) -> None:
        whole = {"components": self.document["components"], **schema}
        jsonschema.Draft7Validator(whole).validate(value)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """A path of the API; a branch or reference may hold slashes."""
    parts = re.split(r"\{(\w+)\}", template)
    for at in range(1, len(parts), 2):
        parts[at] = ".+" if parts[at] in ("ref", "path") else "[^/]+"
    return re.compile("".join(part if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def _dialect(node: Any) -> Any:
    """Say OpenAPI 3.0's `nullable` in words of JSON Schema."""
    if isinstance(node, list):
        return [_dialect(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {name: _dialect(each) for name, each in node.items()}
    if made.pop("nullable", False) is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made
