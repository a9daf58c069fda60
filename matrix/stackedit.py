"""`stacks.yaml` as text: one pin replaced, everything else as it was, comments too. Pure."""

from __future__ import annotations

import json

import msgspec
import yaml

from matrix.document import loads
from matrix.errors import ConfigurationError
from matrix.stack import StacksFile, WrittenStack


def with_pin(text: str, name: str, stack: str, package: str, pin: str) -> str:
    """Return `text` (the file `name`) with one pin of a stack by hand replaced, and proven to be that and no more.

    Raises ConfigurationError for a file that is none, and for no such pin.
    """
    held = loads(text, StacksFile, name)
    wanted = [_with(one, package, pin) if one.name == stack else one for one in held.written]
    node = _pin(yaml.compose(text, yaml.SafeLoader), stack, package)
    if node is None:
        raise ConfigurationError(f"{name}: no stack {stack!r} by hand pins {package}")
    # Marks count characters, as the text does: the pure loader reads it as it is.
    start, end = node.start_mark.index, node.end_mark.index
    made = text[:start] + scalar(pin) + text[end:]
    if loads(made, StacksFile, name) != msgspec.structs.replace(held, written=tuple(wanted)):
        raise ConfigurationError(
            f"{name}: the pin of {package} in {stack!r} cannot be replaced by itself"
        )
    return made


def written(stack: WrittenStack, comment: str) -> str:
    """Return a file of this one stack, for `build --stacks`."""
    lines = [
        f"# {' '.join(comment.split())} Schema: schema/stacks.schema.json",
        "as_released: []",
        "written:",
        f"  - name: {scalar(stack.name)}",
        "    pins:",
        *(f"      {package}: {scalar(pin)}" for package, pin in stack.pins.items()),
    ]
    lines += [f"    note: {scalar(stack.note)}"] if stack.note else []
    text = "\n".join(lines) + "\n"
    if loads(text, StacksFile, "stack").written != (stack,):
        raise ConfigurationError(f"stack {stack.name!r} cannot be written as YAML")
    return text


def scalar(text: str) -> str:
    """Write a string as YAML: as it is where it reads back as itself, else quoted."""
    try:
        if yaml.safe_load(f"[{text}]") == [text] and yaml.safe_load(f"a: {text}") == {"a": text}:
            return text
    except (yaml.YAMLError, ValueError):
        pass
    return json.dumps(text, ensure_ascii=False)


def _with(stack: WrittenStack, package: str, pin: str) -> WrittenStack:
    return msgspec.structs.replace(stack, pins={**stack.pins, package: pin})


def _pin(root: yaml.Node | None, stack: str, package: str) -> yaml.Node | None:
    """Find the node of a pin."""
    listed = _value(root, "written")
    for entry in listed.value if isinstance(listed, yaml.SequenceNode) else ():
        name = _value(entry, "name")
        if name is not None and name.value == stack:
            return _value(_value(entry, "pins"), package)
    return None


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)
