"""Stacks of which a part is built from a commit: nothing that is known of releases is said of them."""

from __future__ import annotations

import shutil

import pytest

from matrix.cell import Report
from matrix.configuration import HERE, Configuration
from matrix.errors import ConfigurationError
from matrix.knowledge import Knowledge
from matrix.ledger import Ledger
from matrix.namedstack import by_hand, by_pin
from matrix.pins import choose
from matrix.published import Published, read_listing
from matrix.stack import WrittenStack

STACKS = """\
as_released:
  - range: vllm>=0.33.0
written:
  - name: lead
    pins: {vllm: "@main + #35947", flashinfer-python: "@main"}
    repositories: {vllm: /home/me/vllm}
  - name: half
    pins: {vllm: 0.33.0, flashinfer-python: "@main"}
  - name: nightly
    pins: {vllm: 0.33.1.dev7+gabc @ https://wheels.example/abc}
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("data") / "matrix"
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("ledger", "*.py", "__pycache__"))
    (folder / "stacks.yaml").write_text(STACKS)
    ledger = Ledger()
    published = Published(ledger.read(), read_listing(ledger.folder))
    knowledge = Knowledge(Configuration(folder), published)
    assert not [each for found in knowledge.wanted().values() for each in found if "@" in each]
    return knowledge.report(generated="2026-01-01T00:00:00Z", targets=["sm121"])


@pytest.mark.parametrize(
    ("stack", "said"),
    [
        ("lead", "vllm@main + #35947 is built from source"),
        ("half", "flashinfer-python@main is built from source"),
        ("nightly", "vllm 0.33.1.dev7+gabc for aarch64 was not read yet"),
    ],
)
def test_its_cells_are_unknown_and_say_why(report: Report, stack: str, said: str) -> None:
    cells = [cell for cell in report.cells if cell.stack == stack]
    assert cells
    assert {cell.verdict for cell in cells} == {"unknown"}
    for cell in cells:
        assert any(said in item.text for item in cell.evidence)


def test_it_is_no_pin_to_choose_and_hides_none(report: Report) -> None:
    choice = choose(report, target="sm121", machines=["aarch64"], needs=["gemm"])
    assert choice.newest == "vllm==0.33.0"
    assert {"lead", "half", "nightly"} <= {each.stack for each in choice.rejected}


def test_a_pin_is_taken_apart_into_what_is_built_and_where_from() -> None:
    pins = {"vllm": "@main + #7", "torch": "2.14.0.dev1 @ https://wheels.example/nightly"}
    made = by_hand(WrittenStack(name="mine", pins=pins, repositories={"vllm": "/x"}))
    assert made.pins == {"vllm": "@main + #7", "torch": "2.14.0.dev1"}
    assert made.indexes == {"torch": "https://wheels.example/nightly"}
    assert made.sources["vllm"].pulls == (7,)
    assert list(made.sources) == ["vllm"]


def test_a_stack_need_not_be_written_to_be_built() -> None:
    made = by_pin("vllm[b12x]@main+#7")
    assert made is not None
    assert (made.name, made.extras) == ("vllm[b12x]@main + #7", ("b12x",))
    assert by_pin("vllm==0.33.0") is None
    with pytest.raises(ConfigurationError, match="is no name of a branch"):
        by_pin("vllm@-x")
