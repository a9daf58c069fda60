"""YAML documents as typed values: every complaint names file, line and the nearest right name."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TypeVar, get_args

import msgspec
import yaml

from matrix.errors import ConfigurationError

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # a PyYAML without libyaml reads the same, slower
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

Value = TypeVar("Value")
_WHERE = re.compile(r" - at (?:`key` in )?`\$(.*)`$")
_UNKNOWN = re.compile(r"^Object contains unknown field `(.*)`")
_OPENER = re.compile(r"[\[{]|[-?:]\s")
_MANY = 10_000  # openers; libyaml's composer overruns an 8 MiB stack at 20,000 levels or more
_DEEPEST = 100  # levels; no file of ours has ten
_STEP = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")


def load(path: Path, kind: type[Value]) -> Value:
    """Read `path` as a value of `kind`.

    Raises ConfigurationError, one line that opens with file:line, for a file that cannot be read, for
    malformed YAML, and for unknown keys, duplicates and wrong types.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read ({type(error).__name__})") from error
    return loads(text, kind, str(path))


def loads(text: str, kind: type[Value], name: str) -> Value:
    """Read YAML `text` as a value of `kind`; `name` stands for the file in complaints. See `load`."""
    loader = _Loader(text)
    try:
        _refuse_depth(text, name)
        node = loader.get_single_node()
        if node is None:
            raise ConfigurationError(f"{name}:1: the file is empty")
        _refuse_duplicates(node, name)
        content = loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{name}:{line}: {error.problem or 'malformed YAML'}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{name}:1: malformed YAML") from error
    finally:
        loader.dispose()
    try:
        return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_explain(str(error), node, kind, name)) from error


def nearest(word: str, words: list[str]) -> str:
    """Give "; did you mean X?" for the closest of `words`, or what there is when none is close."""
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known: {', '.join(sorted(words))}" if words else ""


def _refuse_depth(text: str, name: str) -> None:
    """Refuse what is nested too deep for the composer, whose recursion is C; events come without."""
    if sum(1 for _ in _OPENER.finditer(text)) <= _MANY:
        return
    depth = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 1
            raise ConfigurationError(f"{name}:{line}: nested too deep")


def _refuse_duplicates(node: yaml.Node, name: str, known: set[int] | None = None) -> None:
    """Refuse keys that stand twice, keys that are no words, and aliases, which multiply what is read."""
    known = set() if known is None else known
    line = node.start_mark.line + 1
    if id(node) in known:
        raise ConfigurationError(f"{name}:{line}: an alias stands for this; write it out there")
    known.add(id(node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise ConfigurationError(f"{name}:{at}: a key has to be a word")
            if key.value in seen:
                raise ConfigurationError(f"{name}:{at}: {key.value!r} stands twice")
            seen.add(key.value)
            _refuse_duplicates(value, name, known)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value, name, known)


def _explain(message: str, node: yaml.Node, kind: type, name: str) -> str:
    """Turn msgspec's message and path into file:line, words and the nearest right name."""
    where = _WHERE.search(message)
    steps = _STEP.findall(where[1]) if where else []
    words = _WHERE.sub("", message)
    unknown = _UNKNOWN.match(words)
    at, owner = _follow(node, steps, kind)
    if unknown is None:
        return f"{name}:{at.start_mark.line + 1}: {words}{_of(steps)}"
    key, line = unknown[1], at.start_mark.line + 1
    if isinstance(at, yaml.MappingNode):
        line = next((k.start_mark.line + 1 for k, _ in at.value if k.value == key), line)
    known = [field.encode_name for field in msgspec.structs.fields(owner)] if owner else []
    return f"{name}:{line}: unknown key {key!r}{nearest(key, known)}"


def _of(steps: list[tuple[str, str]]) -> str:
    names = [step for step, _ in steps if step]
    return f" (at {names[-1]})" if names else ""


def _follow(
    node: yaml.Node, steps: list[tuple[str, str]], kind: type
) -> tuple[yaml.Node, type | None]:
    """Walk msgspec's path through the YAML nodes, and beside it the type that stands there."""
    owner: object = kind
    for key, index in steps:
        if key and isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == key), node)
            hints = (
                {f.encode_name: f.type for f in msgspec.structs.fields(owner)}
                if isinstance(owner, type) and issubclass(owner, msgspec.Struct)
                else {}
            )
            owner = hints.get(key)
        elif index.isdigit() and isinstance(node, yaml.SequenceNode):
            node = node.value[int(index)]
            owner = _item(owner)
        else:
            owner = None
        if owner is not None and not isinstance(owner, type):
            structs = [a for a in get_args(owner) if isinstance(a, type)]
            if not hasattr(owner, "__origin__") and structs:  # Optional[Struct]
                owner = structs[0]
    good = isinstance(owner, type) and issubclass(owner, msgspec.Struct)
    return node, owner if good and isinstance(owner, type) else None


def _item(owner: object) -> object:
    arguments = get_args(owner)
    return arguments[0] if arguments else None
