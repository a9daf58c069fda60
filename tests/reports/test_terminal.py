from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from matrix.cell import Report
from reports import terminal

GOLDEN = Path(__file__).parent / "golden"
Build = Callable[..., Report]


@pytest.mark.parametrize(
    ("name", "width", "ascii_only"),
    [("terminal-80", 80, False), ("terminal-100", 100, False), ("terminal-80-ascii", 80, True)],
)
def test_matches_its_golden_file(
    report: Report,
    name: str,
    width: int,
    ascii_only: bool,
    golden: Callable[[Path, str], None],
) -> None:
    text = terminal.render(report, width=width, ascii_only=ascii_only, capabilities=["gemm", "moe"])
    golden(GOLDEN / f"{name}.txt", text)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_no_line_of_a_table_is_wider_than_the_window(
    report: Report, hostile: Report, width: int
) -> None:
    for told in (report, hostile):
        text = terminal.render(told, width=width, evidence=False)
        for line in text.split("\nNext\n")[0].splitlines():
            assert len(line) <= width


@pytest.mark.parametrize("width", [60, 80, 160])
def test_every_verdict_of_the_newest_release_is_shown_at_any_width(
    report: Report, width: int
) -> None:
    text = terminal.render(report, width=width, capabilities=["gemm"])
    newest = [line for line in text.splitlines() if line.startswith("  0.33.0 ")]
    glyphs = [character for line in newest for character in line if character in "✓●◔◑✗○?"]
    assert len(glyphs) == 9


def test_a_wide_window_gets_the_verdict_in_words(report: Report) -> None:
    one = msgspec.structs.replace(
        report, cells=tuple(c for c in report.cells if c.target == "sm121")
    )
    assert "✗ broken D-··" in terminal.render(one, width=100, capabilities=["gemm"])


def test_ascii_output_is_ascii_and_keeps_verdicts_apart(report: Report) -> None:
    assert terminal.render(report, ascii_only=True).isascii()


def test_colour_is_only_there_when_asked_for(report: Report) -> None:
    assert "\x1b[" not in terminal.render(report)
    assert "\x1b[" in terminal.render(report, colour=True)


def test_a_compiler_that_changes_the_verdict_gets_its_own_line(report: Report) -> None:
    text = terminal.render(report, width=100, capabilities=["gemm"])
    assert "    devel" in text


def test_few_cells_show_their_evidence(report: Report) -> None:
    cells = tuple(
        c for c in report.cells
        if (c.stack, c.target, c.capability) == ("vllm==0.32.0", "sm121", "gemm")
    )  # fmt: skip
    text = terminal.render(msgspec.structs.replace(report, cells=cells), width=120)
    assert "has_device_capability: yes. The gate asks" in text
    assert "Contradictions: 1" in text
    assert "vllm/model_executor/kernels/linear.py:211" in text


def test_hostile_names_reach_the_terminal_as_plain_words(hostile: Report) -> None:
    text = terminal.render(hostile, width=160, evidence=True)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\u202e" not in text
    assert "[red]" in text


def test_an_empty_report_says_so(report: Report) -> None:
    empty = msgspec.structs.replace(report, cells=(), contradictions=())
    assert "no cell matches" in terminal.render(empty)
