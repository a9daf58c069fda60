"""Secrets do not get out: those that this program holds, and what looks like one in what was read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, TypeVar

import msgspec

Value = TypeVar("Value")

GONE: Final = "***"

_SECRET = re.compile(
    r"gh[pousr]_[A-Za-z0-9]{16,}|github_pat_\w{16,}|hf_[A-Za-z0-9]{16,}|(?:AKIA|ASIA)[A-Z0-9]{16}"
    # "desk-…" and "task-…" are names of stacks and tests: of two that became one, a cell would be lost.
    r"|glpat-[\w-]{16,}|(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|(?=\")|\Z)",
    re.DOTALL,
)
_LOGIN = re.compile(r"(://)(?!git@)[^\s/@\"'<>]+(@)")
"""A name and a password, or a token alone; `ssh://git@` is everybody's."""

_HEADER = re.compile(
    r"(?i)\b(authorization\s*[:=]\s*(?:\w+\s+)?|bearer\s+|x-api-key\s*[:=]\s*)[\w.~+/=-]{8,}"
)
_SHORTEST: Final = 6
"""Characters of a held secret below which it would be found in innocent words."""


class Redactor:
    """Takes secrets out of text; `learn` tells it the ones that are held."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._held: set[str] = set()
        for secret in secrets:
            self.learn(secret)

    def learn(self, secret: str) -> None:
        """Hold a secret, of several lines also each of them."""
        for part in (secret, *secret.splitlines()):
            if len(part.strip()) >= _SHORTEST and not part.startswith("-----"):
                self._held.add(part.strip())

    def text(self, text: str) -> str:
        """`text` without secrets."""
        for secret in sorted(self._held, key=len, reverse=True):
            text = text.replace(secret, GONE)
        text = _SECRET.sub(GONE, text)
        text = _HEADER.sub(lambda match: match[1] + GONE, text)
        return _LOGIN.sub(rf"\1{GONE}\2", text)

    def value(self, value: Value) -> Value:
        """Give a frozen value without secrets in any of its strings."""
        encoded = msgspec.json.encode(value).decode()
        clean = self.text(encoded)
        return value if clean == encoded else msgspec.json.decode(clean, type=type(value))
