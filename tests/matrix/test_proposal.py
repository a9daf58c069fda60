from __future__ import annotations

import pytest

from matrix.errors import ConfigurationError
from matrix.knowledge import Knowledge
from matrix.namedstack import by_hand
from matrix.proposal import LARGEST, changed, proposal
from matrix.stack import StacksFile, WrittenStack

OURS = (WrittenStack(name="mine", pins={"vllm": "0.33.0"}, note="ours"),)
PACKAGES = ("vllm", "torch")
HEAD = "as_released: []\nwritten:\n"


def read(*entries: str) -> tuple[WrittenStack, ...]:
    text = HEAD + "".join(f"  - {entry}\n" for entry in entries)
    return proposal(text, "theirs.yaml", ours=OURS, packages=PACKAGES)


def test_what_we_have_is_not_proposed_whatever_its_note() -> None:
    same = "{name: mine, pins: {vllm: 0.33.0}, note: other}"
    found = read(
        same, "{name: new, pins: {vllm: 0.32.0}}", "{name: built, pins: {vllm: '@main + #7'}}"
    )
    assert [stack.name for stack in found] == ["new", "built"]


def test_another_order_of_pins_is_another_stack() -> None:
    """The first one leads."""
    assert read("{name: mine, pins: {torch: 2.11.0, vllm: 0.33.0}}")


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{name: '', pins: {vllm: 0.33.0}}", "is empty"),
        ("{name: 'vllm==9', pins: {vllm: 0.33.0}}", "has == or ;"),
        ("{name: 'a;b', pins: {vllm: 0.33.0}}", "has == or ;"),
        ("{name: '--image=theirs', pins: {vllm: 0.33.0}}", "begins with -"),
        ('{name: "a\\u202eb", pins: {vllm: 0.33.0}}', "cannot be seen"),
        ("{name: a, pins: {}}", "pins nothing"),
        ("{name: a, pins: {vlm: 0.33.0}}", "did you mean vllm?"),
        ("{name: a, pins: {vllm: '$(id)'}}", "is no version"),
        ("{name: a, pins: {vllm: '@--upload-pack=x'}}", "pins vllm"),
        ("{name: a, pins: {vllm: '1.0 @ https://evil.example/simple'}}", "names an index"),
        ("{name: a, pins: {vllm: '@main'}, repositories: {vllm: /home}}", "names a repository"),
        ("{name: a, pins: {vllm: 0.33.0}, run: id}", "unknown key 'run'"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
    ],
)
def test_what_is_no_stack_or_comes_from_elsewhere_is_refused_in_one_line(
    entry: str, why: str
) -> None:
    with pytest.raises(ConfigurationError) as error:
        read(entry)
    assert str(error.value).startswith("theirs.yaml")
    assert why in str(error.value)
    assert "\n" not in str(error.value)


def test_two_of_one_name_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="stands twice"):
        read("{name: a, pins: {vllm: 0.33.0}}", "{name: a, pins: {vllm: 0.32.0}}")


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="larger than"):
        proposal(" " * (LARGEST + 1), "theirs.yaml", ours=(), packages=())


def test_a_proposed_stack_stands_for_ours_of_its_name() -> None:
    ours = Knowledge.load()
    name = ours.configuration.stacks.written[0].name
    theirs = Knowledge.load([by_hand(WrittenStack(name=name, pins={"vllm": "0.32.0"}))])
    assert [stack.pins for stack in theirs.stacks if stack.name == name] == [{"vllm": "0.32.0"}]
    assert len(theirs.stacks) == len(ours.stacks)


def test_a_stack_that_pins_otherwise_has_changed_and_one_with_another_note_has_not() -> None:
    def file(*stacks: WrittenStack) -> StacksFile:
        return StacksFile(as_released=(), written=stacks)

    noted = WrittenStack(name="mine", pins={"vllm": "0.33.0"}, note="other")
    other = WrittenStack(name="mine", pins={"vllm": "0.32.0"})
    new = WrittenStack(name="new", pins={"vllm": "0.33.0"})
    assert changed(file(*OURS), file(noted)) == ()
    assert changed(file(*OURS), file(other, new)) == ("mine", "new")
    assert changed(file(*OURS, new), file(*OURS)) == ()
