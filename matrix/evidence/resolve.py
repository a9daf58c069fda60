"""What a name means in a module of a wheel: its own statements, imports followed by file, classes."""

from __future__ import annotations

import ast
from typing import Final

from matrix.evidence.library import Guard, Library
from matrix.evidence.value import (
    Class,
    External,
    Function,
    Module,
    Platform,
    Present,
    Question,
    Scope,
    Symbol,
    UndecidedError,
    Unknown,
    Value,
    join,
    reason,
    truth,
)

PLATFORM: Final = ("vllm.platforms", "current_platform")
ENVIRONMENT_TABLE: Final = "environment_variables"
"""The dictionary of `vllm/envs.py` that holds every variable's default as a lambda."""

STEPS: Final = 60_000
"""Expressions and statements that one answer may take."""


class Resolver:
    """Looks names up; evaluating what they are bound to is left to the subclasses."""

    def __init__(self, library: Library, question: Question) -> None:
        self.library = library
        self.question = question
        self._steps = 0
        self._globals: dict[tuple[str, str], Value] = {}
        self._open: set[tuple[str, str]] = set()

    def expression(self, node: ast.expr, scope: Scope) -> Value:
        """Evaluate an expression."""
        raise NotImplementedError

    def call(self, function: Value, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """Call a value."""
        raise NotImplementedError

    def unpack(self, target: ast.expr, value: Value, scope: Scope) -> None:
        """Bind a target to a value; what cannot be taken apart becomes unknown."""
        if isinstance(target, ast.Name):
            scope.names[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            fits = isinstance(value, (tuple, list)) and len(value) == len(target.elts)
            for index, item in enumerate(target.elts):
                part = value[index] if fits else Unknown(reason(value) or "a part of a value")
                self.unpack(item.value if isinstance(item, ast.Starred) else item, part, scope)
        elif isinstance(target, ast.Attribute):
            scope.names[ast.unparse(target)] = value
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            scope.names[target.value.id] = Unknown(f"what {target.value.id} holds")

    def step(self) -> None:
        """Count one step of work; raises UndecidedError when the answer takes too many."""
        self._steps += 1
        if self._steps > STEPS:
            raise UndecidedError("the check is too long to be followed")

    def name(self, name: str, scope: Scope) -> Value:
        """Give the value of a name: local, closure, module, builtin."""
        inner: Scope | None = scope
        while inner is not None:
            if name in inner.names:
                return inner.names[name]
            inner = inner.parent
        if name in self.library.source(scope.member).binders:
            return self.global_name(scope.member, name)
        for star in self.library.source(scope.member).stars:
            origin = self.library.find(self.library.absolute(scope.member, star.level, star.module))
            if origin and origin != scope.member and name in self.library.source(origin).binders:
                return self.global_name(origin, name)
        return External(f"builtins.{name}")

    def global_name(self, member: str, name: str) -> Value:
        """Give the value of a module's own name."""
        key = (member, name)
        if key in self._globals:
            return self._globals[key]
        if key in self._open:
            return Unknown(f"{name} is defined by itself")
        self._open.add(key)
        try:
            value = self._global_name(member, name)
        finally:
            self._open.discard(key)
        self._globals[key] = value
        return value

    def _global_name(self, member: str, name: str) -> Value:
        possible: list[Value] = []
        for statement, guards in self.library.source(member).binders.get(name, []):
            reached = self._reached(guards, Scope(member))
            if reached is False:
                continue
            value = self._bind(statement, name, Scope(member))
            possible = [value] if reached else [*possible, value]
            if reached is None and len(possible) == 1:
                possible.append(Unknown(f"{name} is bound under a condition"))
        if not possible:
            return Unknown(f"{name} is not bound in {member}")
        return join(possible, f"{name} is bound in more than one way")

    def _reached(self, guards: tuple[Guard, ...], scope: Scope) -> bool | None:
        reached: bool | None = True
        for test, wanted in guards:
            if isinstance(test, ast.Try):
                held = True if all(map(self._harmless, test.body)) else None
            else:
                held = truth(self.expression(test, scope))
            if held is not None and held is not wanted:
                return False
            reached = None if held is None else reached
        return reached

    def _harmless(self, statement: ast.stmt) -> bool:
        """Whether a statement under `try` cannot fail: imports of what is there."""
        if isinstance(statement, ast.Import):
            return all(self.importable(alias.name) for alias in statement.names)
        if isinstance(statement, ast.ImportFrom):
            return bool(statement.level) or self.importable(statement.module or "")
        return isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Pass)) or (
            isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)
        )

    def importable(self, dotted: str) -> bool:
        """Whether a module is in this wheel or of an installed distribution."""
        root = dotted.partition(".")[0]
        return self.library.find(dotted) is not None or root in self.library.required()

    def _bind(self, statement: ast.stmt, name: str, scope: Scope) -> Value:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return Function(scope.member, statement)
        if isinstance(statement, ast.ClassDef):
            return Class(scope.member, statement)
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            return self.imported(statement, scope)[name]
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            return self.expression(statement.value, scope)
        if isinstance(statement, ast.Assign):
            value = self.expression(statement.value, scope)
            for target in statement.targets:
                self.unpack(target, value, scope)
            return scope.names.get(name, Unknown(f"{name} is not plainly assigned"))
        return Unknown(f"{name} is not plainly assigned")

    def imported(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> dict[str, Value]:
        """Names that an import statement binds."""
        found: dict[str, Value] = {}
        for alias in node.names:
            if isinstance(node, ast.Import):
                dotted = alias.name if alias.asname else alias.name.split(".")[0]
                found[alias.asname or dotted] = self.module(dotted)
            else:
                origin = self.library.absolute(scope.member, node.level, node.module)
                found[alias.asname or alias.name] = self.member_of(origin, alias.name)
        return found

    def module(self, dotted: str) -> Value:
        """Give a module by its dotted name."""
        member = self.library.find(dotted)
        if member is not None:
            return Module(member)
        if dotted.partition(".")[0] in self.library.required():
            return Present(dotted, module=True)
        return External(dotted)

    def member_of(self, dotted: str, name: str) -> Value:
        """Give what `from dotted import name` binds."""
        if (dotted, name) == PLATFORM:
            return Platform()
        member = self.library.find(dotted)
        if member is not None:
            try:
                return self.module_attribute(member, name)
            except UndecidedError as error:
                return Unknown(str(error))
        if dotted.partition(".")[0] in self.library.required():
            return Present(f"{dotted}.{name}")
        return External(f"{dotted}.{name}")

    def module_attribute(self, member: str, name: str) -> Value:
        """Give an attribute of a module of this wheel."""
        dotted = member.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if (dotted, name) == PLATFORM:
            return Platform()
        source = self.library.source(member)
        if dotted.endswith(".envs") and ENVIRONMENT_TABLE in source.binders:
            return self._environment_variable(member, name)
        if name in source.binders:
            return self.global_name(member, name)
        if self.library.find(f"{dotted}.{name}") is not None:
            return self.module(f"{dotted}.{name}")
        value = self.name(name, Scope(member))
        if isinstance(value, External):
            return Unknown(f"{name} is not in {member}")
        return value

    def _environment_variable(self, member: str, name: str) -> Value:
        for statement, _guards in self.library.source(member).binders[ENVIRONMENT_TABLE]:
            table = getattr(statement, "value", None)
            if not isinstance(table, ast.Dict):
                continue
            for key, value in zip(table.keys, table.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == name:
                    return self.call(self.expression(value, Scope(member)), [], {})
        return Unknown(f"{name} is no environment variable of {member}")

    def class_attribute(self, owner: Class, name: str, bound: Value, depth: int = 0) -> Value:
        """Look an attribute up in a class and its bases; methods come bound."""
        if depth > 16:  # noqa: PLR2004 - deeper than any class tree of these packages
            raise UndecidedError(f"the bases of {owner.node.name} do not end")
        for statement in reversed(owner.node.body):
            if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if statement.name == name:
                    return _method(owner, statement, bound)
            elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value:
                targets = (
                    statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                )
                if any(isinstance(t, ast.Name) and t.id == name for t in targets):
                    if any("Enum" in ast.unparse(base) for base in owner.node.bases):
                        return Symbol(owner, name)
                    return self.expression(statement.value, Scope(owner.member, owner=owner))
        return self.base_attribute(owner, name, bound, depth)

    def base_attribute(self, owner: Class, name: str, bound: Value, depth: int = 0) -> Value:
        """Look an attribute up in the bases of a class only."""
        for base in owner.node.bases:
            value = self.expression(base, Scope(owner.member))
            if isinstance(value, Class):
                found = self.class_attribute(value, name, bound, depth + 1)
                if not (isinstance(found, Unknown) and found.why.startswith("no attribute ")):
                    return found
        return Unknown(f"no attribute {name} of {owner.node.name} could be found")


def _method(owner: Class, node: ast.FunctionDef | ast.AsyncFunctionDef, bound: Value) -> Function:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if "staticmethod" in decorators:
        return Function(owner.member, node, owner=owner)
    if "classmethod" in decorators:
        receiver = bound if isinstance(bound, (Class, Platform)) else owner
        return Function(owner.member, node, owner=owner, bound=(receiver,))
    return Function(owner.member, node, owner=owner, bound=(bound,))
