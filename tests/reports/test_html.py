from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from matrix.cell import Report
from reports import html


def embedded(page: str) -> str:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return found[1]


def decoded(coded: list[int | str]) -> list[str]:
    words = [""]
    for shared, rest in pairs(coded):
        words.append(words[-1][:shared] + rest)
    return words[1:]


def pairs(coded: list[int | str]) -> Iterator[tuple[int, str]]:
    for shared, rest in zip(coded[::2], coded[1::2], strict=True):
        assert isinstance(shared, int)
        assert isinstance(rest, str)
        yield shared, rest


@given(st.lists(st.text(alphabet="ab\U0001f600\U0001f601é"), unique=True))
def test_front_coded_words_read_back_as_utf_16(words: list[str]) -> None:
    coded = html.front_coded(sorted(words))
    before = b""
    read = []
    for shared, rest in pairs(coded):
        before = before[: 2 * shared] + rest.encode("utf-16-le")
        read.append(before.decode("utf-16-le"))
    assert read == sorted(words)


def test_the_data_say_what_the_report_says(report: Report) -> None:
    data = json.loads(embedded(html.render(report)))
    assert len(data["cells"]) == len(report.cells)
    words = decoded(data["strings"])
    for cell, (s, t, m, e, c, f, evidence) in zip(report.cells, data["cells"], strict=True):
        assert data["stacks"][s]["name"] == cell.stack
        assert data["targets"][t]["name"] == cell.target
        assert (data["machines"][m], data["environments"][e]) == (cell.machine, cell.environment)
        assert data["capabilities"][c] == cell.capability
        assert data["faces"][f][4] == cell.verdict
        told = [[words[at] for at in data["items"][item]] for item in data["evidence"][evidence]]
        assert told == [[i.kind, i.name, i.answer, i.text, i.where] for i in cell.evidence]


def test_hostile_text_cannot_leave_the_data(hostile: Report) -> None:
    page = html.render(hostile)
    data = embedded(page)
    assert "<" not in data
    assert json.loads(data)["stacks"][0]["name"] == hostile.stacks[0].name
    assert page.lower().count("<script") == 2


def test_nothing_is_loaded_from_elsewhere(report: Report) -> None:
    class Sources(HTMLParser):
        found: list[str | None]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [v for k, v in attrs if k in {"src", "href"} and tag != "a"]

    parser = Sources()
    parser.found = []
    page = html.render(report)
    parser.feed(page)
    assert parser.found == ["data:,"]
    assert "default-src 'none'" in page
    assert "@import" not in page
    assert "url(" not in page


def test_the_same_report_gives_the_same_page(report: Report) -> None:
    assert html.render(report) == html.render(report)


def test_a_headline_capability_is_open_first(report: Report) -> None:
    assert html.payload(report, ("gemm",))["first"] == "gemm"
    assert html.payload(report, ("absent",))["first"] == "quantize"


def test_an_empty_report_is_still_a_page() -> None:
    empty = Report(generated="today", targets=(), stacks=(), cells=(), contradictions=())
    assert "today" in html.render(empty)


def test_ten_thousand_cells_stay_under_four_megabytes(large: Report) -> None:
    assert len(large.cells) >= 8_000
    assert len(html.render(large).encode()) < 4_000_000
