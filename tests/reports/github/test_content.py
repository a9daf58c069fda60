"""What is posted: never over a limit, no cell lost silently, nobody named, nothing injected."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import cmarkgfm
import msgspec
import pytest
from cmarkgfm.cmark import Options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from matrix.cell import Report
from reports.github import content, difference
from reports.github.annotate import remarks
from reports.github.change import Change, changes
from reports.github.content import Told
from reports.github.posting import COMMENT, DESCRIPTION, FIELD, SUMMARY
from reports.github.required import judge
from reports.github.state import Key, Seen, pack, state
from reports.github.stepsummary import compose
from reports.markdown import escape, inert
from tests.reports.conftest import build_report

SMALL = build_report(("0.33.0", "0.32.1"), ("gemm", "moe"))
GOLDEN = Path(__file__).parent / "golden"
LINK = "https://example.org/matrix"
WHEN = "2026-11-20T03:00:00Z"
NASTY = st.one_of(
    st.text(max_size=60),
    st.lists(
        st.sampled_from(
            ["@octocat", "@org/team", "owner/repo#1", "#12", "GH-3", "gh-4", "|", "`", "``", "```", "\\", "<img src=x>",
             "]]", "&lt;", "&#64;octocat", "&commat;o", "[a](https://evil.example)", "![i](//evil.example/i.png)", " ", "-",
             "https://github.com/o/r/issues/1", "http://a.example", "www.example.org", "ftp://x.example", "mailto:a@b.example",
             "a@b.example", "xmpp:a@b.example", "\n", "\r", "\x1b[31m", "\u202e", "4f2a9c1e8b7d6a5f4e3c2b1a0f9e8d7c6b5a4f3e",
             "4f2a9c1", "1234567", "o/r@4f2a9c1e8b7d", "<!--", "-->", "--", "<details>", "</details>", "**", "__", "~~", "$x$", "\u200b"]
        ), max_size=8,
    ).map("".join),
)  # fmt: skip


class Page(HTMLParser):
    """What a reader gets of rendered Markdown: elements, and text outside of code."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self._code = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self._code += tag == "code"

    def handle_endtag(self, tag: str) -> None:
        self._code -= tag == "code"

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


def rendered(markdown: str) -> Page:
    """As GitHub's own library renders it: raw HTML goes through, so that what is injected is seen."""
    return Page(cmarkgfm.github_flavored_markdown_to_html(markdown, Options.CMARK_OPT_UNSAFE))


LINKED = re.compile(
    r"(?<![\w/])@[A-Za-z0-9]|(?<!\w)(?:[\w.-]+/[\w.-]+)?#\d|\b[Gg][Hh]-\d"
    r"|\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{7,40}\b|https?://|www\."
)
"""What GitHub itself turns into a mention, a reference or a link, after Markdown was rendered."""


def harmless(page: Page, *, links: tuple[str, ...] = ()) -> None:
    assert set(page.links) <= set(links)
    text = page.text
    for link in links:
        text = text.replace(link, "")
    assert not LINKED.search(text), LINKED.search(text)
    allowed = {"p", "h2", "h3", "h4", "ul", "li", "strong", "code", "details", "summary", "a",
               "table", "thead", "tbody", "tr", "th", "td", "em"}  # fmt: skip
    assert set(page.tags) <= allowed


def days(report: Report, **broken: str) -> Told:
    """The report a day after one in which gemm of the newest release on sm120 was likely and moe broken."""
    before = dict(state(report))
    for key, seen in before.items():
        if key.target == "sm120" and key.stack == report.stacks[0].name:
            before[key] = seen._replace(verdict="likely" if key.capability == "gemm" else "broken")
    cells = tuple(
        msgspec.structs.replace(cell, verdict="broken", reason="trap_kernel")
        if (cell.stack, cell.target, cell.capability) == (report.stacks[0].name, "sm120", "gemm")
        else cell
        for cell in report.cells
    )
    now = msgspec.structs.replace(report, cells=cells, **broken)
    gone = Key("vllm==0.8.5", "sm120", "x86_64", "slim", "gemm")
    before[gone] = Seen("works", "", "pass")
    required = judge(now, ["gemm", "moe"], [report.stacks[0].name], ["slim"])
    return Told(now, required, changes(before, state(now)), WHEN, LINK)


@pytest.fixture(scope="module")
def told(small: Report) -> Told:
    return days(small)


