"""The Python sources of one wheel, parsed and never imported: members, names, who defines what."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from email.parser import Parser
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from matrix.evidence.syntax import tree
from matrix.evidence.value import UndecidedError

MAXIMUM_SOURCE: Final = 8 << 20
"""Bytes of the largest module that is parsed; vLLM's and FlashInfer's largest are under 1 MiB."""

ALWAYS_PRESENT: Final = frozenset({"flashinfer"})
"""A stack without FlashInfer is judged elsewhere; here the question is what the wheel says with it."""

MODULE_OF: Final = {"flashinfer-python": "flashinfer", "humming-kernels": "humming"}
"""Distributions whose import name is not their own name."""

Guard = tuple[ast.expr | ast.Try, bool]
Binder = tuple[ast.stmt, tuple[Guard, ...]]


@dataclass
class Source:
    """One parsed module: `binders` says which statements bind a name, and under which conditions."""

    member: str
    tree: ast.Module
    binders: dict[str, list[Binder]] = field(default_factory=dict)
    stars: list[ast.ImportFrom] = field(default_factory=list)


class Library:
    """Reads members on demand, each once; `read` may be a request over the network."""

    def __init__(self, read: Callable[[str], bytes | None], names: Collection[str]) -> None:
        self._read = read
        self._names = frozenset(names)
        self._sources: dict[str, Source | str] = {}
        self._required: frozenset[str] | None = None

    def find(self, dotted: str) -> str | None:
        """Give the member that holds a module."""
        path = dotted.replace(".", "/")
        for member in (f"{path}.py", f"{path}/__init__.py"):
            if member in self._names:
                return member
        return None

    def __contains__(self, member: str) -> bool:
        return member in self._names

    def source(self, member: str) -> Source:
        """Parse a member; raises UndecidedError when it is missing, too large, or no Python."""
        held = self._sources.get(member)
        if held is None:
            held = self._sources[member] = self._parse(member)
        if isinstance(held, str):
            raise UndecidedError(held)
        return held

    def _parse(self, member: str) -> Source | str:
        body = self._read(member) if member in self._names else None
        if body is None:
            return f"{member} is not in this wheel"
        if len(body) > MAXIMUM_SOURCE:
            return f"{member} is too large to read ({len(body)} bytes)"
        try:
            module = tree(body, member)
            source = Source(member, module)
            for statement, guards in _statements(module.body, ()):
                if isinstance(statement, ast.ImportFrom) and statement.names[0].name == "*":
                    source.stars.append(statement)
                for name in bound_names(statement):
                    source.binders.setdefault(name, []).append((statement, guards))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return f"{member} is no Python that can be parsed ({type(error).__name__})"
        return source

    def required(self) -> frozenset[str]:
        """Import names of what the wheel's METADATA requires without an extra, and FlashInfer."""
        if self._required is None:
            self._required = ALWAYS_PRESENT | self._requirements()
        return self._required

    def _requirements(self) -> set[str]:
        found: set[str] = set()
        for member in self._names:
            if not re.fullmatch(r"[^/]+\.dist-info/METADATA", member):
                continue
            text = (self._read(member) or b"").decode("utf-8", "replace")
            for line in Parser().parsestr(text, headersonly=True).get_all("Requires-Dist", []):
                try:
                    requirement = Requirement(line)
                except InvalidRequirement:
                    continue
                if requirement.marker is None or "extra" not in str(requirement.marker):
                    name = canonicalize_name(requirement.name)
                    found.add(MODULE_OF.get(name, name.replace("-", "_")))
        return found

    def absolute(self, member: str, level: int, module: str | None) -> str:
        """Dotted name that `from ..module import` in a member means."""
        if not level:
            return module or ""
        parts = member.removesuffix(".py").split("/")[:-1]
        parts = parts[: len(parts) - level + 1]
        return ".".join([*parts, *([module] if module else [])])


def _statements(body: list[ast.stmt], guards: tuple[Guard, ...]) -> Iterator[Binder]:
    """Walk what runs at import time, with the conditions around it."""
    for statement in body:
        if isinstance(statement, ast.If):
            yield from _statements(statement.body, (*guards, (statement.test, True)))
            yield from _statements(statement.orelse, (*guards, (statement.test, False)))
        elif isinstance(statement, ast.Try):
            yield from _statements(statement.body + statement.orelse, (*guards, (statement, True)))
            for handler in statement.handlers:
                yield from _statements(handler.body, (*guards, (statement, False)))
            yield from _statements(statement.finalbody, guards)
        elif isinstance(statement, ast.With):
            yield from _statements(statement.body, guards)
        else:
            yield statement, guards


def bound_names(statement: ast.AST) -> Iterator[str]:
    """Names that a statement binds in its own scope."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
        return
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            yield alias.asname or alias.name.split(".")[0]
        return
    if isinstance(statement, ast.ExceptHandler) and statement.name:
        yield statement.name
    if isinstance(statement, ast.Name) and isinstance(statement.ctx, (ast.Store, ast.Del)):
        yield statement.id
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.Lambda):
            yield from bound_names(child)
