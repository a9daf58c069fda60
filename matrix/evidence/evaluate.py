"""Statements and functions of support checks: every path that cannot be excluded is followed."""

from __future__ import annotations

import ast
from typing import Final

from matrix.evidence.call import Calls
from matrix.evidence.outcome import Outcome, decorator_name, forget, yields
from matrix.evidence.value import (
    External,
    Function,
    RaisedError,
    Scope,
    UndecidedError,
    Unknown,
    Value,
    join,
    reason,
    truth,
)

MAXIMUM_PATHS: Final = 64
MAXIMUM_DEPTH: Final = 24
TRANSPARENT: Final = frozenset(
    {"classmethod", "staticmethod", "abstractmethod", "cache", "lru_cache", "with_nvml_context"}
)
"""Decorators that leave what a function answers as it is."""

MUTATORS: Final = frozenset(
    [
        "append",
        "extend",
        "insert",
        "remove",
        "pop",
        "clear",
        "sort",
        "reverse",
        "add",
        "discard",
        "update",
        "setdefault",
    ]
)


class Interpreter(Calls):
    """Runs functions on paper. `shallow`: calls into other functions stay unknown."""

    depth = 0
    shallow = False

    def run(self, function: Function, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """Give what a function answers; raises RaisedError where every path raises."""
        if self.shallow and self.depth:
            return Unknown(f"what {function.name}() answers")
        returned: list[Value] = []
        raised: list[str] = []
        why = ""
        for outcome in self.outcomes(function, arguments, keywords):
            if outcome.kind == "raise":
                raised.append(str(outcome.value))
            else:
                returned.append(outcome.value)
            why = why or outcome.scope.names.get("?", "")
        if not returned:
            raise RaisedError(raised[0])
        if raised:
            raise UndecidedError(f"whether {function.name} raises: {why or raised[0]}")
        return join(returned, why or f"what {function.name}() answers")

    def outcomes(
        self, function: Function, arguments: list[Value], keywords: dict[str, Value]
    ) -> list[Outcome]:
        """Give every possible end of a call."""
        if self.depth >= MAXIMUM_DEPTH:
            raise UndecidedError(f"the calls under {function.name} go too deep")
        scope = Scope(function.member, {}, function.scope, function.owner)
        scope.bound = function.bound[0] if function.bound else None
        self._parameters(function, [*function.bound, *arguments], keywords, scope)
        node = function.node
        self.depth += 1
        try:
            if isinstance(node, ast.Lambda):
                return [Outcome("return", scope, self.expression(node.body, scope))]
            strange = [d for d in node.decorator_list if decorator_name(d) not in TRANSPARENT]
            if strange and self.depth > 1:
                raise UndecidedError(f"{function.name} is wrapped by {ast.unparse(strange[0])}")
            if isinstance(node, ast.AsyncFunctionDef) or yields(node):
                raise UndecidedError(f"{function.name} is no plain function")
            ends = self.block(node.body, scope)
        finally:
            self.depth -= 1
        return [Outcome("return", o.scope, None) if o.kind == "next" else o for o in ends]

    def _parameters(
        self, function: Function, values: list[Value], keywords: dict[str, Value], scope: Scope
    ) -> None:
        spec = function.node.args
        names = [a.arg for a in (*spec.posonlyargs, *spec.args)]
        outer = Scope(function.member, {}, function.scope, function.owner)
        defaults = dict(zip(reversed(names), reversed(spec.defaults), strict=False))
        defaults |= {a.arg: d for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d}
        bound = dict(zip(names, values, strict=False)) | keywords
        for name in [*names, *(a.arg for a in spec.kwonlyargs)]:
            if name in self.question.given:
                scope.names[name] = self.question.given[name]
            elif name in bound:
                scope.names[name] = bound[name]
            elif name in defaults:
                scope.names[name] = self.expression(defaults[name], outer)
            else:
                scope.names[name] = Unknown(f"the argument {name}")
        for rest in (spec.vararg, spec.kwarg):
            if rest is not None:
                scope.names[rest.arg] = Unknown(f"the arguments {rest.arg}")

    def block(self, body: list[ast.stmt], scope: Scope) -> list[Outcome]:
        """Run statements on every path."""
        open_paths, ended = [scope], list[Outcome]()
        for statement in body:
            following: list[Scope] = []
            for path in open_paths:
                try:
                    outcomes = self.statement(statement, path)
                except RaisedError as error:
                    outcomes = [Outcome("raise", path, str(error))]
                following += [o.scope for o in outcomes if o.kind == "next"]
                ended += [o for o in outcomes if o.kind != "next"]
            open_paths = following
            if len(open_paths) + len(ended) > MAXIMUM_PATHS:
                raise UndecidedError("too many paths")
            if not open_paths:
                break
        return ended + [Outcome("next", path) for path in open_paths]

    def statement(self, node: ast.stmt, scope: Scope) -> list[Outcome]:  # noqa: C901, PLR0911, PLR0912 - one arm a kind of statement
        """Run one statement."""
        self.step()
        match node:
            case ast.Return():
                value = None if node.value is None else self.expression(node.value, scope)
                return [Outcome("return", scope, value)]
            case ast.Raise():
                return [Outcome("raise", scope, self._message(node, scope))]
            case ast.If():
                return self._branch(node.test, node.body, node.orelse, scope)
            case ast.Assert():
                return self._branch(node.test, [], [ast.Raise(exc=node.msg)], scope)
            case ast.Assign():
                value = self.expression(node.value, scope)
                for target in node.targets:
                    self.unpack(target, value, scope)
            case ast.AnnAssign():
                if node.value is not None:
                    self.unpack(node.target, self.expression(node.value, scope), scope)
            case ast.AugAssign():
                load = ast.parse(ast.unparse(node.target), mode="eval").body
                value = self.expression(ast.BinOp(load, node.op, node.value), scope)
                self.unpack(node.target, value, scope)
            case ast.Expr():
                self._effect(node.value, scope)
            case ast.Import() | ast.ImportFrom():
                scope.names |= self.imported(node, scope)
            case ast.FunctionDef():
                scope.names[node.name] = Function(scope.member, node, scope, scope.owner)
            case ast.ClassDef():
                scope.names[node.name] = Unknown(f"the local class {node.name}")
            case ast.Break():
                return [Outcome("break", scope)]
            case ast.Continue():
                return [Outcome("continue", scope)]
            case ast.For() | ast.While():
                return self._loop(node, scope)
            case ast.Try():
                return self._try(node, scope)
            case ast.With():
                forget((i.optional_vars for i in node.items), scope)
                return self.block(node.body, scope)
            case ast.Pass() | ast.Delete():
                forget([node], scope)
            case _:
                raise UndecidedError(f"cannot follow `{type(node).__name__.lower()}`")
        return [Outcome("next", scope)]

    def _branch(
        self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], scope: Scope
    ) -> list[Outcome]:
        value = self.expression(test, scope)
        held = truth(value)
        if held is not None:
            return self.block(body if held else orelse, scope)
        scope.names.setdefault("?", self.why(value, test))
        return self.block(body, scope.fork()) + self.block(orelse, scope.fork())

    def _loop(self, node: ast.For | ast.While, scope: Scope) -> list[Outcome]:
        items = self.expression(node.iter, scope) if isinstance(node, ast.For) else None
        ended: list[Outcome] = []
        if not isinstance(items, (tuple, list)) or not isinstance(node, ast.For):
            forget([node], scope)
            scope.names.setdefault("?", "a loop over what cannot be decided")
            once = self.block(node.body, scope.fork())
            ended = [o for o in once if o.kind in {"return", "raise"}]
            return [*ended, *self.block(node.orelse, scope.fork()), Outcome("next", scope)]
        paths, left = [scope], list[Scope]()
        for item in items:
            following: list[Scope] = []
            for path in paths:
                self.unpack(node.target, item, path)
                for outcome in self.block(node.body, path):
                    if outcome.kind in {"next", "continue"}:
                        following.append(outcome.scope)
                    elif outcome.kind == "break":
                        left.append(outcome.scope)
                    else:
                        ended.append(outcome)
            paths = following
            if len(paths) + len(left) + len(ended) > MAXIMUM_PATHS:
                raise UndecidedError("too many paths")
        for path in paths:
            ended += self.block(node.orelse, path)
        return ended + [Outcome("next", path) for path in left]

    def _try(self, node: ast.Try, scope: Scope) -> list[Outcome]:
        before = scope.fork()
        done = self.block(node.body, scope)
        raised = [o for o in done if o.kind == "raise"]
        kept = [o for o in done if o.kind != "raise"]
        kept = [
            after
            for o in kept
            for after in (self.block(node.orelse, o.scope) if o.kind == "next" else [o])
        ]
        if node.handlers and (raised or not self._certain(node, kept, before)):
            forget(node.body, before)
            before.names.setdefault("?", "whether what is tried fails")
            for handler in node.handlers:
                kept += self.block(handler.body, before.fork())
        if not node.handlers:
            kept += raised
        return [
            last if last.kind != "next" else o
            for o in kept
            for last in self.block(node.finalbody, o.scope)
        ]

    def _certain(self, node: ast.Try, outcomes: list[Outcome], before: Scope) -> bool:
        """Whether everything under `try` was known, so that nothing of it can fail."""
        if not all(self._sure(statement, before) for statement in node.body):
            return False
        return not any(isinstance(o.value, (Unknown, External)) for o in outcomes)

    def _sure(self, node: ast.stmt, scope: Scope) -> bool:
        if isinstance(node, ast.If):
            held = truth(self.expression(node.test, scope.fork()))
            inner = node.body if held else node.orelse
            return held is not None and all(self._sure(s, scope) for s in inner)
        if isinstance(node, (ast.Assign, ast.Expr)):
            value = self.expression(node.value, scope.fork())
            return not isinstance(value, (Unknown, External))
        return isinstance(node, ast.Return) or self._harmless(node)

    def _effect(self, node: ast.expr, scope: Scope) -> None:
        if isinstance(node, ast.Constant):
            return
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            self.expression(node, scope)
            return
        target = node.func.value
        if isinstance(target, ast.Name) and target.id in {"logger", "_logger"}:
            return
        if node.func.attr not in MUTATORS or not isinstance(target, ast.Name):
            self.expression(node, scope)
            return
        held = scope.names.get(target.id)
        if node.func.attr in {"append", "add"} and isinstance(held, list) and node.args:
            scope.names[target.id] = [*held, self.expression(node.args[0], scope)]
        else:
            scope.names[target.id] = Unknown(f"cannot follow {target.id}.{node.func.attr}()")

    def _message(self, node: ast.Raise, scope: Scope) -> str:
        argument = (
            node.exc.args[0] if isinstance(node.exc, ast.Call) and node.exc.args else node.exc
        )
        if argument is None:
            return "raises"
        try:
            value = self.expression(argument, scope)
        except RaisedError:
            return "raises"
        return value if isinstance(value, str) else reason(value) or ast.unparse(argument)
