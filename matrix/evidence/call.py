"""Calls in support checks: platform questions, builtins, and what an environment answers."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Callable
from typing import Final

from matrix.evidence.expression import Expressions
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
    answer,
    known,
    truth,
)

CUDA_HOME: Final = "/usr/local/cuda"
COMPILERS: Final = ("nvcc", "ninja")
ABSENT_WITHOUT_REQUIREMENT: Final = frozenset({"flashinfer_cubin", "flashinfer_jit_cache"})
"""Wheels of precompiled kernels that are installed only where a stack asks for them."""

PLATFORM_IS: Final = {
    "is_cuda": True,
    "is_cuda_alike": True,
    "is_rocm": False,
    "is_xpu": False,
    "is_cpu": False,
    "is_tpu": False,
    "is_hpu": False,
    "is_neuron": False,
    "is_out_of_tree": False,
}
MEASURES: Final[dict[str, Callable[[Capability], Value]]] = {
    "to_int": lambda capability: capability.number,
    "as_version_str": lambda capability: f"{capability[0]}.{capability[1]}",
}


class Calls(Expressions):
    """Evaluates calls; running a function's body is left to the subclass."""

    def run(self, function: Function, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """Run the body of a function of this wheel."""
        raise NotImplementedError

    def _call(self, node: ast.Call, scope: Scope) -> Value:  # noqa: PLR0911 - one arm a kind of receiver
        extern = self.question.externs.get(ast.unparse(node.func))
        if isinstance(node.func, ast.Name) and node.func.id == "super" and scope.owner:
            return Super(scope.owner, scope.bound)
        arguments = self._tuple(ast.Tuple(elts=node.args), scope)
        if not isinstance(arguments, tuple) or any(k.arg is None for k in node.keywords):
            return Unknown(self.why(None, node))
        keywords = {str(k.arg): self.expression(k.value, scope) for k in node.keywords}
        if extern is not None:
            number = arguments[0] if arguments else self.question.capability
            if not isinstance(number, int):
                return Unknown(self.why(number, node))
            return answer(extern, number, self.question)
        if isinstance(node.func, ast.Attribute):
            receiver = self.expression(node.func.value, scope)
            if isinstance(receiver, Platform):
                return self._platform(node.func.attr, [*arguments, *keywords.values()])
            if isinstance(receiver, Capability) and node.func.attr in MEASURES:
                return MEASURES[node.func.attr](receiver)
            if isinstance(receiver, (str, dict)):
                return self._plain(receiver, node, list(arguments))
            function = self.attribute(receiver, node.func.attr, node.func)
        else:
            function = self.expression(node.func, scope)
        result = self.call(function, list(arguments), keywords)
        if isinstance(result, Unknown) and not result.why:
            return Unknown(self.why(None, node), result.truth)
        return result

    def call(self, function: Value, arguments: list[Value], keywords: dict[str, Value]) -> Value:
        """Call a value; what is not of this wheel is answered from the environment, or unknown."""
        if isinstance(function, Function):
            if function.name == "get_compute_capability" and function.owner is None:
                return Capability.of(self.question.capability)
            return self.run(function, arguments, keywords)
        if isinstance(function, Class):
            return self._made(function, arguments)
        if isinstance(function, External):
            return self._external(function.dotted, arguments)
        if isinstance(function, Present):
            return Unknown(f"what {function.dotted}() answers")
        return Unknown(function.why if isinstance(function, Unknown) else "")

    def _made(self, owner: Class, arguments: list[Value]) -> Value:
        """Make an object: a member of an enumeration by its value, else unknown."""
        if any("Enum" in ast.unparse(base) for base in owner.node.bases) and len(arguments) == 1:
            for statement in owner.node.body:
                if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
                    name = statement.targets[0]
                    if statement.value.value == arguments[0] and isinstance(name, ast.Name):
                        return Symbol(owner, name.id)
        return Unknown(f"an object of {owner.node.name}")

    def _platform(self, name: str, arguments: list[Value]) -> Value:
        capability = Capability.of(self.question.capability)
        if name in PLATFORM_IS:
            return PLATFORM_IS[name]
        if name == "get_device_capability":
            return capability
        if name in {"has_device_capability", "is_device_capability"} and arguments:
            wanted = arguments[0]
            if not isinstance(wanted, (int, tuple)) or not known(wanted):
                return Unknown(f"cannot decide current_platform.{name}")
            own: Value = capability.number if isinstance(wanted, int) else tuple(capability)
            return own >= wanted if name.startswith("has") else own == wanted
        if name == "is_device_capability_family" and arguments and isinstance(arguments[0], int):
            return capability.number // 10 == arguments[0] // 10
        return self.call(self.platform_attribute(name), arguments, {})

    def _plain(self, receiver: Value, node: ast.Call, arguments: list[Value]) -> Value:
        """Call a method of a string or a dictionary."""
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if isinstance(receiver, dict):
            if name == "get" and arguments and isinstance(arguments[0], (str, int)):
                return receiver.get(arguments[0], arguments[1] if len(arguments) > 1 else None)
            views = {"keys": list(receiver), "values": list(receiver.values())}
            views["items"] = list(receiver.items())
            return views.get(name, Unknown(self.why(None, node)))
        allowed = {"lower", "upper", "strip", "startswith", "endswith", "split", "removeprefix"}
        if name in allowed and all(isinstance(a, (str, tuple)) and known(a) for a in arguments):
            try:
                return getattr(receiver, name)(*arguments)
            except (TypeError, ValueError) as error:
                raise RaisedError(str(error)) from None
        return Unknown(self.why(None, node))

    def _external(self, dotted: str, arguments: list[Value]) -> Value:  # noqa: C901, PLR0911 - one arm a callee
        first = arguments[0] if arguments else None
        if dotted.startswith("builtins."):
            return self._builtin(dotted.removeprefix("builtins."), arguments)
        if dotted == "torch.cuda.get_device_capability":
            return Capability.of(self.question.capability)
        if dotted == "torch.cuda.is_available":
            return True
        if dotted in {"os.getenv", "os.environ.get"} and isinstance(first, str):
            if first in {"CUDA_HOME", "CUDA_PATH"} and self.question.environment == "devel":
                return CUDA_HOME
            return arguments[1] if len(arguments) > 1 else None
        if dotted == "os.path.join" and all(isinstance(a, str) for a in arguments):
            return posixpath.join(*arguments)[:MAXIMUM_ITEMS]
        if dotted == "os.path.dirname" and isinstance(first, str):
            return posixpath.dirname(first)
        if dotted == "shutil.which" and isinstance(first, str):
            if posixpath.basename(first) not in COMPILERS:
                return Unknown(f"whether {first} is installed")
            devel = self.question.environment == "devel"
            return posixpath.join(CUDA_HOME, "bin", posixpath.basename(first)) if devel else None
        if dotted == "importlib.util.find_spec" and isinstance(first, str):
            return self._installed(first)
        if dotted == "importlib.import_module" and isinstance(first, str):
            return self._installed(first) or self._missing(first)
        return Unknown(f"what {dotted}() answers")

    def _installed(self, dotted: str) -> Value:
        root = dotted.partition(".")[0]
        if self.importable(dotted):
            member = self.library.find(dotted)
            return Module(member) if member else Present(dotted, module=True)
        if root in ABSENT_WITHOUT_REQUIREMENT:
            return None
        return Unknown(f"whether {root} is installed")

    def _missing(self, dotted: str) -> Value:
        raise RaisedError(f"No module named {dotted!r}")

    def _builtin(self, name: str, arguments: list[Value]) -> Value:  # noqa: C901, PLR0911 - one arm a builtin
        first = arguments[0] if arguments else None
        if name == "bool" and arguments:
            held = truth(first)
            return Unknown(self.why(first, ast.Name(id="bool"))) if held is None else held
        if name == "int" and isinstance(first, (int, str)) and len(str(first)) < 20:  # noqa: PLR2004
            try:
                return int(first)
            except ValueError as error:
                raise RaisedError(str(error)) from None
        if name == "str" and isinstance(first, (int, str)):
            return str(first)
        if name in {"any", "all"} and isinstance(first, (list, tuple)):
            held_all = [truth(item) for item in first]
            settles = name == "any"
            if settles in held_all:
                return settles
            return (
                Unknown(f"{name}() of what cannot be decided") if None in held_all else not settles
            )
        if name in {"tuple", "list", "set", "frozenset"} and isinstance(first, (list, tuple)):
            return tuple(first) if name == "tuple" else list(first)
        if name == "len" and isinstance(first, (list, tuple, str, dict)):
            return len(first)
        if name == "range" and all(isinstance(a, int) for a in arguments) and arguments:
            items = range(*arguments[:3]) if 0 not in arguments[2:3] else range(0)
            return list(items) if len(items) < MAXIMUM_ITEMS else Unknown("a long range")
        if name in {"getattr", "hasattr"} and isinstance(first, (Present, Module, Class)):
            return self._getattr(name, arguments)
        if name == "callable" and isinstance(first, (Present, Function, Class)):
            return True
        return Unknown("" if name != "callable" else self.why(first, ast.Name(id=name)))

    def _getattr(self, name: str, arguments: list[Value]) -> Value:
        wanted = arguments[1] if len(arguments) > 1 else None
        if not isinstance(wanted, str):
            return Unknown("")
        value = self.attribute(arguments[0], wanted, ast.Name(id=wanted))
        if name == "getattr":
            return value
        return Unknown(value.why) if isinstance(value, Unknown) else True
