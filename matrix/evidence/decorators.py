"""FlashInfer's support tables: what stands in the decorators above a function, read by AST."""

from __future__ import annotations

import ast

from matrix.evidence.evaluate import Interpreter
from matrix.evidence.value import Function, Scope, UndecidedError

SUPPORTED = "supported_compute_capability"
REQUIREMENT = "backend_requirement"
FLAGS = "get_nvcc_flags_list"
MAJORS = "supported_major_versions"


def declared(interpreter: Interpreter, function: Function, backend: str) -> tuple[bool, str]:
    """Say whether the decorators of a function claim the asked capability.

    As FlashInfer's own `is_backend_supported` and `is_compute_capability_supported` answer: a backend
    that the table lacks is a no; without backends the common check decides. Raises UndecidedError
    where no decorator speaks of capabilities.
    """
    lists = _lists(interpreter, function, backend)
    if lists is None:
        return False, f"{function.name} has no backend {backend!r} in this release"
    if not lists:
        raise UndecidedError(f"{function.name} has no decorator that names capabilities")
    for capabilities in lists:
        if interpreter.question.capability not in capabilities:
            return False, f"{SUPPORTED}({capabilities})"
    return True, ""


def _lists(interpreter: Interpreter, function: Function, backend: str) -> list[list[int]] | None:
    found: list[list[int]] = []
    if isinstance(function.node, ast.Lambda):
        return found
    for decorator in function.node.decorator_list:
        if not isinstance(decorator, ast.Call):
            continue
        name = ast.unparse(decorator.func).split(".")[-1]
        if name == SUPPORTED and decorator.args:
            found.append(_capabilities(interpreter, function, decorator.args[0]))
        elif name == REQUIREMENT:
            checks = _checks(interpreter, function, decorator, backend)
            if checks is None:
                return None
            for check in checks:
                found += _lists(interpreter, check, "") or []
    return found


def _checks(
    interpreter: Interpreter, function: Function, decorator: ast.Call, backend: str
) -> list[Function] | None:
    scope = Scope(function.member)
    keywords = {k.arg: k.value for k in decorator.keywords}
    table = decorator.args[0] if decorator.args else keywords.get("backend_checks")
    common = decorator.args[1] if len(decorator.args) > 1 else keywords.get("common_check")
    chosen: list[ast.expr] = []
    if backend:
        if not isinstance(table, ast.Dict):
            raise UndecidedError(f"the backend table of {function.name} is no plain dictionary")
        named = {interpreter.expression(k, scope): v for k, v in _pairs(table)}
        if backend not in named:
            return None
        chosen.append(named[backend])
    if common is not None:
        chosen.append(common)
    checks = [interpreter.expression(node, scope) for node in chosen]
    for check, node in zip(checks, chosen, strict=True):
        if not isinstance(check, Function) and ast.unparse(node) != "None":
            raise UndecidedError(f"the check {ast.unparse(node)} cannot be found in this wheel")
    return [check for check in checks if isinstance(check, Function)]


def _pairs(table: ast.Dict) -> list[tuple[ast.Constant, ast.expr]]:
    return [
        (key, value)
        for key, value in zip(table.keys, table.values, strict=True)
        if isinstance(key, ast.Constant)
    ]


def _capabilities(interpreter: Interpreter, function: Function, node: ast.expr) -> list[int]:
    value = interpreter.expression(node, Scope(function.member))
    if not isinstance(value, (list, tuple)) or not all(type(item) is int for item in value):
        raise UndecidedError(f"cannot decide `{SUPPORTED}({ast.unparse(node)})`")
    return list(value)


def generated(interpreter: Interpreter, function: Function) -> tuple[bool, str]:
    """Say whether a JIT module is generated for the asked capability's major version.

    Read from the function's call of `get_nvcc_flags_list`, which raises for any other major version.
    """
    for node in ast.walk(function.node):
        if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith(f".{FLAGS}")):
            continue
        keywords = {k.arg: k.value for k in node.keywords}
        majors = node.args[0] if node.args else keywords.get(MAJORS)
        if majors is None:
            return True, ""
        value = interpreter.expression(majors, Scope(function.member))
        if not isinstance(value, (list, tuple)) or not all(type(item) is int for item in value):
            raise UndecidedError(f"cannot decide `{MAJORS}={ast.unparse(majors)}`")
        held = interpreter.question.capability // 10 in value
        return held, "" if held else f"{MAJORS}={list(value)}"
    raise UndecidedError(f"{function.name} does not call {FLAGS}")
