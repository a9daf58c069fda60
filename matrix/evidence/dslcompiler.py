"""NVIDIA's CUTLASS DSL: which architectures its compiler knows, read from its Python, never imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement

from matrix.evidence.syntax import tree
from matrix.evidence.wheel import Wheel

_ARCHITECTURES: Final = ("/cutlass/base_dsl/enums.py", "/cutlass/base_dsl/arch.py")
"""Where `class Arch(Enum)` stands: arch.py up to 4.5, enums.py later. 4.0 to 4.2 have no such class."""

_BLOCK_SCALED: Final = {
    "/cutlass/cute/nvgpu/warp/mma.py": "MmaSM120BlockScaledOp",
    "/cutlass/cute/nvgpu/tcgen05/mma.py": "BlockScaledMmaOp",
}
"""The base classes of the block-scaled (MXF4, NVF4) matrix instructions, whose `admissible_archs` the DSL
compares with the target before it compiles: 12x, and 10x with 11x."""

_NAME: Final = re.compile(r"^sm_[1-9]\d{1,2}[af]?$")
_LARGEST: Final = 4 * 1024 * 1024  # bytes of a module; the longest of 4.8.0 read here has 0.1 MB


def read_dsl(wheel: Wheel) -> dict[str, str]:
    """Return the facts of one wheel of the DSL.

    `targets`: the architectures that it names at all; `block_scaled_targets`: those for which it
    compiles FP4 matrix instructions; each space-separated. `compiler_in`: of a wheel without the
    compiler, the distributions (with their specifiers) that bring it. What is not there is left out.
    Raises what `Wheel` raises.
    """
    facts: dict[str, str] = {}
    targets: set[str] = set()
    admitted: set[str] = set()
    for name in wheel.names():
        if name.endswith(_ARCHITECTURES):
            targets |= set(_members(_tree(wheel, name), "Arch"))
        for ending, operation in _BLOCK_SCALED.items():
            if name.endswith(ending):
                admitted |= set(_admissible(_tree(wheel, name), operation))
    if targets:
        facts["targets"] = " ".join(sorted(targets, key=_order))
    if admitted:
        facts["block_scaled_targets"] = " ".join(sorted(admitted, key=_order))
    if not facts and (brought := list(_compilers(wheel.metadata().get_all("Requires-Dist", [])))):
        facts["compiler_in"] = " ".join(brought)
    return facts


def _tree(wheel: Wheel, name: str) -> ast.Module:
    try:
        return tree(wheel.read(name, limit=_LARGEST), name)
    except SyntaxError:
        return ast.Module(body=[], type_ignores=[])


def _class(tree: ast.Module, name: str) -> list[ast.stmt]:
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef) and statement.name == name:
            return statement.body
    return []


def _assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    for statement in body:
        if isinstance(statement, ast.If):  # 4.6 names 11x by the toolkit that it runs with
            yield from _assignments([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    yield target.id, statement.value


def _members(tree: ast.Module, name: str) -> Iterator[str]:
    return (key for key, _ in _assignments(_class(tree, name)) if _NAME.match(key))


def _admissible(tree: ast.Module, name: str) -> Iterator[str]:
    """Yield the architectures of a list such as `["sm_120a", Arch.sm_121a]`; one that is computed has none."""
    for key, value in _assignments(_class(tree, name)):
        if key == "admissible_archs" and isinstance(value, ast.List | ast.Tuple):
            for item in value.elts:
                if isinstance(item, ast.Attribute) and _NAME.match(item.attr):
                    yield item.attr
                elif isinstance(item, ast.Constant) and _NAME.match(str(item.value)):
                    yield str(item.value)


def _order(name: str) -> tuple[int, str]:
    digits = "".join(filter(str.isdigit, name))
    return int(digits), name


def _compilers(requirements: Iterable[str]) -> Iterator[str]:
    for text in requirements:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if requirement.marker is None and requirement.name.startswith("nvidia-cutlass-dsl-libs-"):
            yield f"{requirement.name}{requirement.specifier}"
