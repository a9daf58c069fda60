"""How a path through statements ends, and what is said of statements without following them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from matrix.evidence.library import bound_names
from matrix.evidence.value import Scope, Unknown, Value


@dataclass
class Outcome:
    """How one path through statements ends, and with which names."""

    kind: Literal["next", "return", "raise", "break", "continue"]
    scope: Scope
    value: Value = None


def forget(nodes: Iterable[ast.AST | None], scope: Scope) -> None:
    """Make every name that the nodes bind unknown: it is not known whether, or how often, they ran."""
    for name in {name for node in nodes if node for name in bound_names(node)}:
        scope.names[name] = Unknown(f"what {name} is by then")


def decorator_name(decorator: ast.expr) -> str:
    """Give the last part of a decorator's name."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.attr if isinstance(target, ast.Attribute) else ast.unparse(target)


def yields(node: ast.FunctionDef) -> bool:
    """Whether a function is a generator."""
    return any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(node))
