"""A name in a registry, as docker writes it: HOST/NAME:TAG. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from matrix.errors import ConfigurationError

_WORD: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST: Final = rf"localhost|{_LABEL}(?:\.{_LABEL})+(?::[0-9]{{1,5}})?|{_LABEL}:[0-9]{{1,5}}"
_REFERENCE: Final = re.compile(
    rf"(?P<repository>(?:(?P<host>{_HOST})/)?{_WORD}(?:/{_WORD})*)(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}))?",
    re.ASCII,
)
_LONGEST: Final = 255
_HUB: Final = "docker.io"


class Reference(NamedTuple):
    """`repository` is what docker calls it, its host included; `host` is whom one logs in at."""

    repository: str
    host: str
    tag: str

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"


def reference(option: str, text: str, tag: str) -> Reference:
    """Read what `option` was given; without a tag it has `tag`. Raises ConfigurationError for what is no such name."""
    found = _REFERENCE.fullmatch(text) if len(text) <= _LONGEST else None
    if found is None:
        raise ConfigurationError(
            f"{option} {text[:80]!r}: write HOST/NAME or HOST/NAME:TAG, NAME in lower case"
        )
    return Reference(found["repository"], found["host"] or _HUB, found["tag"] or tag)


def at(name: str) -> str:
    """Return the registry of a name that an engine takes, "NAME@sha256:…" or "NAME:TAG"."""
    first, separator, _ = name.partition("/")
    return first if separator and (set(first) & set(".:") or first == "localhost") else _HUB