def test_a_comment_matches_its_golden_file(told: Told, golden: Callable[[Path, str], None]) -> None:
    packed = pack(state(told.report), told.report.generated)
    golden(GOLDEN / "comment.md", content.comment(told, "nvfp4-matrix", packed))


def test_a_check_matches_its_golden_file(told: Told, golden: Callable[[Path, str], None]) -> None:
    title, summary, text = content.check(told)
    golden(GOLDEN / "check.md", f"{title}\n=====\n{summary}\n=====\n{text}")


def test_what_changed_stands_before_the_matrix(told: Told) -> None:
    text = content.text(told, COMMENT)
    assert text.index("regressed") < text.index("| stack |")
    assert "**2 regressed, 1 newly missing, 2 fixed, " in text


def test_changes_that_are_alike_are_one_line(told: Told) -> None:
    text = difference.render(told.report, told.changes, compared=WHEN)
    assert "- **gemm** ● likely → ✗ broken `trap_kernel`: `vllm 0.33.0` on sm120 (2 cells)" in text
    assert (
        "- **gemm** ✓ works → gone from the matrix: `vllm==0.8.5` on sm120 (slim) (1 cell)" in text
    )


def test_nothing_changed_is_said(small: Report) -> None:
    text = content.text(Told(small, compared=WHEN), COMMENT)
    assert f"**Nothing changed since `{WHEN}`.**" in text


def test_the_first_post_says_so(small: Report) -> None:
    assert "First post" in content.text(Told(small, compared=""), COMMENT)


def test_nothing_is_said_of_changes_where_nobody_asked(small: Report) -> None:
    text = content.text(Told(small), COMMENT)
    assert "First post" not in text
    assert "changed" not in text


@pytest.fixture(scope="module")
def huge() -> Told:
    """10,000 cells, each of which changed."""
    versions = tuple(f"0.{minor}.{patch}" for minor in range(70, 10, -1) for patch in (1, 0))
    report = build_report(versions, ("gemm", "moe", "quantize", "kv-cache"))
    before = {
        key: Seen(("likely", "broken", "works")[n % 3], "", ("pass", "missing")[n % 2])
        for n, key in enumerate(state(report))
    }
    return Told(report, judge(report, ["gemm"], [s.name for s in report.stacks], ["slim"]),
                changes(before, state(report)), WHEN, LINK)  # fmt: skip


def test_a_huge_matrix_fits_everywhere(huge: Told) -> None:
    packed = pack(state(huge.report), huge.report.generated)
    assert len(content.comment(huge, "nvfp4-matrix", packed)) <= COMMENT
    title, summary, text = content.check(huge)
    assert len(title) <= 255
    assert len(summary) <= FIELD
    assert len(text) <= FIELD
    assert len(compose(huge, "n").encode()) <= SUMMARY
    assert len(content.description(huge)) <= DESCRIPTION


def test_the_marker_counts_in_a_comment(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "text", lambda _, limit: "x" * limit)
    packed = pack(state(told.report), told.report.generated)
    assert len(content.comment(told, "nvfp4-matrix", packed)) == COMMENT


@pytest.mark.parametrize("limit", [20_000, 8_000, 4_000, 3_000, 1_200])
def test_what_is_left_out_is_counted_and_linked(huge: Told, limit: int) -> None:
    text = content.text(huge, limit)
    assert len(text) <= limit
    assert LINK in text
    assert "Left out" in text
    if "regressed" in text:
        changed = text.partition("#### Required")[0]
        told = re.findall(r"\((\d+) cells?\)", changed)
        assert sum(int(number) for number in told) == len(huge.changes)
    tables = len(re.findall(r"^\| vllm", text, flags=re.MULTILINE))
    assert tables or "Left out: the tables" in text or "Left out: all 8640 cells" in text


def test_every_change_is_in_a_line_or_counted_as_left_out(huge: Told) -> None:
    for most in (0, 1, 3, 1000):
        text = difference.render(huge.report, huge.changes, compared=WHEN, most=most)
        assert sum(int(n) for n in re.findall(r"\((\d+) cells?\)", text)) == len(huge.changes)


def test_bytes_count_in_a_step_summary(small: Report) -> None:
    text = compose(Told(small, compared=""), "n", room=6_000)
    assert 1_000 < len(text.encode()) <= 6_000


