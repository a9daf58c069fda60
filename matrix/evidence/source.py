"""The declared lamp: what a wheel's Python says of each compute capability, read and never run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from matrix.evidence.decorators import declared, generated
from matrix.evidence.evaluate import Interpreter
from matrix.evidence.library import Library
from matrix.evidence.outcome import Outcome
from matrix.evidence.value import (
    Capability,
    Class,
    Function,
    Question,
    RaisedError,
    Symbol,
    UndecidedError,
    Value,
    answer,
    reason,
    truth,
)
from matrix.gate import Extern, Gate, GateAnswer, Predicate, PythonGate
from matrix.vocabulary import ENVIRONMENTS, Answer, Environment

CAPABILITIES: Final = (75, 80, 86, 89, 90, 100, 103, 107, 110, 120, 121)
"""Asked of every gate, so that a new target needs no new audit."""

MAXIMUM_WHY: Final = 600
"""Characters of `why` that are kept."""

Found = tuple[Answer, str]
Compiled = Callable[[str, int], bool | None]


def read_gates(
    *,
    package: str,
    version: str,
    read: Callable[[str], bytes | None],
    names: Collection[str],
    gates: Sequence[Gate],
    externs: Sequence[Extern],
    compiled: Compiled,
) -> tuple[GateAnswer, ...]:
    """Answer every gate of a package that holds in a release.

    `read` gives a member of the wheel by name (each is asked for once), `names` lists the members.
    `compiled` says whether the wheel holds a piece for a capability; None where it is not known.
    Never raises on what the wheel holds: what cannot be decided is `unknown`, and `why` says so.
    """
    library = Library(read, names)
    calls: dict[str, tuple[Predicate, ...]] = {}
    for extern in externs:
        if _applies(extern.package, extern.versions, package, version):
            calls[extern.call] = (*calls.get(extern.call, ()), extern.predicate)
    return tuple(
        _answer(gate, library, calls, compiled)
        for gate in gates
        if _applies(gate.package, gate.versions, package, version)
    )


def _applies(own: str, versions: str, package: str, version: str) -> bool:
    same = canonicalize_name(own) == canonicalize_name(package)
    return same and SpecifierSet(versions).contains(version, prereleases=True)


def _answer(
    gate: Gate,
    library: Library,
    externs: Mapping[str, tuple[Predicate, ...]],
    compiled: Compiled,
) -> GateAnswer:
    found: dict[tuple[Environment, int], Found] = {}
    where = ""
    if gate.predicate is not None:
        where = f"{gate.predicate.file}:{gate.predicate.line}"
    elif gate.python is not None:
        where = _place(library, gate.python)
    for environment in ENVIRONMENTS:
        for capability in CAPABILITIES:
            given = _given(gate.python) if gate.python else {}
            question = Question(capability, environment, given, externs, compiled)
            if gate.predicate is not None:
                found[environment, capability] = _truth(
                    answer((gate.predicate,), capability, question)
                )
            elif gate.python is not None:
                found[environment, capability] = _asked(library, question, gate.python)
    return GateAnswer(
        gate=gate.gate,
        backend=gate.backend,
        native=gate.native,
        capabilities=gate.capabilities,
        where=where,
        slim={str(c): w for (e, c), (w, _) in found.items() if e == "slim"},
        devel={str(c): w for (e, c), (w, _) in found.items() if e == "devel"},
        why=_reasons(found),
    )


def _word(held: bool | None) -> Answer:  # noqa: FBT001 - the value itself, not a flag
    return "unknown" if held is None else "yes" if held else "no"


def _given(python: PythonGate) -> dict[str, Value]:
    return {
        ast.unparse(ast.parse(text, mode="eval")): value for text, value in python.given.items()
    }


def _arguments(python: PythonGate, function: Function, capability: int) -> dict[str, Value]:
    """Arguments of a gate that take the capability, by the names that the packages use for it."""
    spec = function.node.args
    taken = {a.arg for a in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)}
    values: dict[str, Value] = {
        "compute_capability": capability,
        "device_capability": Capability.of(capability),
        "capability": Capability.of(capability),
    }
    if python.capability_parameter:
        values[python.capability_parameter] = str(capability)
    return {name: value for name, value in values.items() if name in taken}


def _asked(library: Library, question: Question, python: PythonGate) -> Found:
    """Ask the function and those beside it: one no is a no, else one unknown is an unknown."""
    found = [
        _ask(Interpreter(library, question), replace(python, function=name))
        for name in (python.function, *python.also)
    ]
    return min(found, key=lambda pair: ("no", "unknown", "yes").index(pair[0]))


def _ask(interpreter: Interpreter, python: PythonGate) -> Found:  # noqa: PLR0911 - one arm a way to fail
    try:
        function = _function(interpreter, python)
        if python.style == "decorator":
            held, why = declared(interpreter, function, python.backend)
            return _word(held), why
        if python.style == "codegen":
            held, why = generated(interpreter, function)
            return _word(held), why
        return _called(interpreter, function, python)
    except UndecidedError as error:
        return "unknown", str(error)
    except RaisedError as error:
        return "unknown", f"the source raises: {error}"
    except RecursionError:
        return "unknown", "the source is nested too deep"
    except Exception as error:  # noqa: BLE001 - a hostile wheel must not stop an audit
        return "unknown", f"the source cannot be followed ({type(error).__name__}: {error})"


def _called(interpreter: Interpreter, function: Function, python: PythonGate) -> Found:
    interpreter.shallow = python.style == "refuse"
    keywords = _arguments(python, function, interpreter.question.capability)
    if python.returns:
        return _chosen(interpreter.outcomes(function, [], keywords), python)
    try:
        value = interpreter.run(function, [], keywords)
    except RaisedError as error:
        return "no", str(error)
    if python.style == "minimum":
        held = _compare_minimum(value, interpreter.question.capability)
        return held or ("unknown", reason(value) or "its answer is no capability")
    return ("yes", "") if interpreter.shallow else _truth(value)


def _compare_minimum(value: Value, capability: int) -> Found | None:
    if not isinstance(value, int):
        return None
    return ("yes", "") if capability >= value else ("no", f"asks for capability {value} or higher")


def _chosen(outcomes: Sequence[Outcome], python: PythonGate) -> Found:
    """Say whether the choice that a function makes is the wanted one, on every path."""
    found: list[Found] = []
    for outcome in outcomes:
        if outcome.kind == "raise":
            found.append(("no", str(outcome.value)))
            continue
        value = outcome.scope.names.get(python.assigns) if python.assigns else outcome.value
        if isinstance(value, bool):
            found.append(("yes", "") if value else ("no", "its check says no"))
            continue
        name = value.name if isinstance(value, Symbol) else value
        if name is not None and not isinstance(name, str):
            return "unknown", reason(value) or "its choice cannot be decided"
        found.append(("yes", "") if name in python.returns else ("no", f"chooses {name}"))
    if len({word for word, _ in found}) == 1:
        return found[0]
    undecided = (outcome.scope.names.get("?", "") for outcome in outcomes)
    return "unknown", next(filter(None, undecided), "its choice cannot be decided")


def _truth(value: Value) -> Found:
    first, words = (value[0], value[1:]) if isinstance(value, tuple) and value else (value, ())
    held = truth(first)
    if held is None:
        return "unknown", reason(first) or "its answer cannot be decided"
    text = next((word for word in words if isinstance(word, str)), "")
    return _word(held), "" if held else text or reason(first)


def _function(interpreter: Interpreter, python: PythonGate) -> Function:
    """Find the function in the first of its places that has it."""
    members = [m for m in (python.file, *python.moved) if m in interpreter.library]
    owner_name, _, name = python.function.rpartition(".")
    for member in members:
        if (owner_name or name) not in interpreter.library.source(member).binders:
            continue
        value = interpreter.global_name(member, owner_name or name)
        if isinstance(value, Class):
            value = interpreter.class_attribute(value, name, value)
        if isinstance(value, Function):
            return value
        raise UndecidedError(reason(value) or f"{python.function} is no function in {member}")
    if not members:
        raise UndecidedError(f"{python.file} is not in this release")
    raise UndecidedError(f"{python.function} is not in {members[0]} of this release")


def _place(library: Library, python: PythonGate) -> str:
    question = Question(CAPABILITIES[-1], "slim")
    try:
        function = _function(Interpreter(library, question), python)
    except Exception:  # noqa: BLE001 - the same; `_ask` tells why
        return python.file
    return f"{function.member}:{function.node.lineno}"


def _reasons(found: Mapping[tuple[Environment, int], Found]) -> str:
    """Give each reason once, with the capabilities that it is for."""
    by_words: dict[str, dict[Environment, list[int]]] = {}
    for (environment, capability), (_, words) in found.items():
        if words:
            held = by_words.setdefault(words, {})
            held.setdefault(environment, []).append(capability)
    parts = [_reason(words, held) for words, held in by_words.items()]
    text = "; ".join(parts)
    return text if len(text) <= MAXIMUM_WHY else f"{text[: MAXIMUM_WHY - 1]}…"


def _reason(words: str, held: Mapping[Environment, Iterable[int]]) -> str:
    slim, devel = list(held.get("slim", ())), list(held.get("devel", ()))
    if slim == devel:
        every = tuple(slim) == CAPABILITIES
        return words if every else f"{', '.join(f'sm{c}' for c in slim)}: {words}"
    sides = [(name, side) for name, side in (("slim", slim), ("devel", devel)) if side]
    return "; ".join(f"{n} {', '.join(f'sm{c}' for c in s)}: {words}" for n, s in sides)
