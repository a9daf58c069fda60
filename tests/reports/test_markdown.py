from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Report
from reports import markdown

GOLDEN = Path(__file__).parent / "golden"
LINK = "https://example.org/matrix.html"
HOSTILE = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["@octocat", "owner/repo#1", "#12", "GH-3", "|", "`", "``", "\\", "<img src=x>", "]]", "&lt;",
             "[a](https://evil.example)", "https://github.com/o/r/issues/1", "www.example.org", "\n", "\x1b[31m", "\u202e"]
        ), max_size=6,
    ).map("".join),
)  # fmt: skip


def unescaped_pipes(line: str) -> int:
    return len(re.findall(r"(?<!\\)(?:\\\\)*\|", line))


def test_matches_its_golden_file(report: Report, golden: Callable[[Path, str], None]) -> None:
    golden(GOLDEN / "report.md", markdown.render(report, link=LINK))


@pytest.mark.parametrize("limit", [65_536, 12_000, 5_000, 1_500, 300, 40])
def test_never_longer_than_the_limit(large: Report, limit: int) -> None:
    assert len(markdown.render(large, limit=limit, link=LINK)) <= limit


def test_what_was_left_out_is_counted_and_linked(report: Report) -> None:
    full = markdown.render(report, link=LINK)
    assert "Left out" not in full
    part = markdown.render(report, limit=len(full) - 1, link=LINK)
    assert "Left out: 21 of 40 rows (504 of 1008 cells) and 0 of 2" in part
    assert "vllm 0.17.1 \u2013 0.20.0" in part.split("### moe")[1].split("###")[0]
    assert "vllm 0.17.1 \u2013 0.20.0" not in part.split("### quantize")[1].split("###")[0]
    summary = markdown.render(report, limit=len(part) - 1, link=LINK)
    assert "Left out: 33 of 40 rows (756 of 1008 cells) and 0 of 2 contradictions." in summary
    counts = markdown.render(report, limit=len(summary) - 1, link=LINK)
    assert "rows, 1008 cells, counted above) and 2 contradictions." in counts
    last = markdown.render(report, limit=len(counts) - 1, link=LINK)
    assert last == f"Left out: all 1008 cells and 2 contradictions. See all of it: {LINK}"
    assert LINK in summary
    assert LINK in counts


def test_contradictions_shrink_before_the_tables_do(report: Report) -> None:
    many = msgspec.structs.replace(
        report,
        contradictions=tuple(
            msgspec.structs.replace(one, path=f"vllm.path-{n}")
            for n in range(10)
            for one in report.contradictions
        ),
    )
    full = markdown.render(many, link=LINK)
    fewer = markdown.render(many, limit=len(full) - 1, link=LINK)
    assert "Left out: 10 of 20 contradictions." in fewer
    assert fewer.count("### ") == full.count("### ")


@given(HOSTILE)
def test_escaped_text_cannot_leave_its_table_cell_or_notify_anyone(text: str) -> None:
    for safe in (markdown.escape(text), markdown.span(text)):
        assert unescaped_pipes(f"| {safe} | end |") == 3
        assert "<" not in safe
        assert not re.search(r"@\w", safe)
        assert not re.search(r"#\d", safe)
        assert not re.search(r"(?i)gh-\d", safe)
        assert "://" not in safe
        assert "\n" not in safe


@given(HOSTILE)
def test_a_code_span_is_one_code_span(text: str) -> None:
    assert markdown.span(text).count("`") in {0, 2}


def test_a_hostile_report_keeps_its_columns(hostile: Report) -> None:
    text = markdown.render(hostile)
    for table in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        assert len({unescaped_pipes(line) for line in table.splitlines()}) == 1
    assert "<" not in text
    assert not re.search(r"@\w", text)
