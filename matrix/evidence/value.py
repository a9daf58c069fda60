"""Values of the interpreter that reads support checks: what Python has, and what stays unknown."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from matrix.gate import Predicate
from matrix.vocabulary import Environment

Value = Any
"""A plain Python value (bool, int, str, None, tuple, list, dict) or one of the classes below."""

MAXIMUM_ITEMS: Final = 4096
"""Longest string, list or range that is built: a hostile source cannot make the reader swell."""

MAXIMUM_NESTING: Final = 3
"""Tuples in tuples that are joined item by item."""


class UndecidedError(Exception):
    """The source uses something that cannot be decided by reading: the answer is unknown."""


class RaisedError(Exception):
    """The source raises here; the message is the package's own where it could be read."""


@dataclass(frozen=True)
class Unknown:
    """A value that cannot be known by reading. `truth` may still be known (`unknown and False`)."""

    why: str
    truth: bool | None = None


class Capability(tuple[int, int]):
    """A compute capability; behaves as the tuple (major, minor), as vLLM's and torch's do."""

    __slots__ = ()

    @staticmethod
    def of(number: int) -> Capability:
        """Make (12, 1) of 121."""
        return Capability(divmod(number, 10))

    @property
    def number(self) -> int:
        """121 for (12, 1)."""
        return self[0] * 10 + self[1]


@dataclass(frozen=True)
class Platform:
    """vLLM's `current_platform` on a CUDA machine."""


@dataclass(frozen=True)
class Present:
    """Something of an installed distribution whose source is not in this wheel (FlashInfer)."""

    dotted: str
    module: bool = False


@dataclass(frozen=True)
class External:
    """Something of a package that is not in this wheel, by dotted name."""

    dotted: str


@dataclass(frozen=True)
class Module:
    """A module of this wheel, by member path."""

    member: str


@dataclass(frozen=True, eq=False)
class Class:
    """A class of this wheel."""

    member: str
    node: ast.ClassDef

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Class) and other.node is self.node

    def __hash__(self) -> int:
        return id(self.node)


@dataclass(frozen=True)
class Symbol:
    """A member of an enumeration."""

    owner: Class
    name: str


@dataclass(frozen=True)
class Super:
    """`super()` inside a method of `owner`, called on `bound`."""

    owner: Class
    bound: Value


@dataclass(frozen=True, eq=False)
class Function:
    """A function of this wheel, with what it closes over and what it is bound to."""

    member: str
    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    scope: Scope | None = None
    owner: Class | None = None
    bound: tuple[Value, ...] = ()

    @property
    def name(self) -> str:
        """The name in the source."""
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name


@dataclass
class Scope:
    """Local names of one function on one path through it."""

    member: str
    names: dict[str, Value] = field(default_factory=dict)
    parent: Scope | None = None
    owner: Class | None = None
    bound: Value = None

    def fork(self) -> Scope:
        """Copy for another path; values are never changed in place."""
        return Scope(self.member, dict(self.names), self.parent, self.owner, self.bound)


@dataclass(frozen=True)
class Question:
    """One capability in one environment, and what is known beside the source.

    `given` maps normalised source text to a value. `externs` maps the text of a callee to its
    predicates. `compiled` says whether the wheel holds a piece for a capability.
    """

    capability: int
    environment: Environment
    given: Mapping[str, Value] = field(default_factory=dict)
    externs: Mapping[str, tuple[Predicate, ...]] = field(default_factory=dict)
    compiled: Callable[[str, int], bool | None] = lambda _piece, _capability: None


OPAQUE: Final = (Unknown, Present, External, Super, Function)
"""What Python's own comparison would judge by identity, and so wrongly."""


def truth(value: Value) -> bool | None:
    """Three-valued truth."""
    if isinstance(value, Unknown):
        return value.truth
    if isinstance(value, Present):
        return True if value.module else None
    if isinstance(value, External):
        return None
    if isinstance(value, (Platform, Module, Class, Symbol, Super, Function)):
        return True
    return bool(value)


def reason(value: Value) -> str:
    """Why a value is not known, in words."""
    if isinstance(value, Unknown):
        return value.why
    if isinstance(value, (Present, External)):
        return f"{value.dotted} is not in this wheel"
    return ""


def known(value: Value) -> bool:
    """Whether value and all its items are plain values, comparable by Python itself, and few.

    The count is of items walked, not held: a source can nest a value in itself exponentially.
    """
    waiting, walked = [value], 0
    while waiting:
        item = waiting.pop()
        walked += 1
        if walked > MAXIMUM_ITEMS or isinstance(item, OPAQUE):
            return False
        if isinstance(item, (tuple, list)):
            waiting.extend(item)
        elif isinstance(item, dict):
            waiting.extend(item.values())
    return True


def answer(
    predicates: tuple[Predicate, ...], capability: int, question: Question
) -> bool | Unknown:
    """Say what a C++ check answers for a capability: yes where any of its predicates does."""
    lacking = ""
    for predicate in predicates:
        if not predicate.minimum <= capability < predicate.below:
            continue
        if predicate.needs_piece is None:
            return True
        held = question.compiled(predicate.needs_piece, predicate.asked_for or capability)
        if held:
            return True
        if held is None:
            lacking = f"whether {predicate.needs_piece} is in the wheel"
    return Unknown(lacking) if lacking else False


def join(values: list[Value], why: str, depth: int = 0) -> Value:
    """One value that stands for several possible ones."""
    first = values[0]
    if all(v is first for v in values):
        return first
    if all(known(v) and type(v) is type(first) and v == first for v in values):
        return first
    if depth < MAXIMUM_NESTING and all(
        isinstance(v, tuple) and len(v) == len(first) for v in values
    ):
        return tuple(join(list(items), why, depth + 1) for items in zip(*values, strict=True))
    truths = {truth(v) for v in values}
    words = next((reason(v) for v in values if reason(v)), why)
    return Unknown(words, truths.pop() if len(truths) == 1 else None)
