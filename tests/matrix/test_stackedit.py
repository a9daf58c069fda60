from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.document import loads
from matrix.errors import ConfigurationError
from matrix.stack import StacksFile, WrittenStack
from matrix.stackedit import scalar, with_pin, written

TEXT = """\
# Sets of pins \u2013 by hand. Schema: schema/stacks.schema.json
as_released: []
written:
  - name: spark   # under the desk
    pins:
      vllm: 0.25.1        # the last that
      flashinfer-python: '0.6.4'  # worked
    note: >-
      vllm: 0.25.1 is
      what it says.
  - {name: other, pins: {vllm: 0.25.1}}
"""


def test_one_pin_is_replaced_and_everything_else_stays() -> None:
    made = with_pin(TEXT, "stacks.yaml", "spark", "vllm", "0.26.0")
    assert made == TEXT.replace("vllm: 0.25.1        #", "vllm: 0.26.0        #")
    made = with_pin(made, "stacks.yaml", "spark", "flashinfer-python", "@main + #7")
    assert '      flashinfer-python: "@main + #7"  # worked\n' in made
    made = with_pin(made, "stacks.yaml", "other", "vllm", "0.26")
    assert '  - {name: other, pins: {vllm: "0.26"}}\n' in made


@pytest.mark.parametrize(("stack", "package"), [("spark", "torch"), ("nobody", "vllm")])
def test_a_pin_that_is_not_there_is_refused(stack: str, package: str) -> None:
    with pytest.raises(ConfigurationError, match=f"no stack '{stack}' by hand pins {package}"):
        with_pin(TEXT, "stacks.yaml", stack, package, "1.0.0")


@given(st.text(max_size=30), st.sampled_from(["spark", "other"]))
def test_any_pin_reads_back_as_itself_in_either_style(pin: str, stack: str) -> None:
    try:
        made = with_pin(TEXT, "stacks.yaml", stack, "vllm", pin)
    except ConfigurationError:
        assert not pin.isprintable() or "\\u" in scalar(pin)
        return
    held = {one.name: one.pins["vllm"] for one in loads(made, StacksFile, "x").written}
    assert held == {"spark": "0.25.1", "other": "0.25.1", stack: pin}


def test_a_stack_is_written_as_a_file_of_its_own() -> None:
    stack = WrittenStack(name="a: b", pins={"vllm": "@main + #7", "torch": "2.10"}, note="x # y")
    text = written(stack, "One\nstack.")
    assert loads(text, StacksFile, "x").written == (stack,)
    assert text.startswith("# One stack. Schema: ")
