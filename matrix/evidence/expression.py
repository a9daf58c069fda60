"""Expressions of support checks, in three-valued logic; nothing is imported and nothing is run."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any, Final

from matrix.evidence.resolve import Resolver
from matrix.evidence.value import (
    MAXIMUM_ITEMS,
    Capability,
    Class,
    External,
    Function,
    Module,
    Platform,
    Present,
    RaisedError,
    Scope,
    Super,
    Symbol,
    Unknown,
    Value,
    known,
    reason,
    truth,
)

COMPARISONS: Final[dict[type[ast.cmpop], Callable[[Any, Any], bool]]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}
ARITHMETIC: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
MAXIMUM_NUMBER: Final = 1 << 40


class Expressions(Resolver):
    """Evaluates expressions; calls and statements are left to the subclasses."""

    def expression(self, node: ast.expr, scope: Scope) -> Value:
        """Evaluate an expression to a value, which may be Unknown."""
        self.step()
        given = self.question.given
        if given and isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Compare)):
            text = ast.unparse(node)
            if text in given:
                return given[text]
        evaluate: Callable[[Any, Scope], Value] | None = getattr(
            self, f"_{type(node).__name__.lower()}", None
        )
        if evaluate is None:
            return Unknown(f"cannot decide `{_text(node)}`")
        return evaluate(node, scope)

    def _constant(self, node: ast.Constant, _scope: Scope) -> Value:
        return node.value

    def _name(self, node: ast.Name, scope: Scope) -> Value:
        return False if node.id == "TYPE_CHECKING" else self.name(node.id, scope)

    def _tuple(self, node: ast.Tuple | ast.List | ast.Set, scope: Scope) -> Value:
        items: list[Value] = []
        for item in node.elts:
            if isinstance(item, ast.Starred):
                more = self.expression(item.value, scope)
                if not isinstance(more, (tuple, list)):
                    return Unknown(f"cannot decide `{_text(node)}`")
                items.extend(more)
            else:
                items.append(self.expression(item, scope))
        return tuple(items) if isinstance(node, ast.Tuple) else items

    _list = _tuple
    _set = _tuple

    def _dict(self, node: ast.Dict, scope: Scope) -> Value:
        found: dict[Value, Value] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            name = None if key is None else self.expression(key, scope)
            if not isinstance(name, (str, int, Symbol)):
                return Unknown("a dictionary whose keys cannot be decided")
            found[name] = self.expression(value, scope)
        return found

    def _lambda(self, node: ast.Lambda, scope: Scope) -> Value:
        return Function(scope.member, node, scope)

    def _joinedstr(self, node: ast.JoinedStr, scope: Scope) -> Value:
        parts: list[str] = []
        decided = True
        for part in node.values:
            value: Value
            if isinstance(part, ast.FormattedValue):
                value = self.expression(part.value, scope)
                plain = isinstance(value, (str, int)) and part.format_spec is None
                decided = decided and plain
                parts.append(str(value) if plain else "…")
            elif isinstance(part, ast.Constant):
                parts.append(str(part.value))
        text = "".join(parts)[:MAXIMUM_ITEMS]
        return text if decided else Unknown(text)

    def _ifexp(self, node: ast.IfExp, scope: Scope) -> Value:
        test = self.expression(node.test, scope)
        held = truth(test)
        if held is None:
            yes, no = self.expression(node.body, scope), self.expression(node.orelse, scope)
            if known(yes) and known(no) and type(yes) is type(no) and yes == no:
                return yes
            same = truth(yes) if truth(yes) == truth(no) else None
            return Unknown(self.why(test, node.test), same)
        return self.expression(node.body if held else node.orelse, scope)

    def _boolop(self, node: ast.BoolOp, scope: Scope) -> Value:
        settles = isinstance(node.op, ast.Or)
        undecided: list[str] = []
        value: Value = None
        for item in node.values:
            value = self.expression(item, scope)
            held = truth(value)
            if held is None:
                undecided.append(self.why(value, item))
            elif held is settles:
                return Unknown(undecided[0], settles) if undecided else value
        return Unknown(undecided[0]) if undecided else value

    def _unaryop(self, node: ast.UnaryOp, scope: Scope) -> Value:
        value = self.expression(node.operand, scope)
        if isinstance(node.op, ast.Not):
            held = truth(value)
            return Unknown(self.why(value, node.operand)) if held is None else not held
        if isinstance(node.op, ast.USub) and isinstance(value, (int, float)):
            return -value
        return Unknown(self.why(value, node))

    def _binop(self, node: ast.BinOp, scope: Scope) -> Value:
        left, right = self.expression(node.left, scope), self.expression(node.right, scope)
        compute = ARITHMETIC.get(type(node.op))
        if compute is None or not (known(left) and known(right)):
            return Unknown(self.why(left, node.left) if not known(left) else self.why(right, node))
        numbers = all(isinstance(v, int) and abs(v) < MAXIMUM_NUMBER for v in (left, right))
        texts = (
            isinstance(node.op, ast.Add)
            and type(left) is type(right)
            and isinstance(left, (str, list, tuple))
            and len(left) + len(right) < MAXIMUM_ITEMS
        )
        if not numbers and not texts:
            return Unknown(f"cannot decide `{_text(node)}`")
        try:
            return compute(left, right)
        except ZeroDivisionError as error:
            raise RaisedError(str(error)) from None

    def _compare(self, node: ast.Compare, scope: Scope) -> Value:
        undecided = ""
        left_node, left = node.left, self.expression(node.left, scope)
        for operation, right_node in zip(node.ops, node.comparators, strict=True):
            right = self.expression(right_node, scope)
            held = _compare(operation, left, right)
            if held is False:
                return Unknown(undecided, truth=False) if undecided else False
            if held is None and not undecided:
                undecided = self.why(left, left_node)
                if known(left):
                    undecided = self.why(right, right_node)
            left_node, left = right_node, right
        return Unknown(undecided) if undecided else True

    def _subscript(self, node: ast.Subscript, scope: Scope) -> Value:
        value, index = self.expression(node.value, scope), self.expression(node.slice, scope)
        if isinstance(value, (tuple, list, str, dict)) and isinstance(index, (int, str, Symbol)):
            try:
                return value[index]  # type: ignore[index]
            except (IndexError, KeyError, TypeError) as error:
                raise RaisedError(f"{type(error).__name__} at `{_text(node)}`") from None
        return Unknown(self.why(value, node))

    def _listcomp(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp, scope: Scope) -> Value:
        generator = node.generators[0]
        items = self.expression(generator.iter, scope)
        if len(node.generators) > 1 or not isinstance(items, (tuple, list)):
            return Unknown(f"cannot decide `{_text(node)}`")
        found: list[Value] = []
        for item in items:
            inner = Scope(scope.member, {}, scope, scope.owner, scope.bound)
            self.unpack(generator.target, item, inner)
            held = [truth(self.expression(test, inner)) for test in generator.ifs]
            if False in held:
                continue
            if None in held:
                return Unknown(f"cannot decide `{_text(node)}`")
            found.append(self.expression(node.elt, inner))
        return found

    _generatorexp = _listcomp
    _setcomp = _listcomp

    def _namedexpr(self, node: ast.NamedExpr, scope: Scope) -> Value:
        value = self.expression(node.value, scope)
        self.unpack(node.target, value, scope)
        return value

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Value:
        text = ast.unparse(node)
        if text in scope.names:
            return scope.names[text]
        return self.attribute(self.expression(node.value, scope), node.attr, node)

    def attribute(self, value: Value, name: str, node: ast.expr) -> Value:
        """Give an attribute of a value."""
        result: Value = Unknown(self.why(value, node))
        match value:
            case Module():
                result = self.module_attribute(value.member, name)
            case Class():
                result = self.class_attribute(value, name, value)
            case Super():
                result = self.base_attribute(value.owner, name, value.bound)
            case Capability():
                result = {"major": value[0], "minor": value[1]}.get(name, result)
            case Present():
                result = Present(f"{value.dotted}.{name}")
            case External():
                result = External(f"{value.dotted}.{name}")
            case Symbol() if name == "value":
                result = Symbol(value.owner, value.name)
            case Platform():
                result = self.platform_attribute(name)
        return result

    def platform_attribute(self, name: str) -> Value:
        """Look a method of vLLM's CUDA platform up in the wheel."""
        owner = self.library.find("vllm.platforms.cuda")
        if owner is None or "CudaPlatformBase" not in self.library.source(owner).binders:
            return Unknown(f"current_platform.{name}")
        platform = self.global_name(owner, "CudaPlatformBase")
        if not isinstance(platform, Class):
            return Unknown(f"current_platform.{name}")
        return self.class_attribute(platform, name, Platform())

    def why(self, value: Value, node: ast.expr) -> str:
        """Say what could not be decided."""
        return reason(value) or f"cannot decide `{_text(node)}`"


def _compare(operation: ast.cmpop, left: Value, right: Value) -> bool | None:
    if isinstance(operation, (ast.Is, ast.IsNot)):
        same = _identical(left, right)
        return same if same is None or isinstance(operation, ast.Is) else not same
    compute = COMPARISONS[type(operation)]
    if isinstance(operation, (ast.In, ast.NotIn)) and isinstance(right, (tuple, list, dict)):
        held = [_compare(ast.Eq(), left, item) for item in right]
        inside = True if True in held else None if None in held else False
        return inside if inside is None or isinstance(operation, ast.In) else not inside
    mixed = isinstance(left, Symbol) is not isinstance(right, Symbol)
    if mixed or not (known(left) and known(right)):
        return None
    try:
        return bool(compute(left, right))
    except TypeError as error:
        raise RaisedError(str(error)) from None


def _identical(left: Value, right: Value) -> bool | None:
    for value, other in ((left, right), (right, left)):
        if value is None and not isinstance(other, (Unknown, External)):
            return other is None
        if isinstance(value, bool) and isinstance(other, bool):
            return value is other
    if isinstance(left, (Symbol, Class)) and isinstance(right, (Symbol, Class)):
        return left == right
    return None


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - one line of a report