@given(NASTY)
def test_escaped_text_names_nobody_and_nothing(text: str) -> None:
    harmless(rendered(f"- **x**: {escape(text)} end"))
    harmless(rendered(f"| a | b |\n| --- | --- |\n| {escape(text)} | end |"))


@given(NASTY)
def test_annotations_and_descriptions_name_nobody(text: str) -> None:
    assert not re.search(r"(?<!\w)@[A-Za-z0-9]|#\d|https?://|\b[Gg][Hh]-\d", inert(text))


def poisoned(report: Report, text: str) -> Told:
    """The report with `text` wherever a wheel, a probe or an earlier post may have put something."""
    replace = msgspec.structs.replace
    first = report.stacks[0].name
    cells = tuple(
        replace(cell, stack=text if cell.stack == first else cell.stack, capability=text if cell.capability == "moe"
                else cell.capability, reason=text, executed=text, verdict="broken")
        for cell in report.cells
    )  # fmt: skip
    now = replace(
        report,
        generated=text,
        cells=cells,
        stacks=tuple(replace(s, name=text if s.name == first else s.name, note=text) for s in report.stacks),
        targets=tuple(replace(t, products=(text,)) for t in report.targets),
        contradictions=tuple(
            replace(one, stack=text if one.stack == first else one.stack, text=text, read=(text,), kind=text, path=text)
            for one in report.contradictions
        ),
    )  # fmt: skip
    before = {
        **{key: Seen(text, text, text) for key in list(state(now))[::2]},
        Key(text, text, text, text, text): Seen("works", text, text),
        Key(text, *next(iter(state(now)))[1:]): Seen("works", text, "pass"),
    }
    required = judge(now, ["gemm", text], [s.name for s in now.stacks], ["slim"])
    return Told(now, required, changes(before, state(now)), text, LINK)


@given(NASTY.filter(lambda text: text not in ("vllm==0.32.1", "gemm")))
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_untrusted_text_breaks_nothing_that_is_posted(text: str) -> None:
    told = poisoned(SMALL, text)
    packed = pack(state(told.report), told.report.generated)
    body = content.comment(told, "nvfp4-matrix", packed)
    assert body.count("<!--") == body.count("-->") == 1
    harmless(rendered(body), links=(LINK,))
    rows = re.findall(r"(?:^\|.*\n)+", body, flags=re.MULTILINE)
    for table in rows:
        cells = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in table.splitlines()}
        assert len(cells) == 1
    title, summary, matrix = content.check(told)
    harmless(rendered(summary), links=(LINK,))
    harmless(rendered(matrix), links=(LINK,))
    assert not LINKED.search(title.replace(LINK, ""))
    for remark in remarks(
        told.required, told.changes, path="s", lines={"vllm==0.32.1": 3, text: 4}
    ):
        assert not re.search(r"(?<!\w)@[A-Za-z0-9]|#\d", remark.message)


def test_one_remark_a_line_of_the_stack_file(told: Told) -> None:
    lines = {stack.name: 12 for stack in told.report.stacks}
    (remark,) = remarks(told.required, told.changes, path="matrix/stacks.yaml", lines=lines)
    assert (remark.path, remark.start_line, remark.annotation_level) == (
        "matrix/stacks.yaml",
        12,
        "failure",
    )
    assert "gemm: broken trap_kernel (vllm==0.33.0, sm120, x86_64, slim)" in remark.message


def test_a_line_that_only_regressed_is_a_warning(told: Told) -> None:
    lines = {told.report.stacks[0].name: 7}
    (remark,) = remarks(judge(told.report, [], [], []), told.changes, path="p", lines=lines)
    assert remark.annotation_level == "warning"
    assert "gemm: likely → broken" in remark.message


def test_a_remark_of_a_thousand_cells_stays_readable() -> None:
    found = tuple(
        Change(
            "regressed",
            Key("s", f"sm{n}", "x86_64", "slim", "gemm"),
            Seen("works", "", ""),
            Seen("broken", "", ""),
        )
        for n in range(1000)
    )
    required = judge(build_report(("0.33.0",), ("gemm",)), [], [], [])
    (remark,) = remarks(required, found, path="p", lines={"s": 1})
    assert len(remark.message) <= 4_000
    shown, last = remark.message.splitlines()[:-1], remark.message.splitlines()[-1]
    assert last == f"and {1000 - len(shown)} more"
