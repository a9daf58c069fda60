"""The report as GitHub-flavoured Markdown for issues, comments and job summaries, within a limit."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from matrix.cell import Report
from matrix.vocabulary import ENVIRONMENTS, VERDICTS
from reports.contradictions import Folded, fold
from reports.fold import Column, Row, by_capability, columns, differs, rows
from reports.marks import GLYPHS, LAMPS, SIGNS, Face, code
from reports.text import plain

LIMIT: Final = 65_536
"""Characters in the body of a GitHub issue, comment or check run."""

_BREAK: Final = "\u200b"
"""Zero-width space: ends a mention, a reference or a link without being seen."""

_REFERENCE = re.compile(r"@(?=\S)|#(?=\d)|(?<=[Gg][Hh])-(?=\d)|(?<=:)//|(?<=[Ww]{3})\.")
_COMMIT = re.compile(r"\b(?=[0-9A-Fa-f]*\d)[0-9A-Fa-f]{7,}\b")
"""What GitHub would make a link to a commit, from 7 digits on; not a word that is only letters."""
_DIGITS = re.compile(r"[0-9A-Fa-f]{6}(?=[0-9A-Fa-f])")
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()#|~$])")
_FEW: Final = 10


def escape(text: str) -> str:
    """`text` as plain words: no markup, HTML, mention, reference or link comes out of it."""
    text = _MARKDOWN.sub(r"\\\1", inert(plain(text)))
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def span(text: str) -> str:
    """`text` as a code span that is safe in a table, too; empty text stays empty."""
    # Nothing is linked in code: a digest stays what can be copied.
    text = _cut(plain(text)).replace("`", "'").replace("<", "\u2039").replace(">", "\u203a")
    # GitHub splits table cells before it looks for code, and shows a backslash outside of tables.
    text = text.replace("|", "\u00a6")
    return f"`{text}`" if text.strip() else ""


def render(
    report: Report,
    *,
    limit: int = LIMIT,
    link: str | None = None,
    headline: Sequence[str] = ("gemm", "moe"),
    lead: str = "",
) -> str:
    """`report` in at most `limit` characters; what had to be left out is counted and `link` named.

    `lead` is Markdown that stands before the tables in every step but the last.

    Steps: everything; fewer contradictions; only the newest row of each capability that is no
    `headline`, then of all; counts; one line.
    """
    found = fold(report)
    head = _head(report, found) + (f"\n{lead}" if lead else "")
    steps: tuple[Callable[[], str], ...] = (
        lambda: _full(report, head, found, link, len(found)),
        lambda: _full(report, head, found, link, _FEW),
        lambda: _summary(report, head, found, link, headline),
        lambda: _summary(report, head, found, link, ()),
        lambda: _counts(report, head, found, link),
    )
    for step in steps:
        text = step()
        if len(text) <= limit:
            return text
    text = f"Left out: all {len(report.cells)} cells and {len(found)} contradictions."
    return (text + _see(link))[:limit] if len(text + _see(link)) <= limit else text[:limit]


def inert(text: str) -> str:
    """`text` for a place that shows no Markdown and may still make links: it names nobody and nothing."""
    return _COMMIT.sub(lambda found: _DIGITS.sub(rf"\g<0>{_BREAK}", found.group()), _cut(text))


def _cut(text: str) -> str:
    return _REFERENCE.sub(lambda match: _insert(match.group()), text)


def _insert(sign: str) -> str:
    if sign == "//":
        return f"/{_BREAK}/"
    # A zero-width space may stand in a host's name: what follows "www." would still be a link.
    return _BREAK + sign if sign == "." else sign + _BREAK


def _see(link: str | None) -> str:
    if link is None:
        return " See all of it with `nvfp4-matrix show --format html --output matrix.html`."
    return f" See all of it: {plain(link)}"


def _head(report: Report, found: Sequence[Folded]) -> str:
    return (
        "## NVFP4 on Blackwell: what really works\n\n"
        f"As of {span(report.generated)}: {len(report.stacks)} stacks, {len(report.targets)} targets, "
        f"{len(report.cells)} cells, {len(found)} contradictions.\n"
    )


def _full(report: Report, head: str, found: Sequence[Folded], link: str | None, most: int) -> str:
    parts = [head]
    for name, cells in by_capability(report).items():
        parts.append(f"### {escape(name)}\n\n" + _table(report, rows(report.stacks, cells)))
    parts.append(_contradictions(found[:most]))
    left = len(found) - most
    if left > 0:
        parts.append(f"**Left out: {left} of {len(found)} contradictions.**{_see(link)}\n")
    elif link is not None:
        parts.append(f"With the evidence of each cell: {plain(link)}\n")
    parts.append(_legend())
    return "\n".join(part for part in parts if part)


def _summary(
    report: Report, head: str, found: Sequence[Folded], link: str | None, whole: Sequence[str]
) -> str:
    """Tell of each capability not in `whole` the newest row per series, and how much that leaves out."""
    parts = [head]
    total = kept = kept_cells = 0
    for name, cells in by_capability(report).items():
        folded = rows(report.stacks, cells)
        newest = [
            row for at, row in enumerate(folded) if not at or folded[at - 1].series != row.series
        ]
        if name in whole:
            newest = list(folded)
        total += len(folded)
        kept += len(newest)
        kept_cells += sum(len(row.faces) * len(row.stacks) for row in newest)
        parts.append(f"### {escape(name)}\n\n" + _table(report, newest))
    parts.append(_contradictions(found[:_FEW]))
    shown = min(_FEW, len(found))
    parts.append(
        f"**Left out: {total - kept} of {total} rows ({len(report.cells) - kept_cells} of "
        f"{len(report.cells)} cells) and {len(found) - shown} of "
        f"{len(found)} contradictions.**{_see(link)}\n"
    )
    parts.append(_legend())
    return "\n".join(part for part in parts if part)


def _counts(report: Report, lead: str, found: Sequence[Folded], link: str | None) -> str:
    """How many cells of each capability have which verdict."""
    head = ("capability", *(f"{GLYPHS[verdict]} {verdict}" for verdict in VERDICTS))
    body = []
    for name, cells in by_capability(report).items():
        counted = Counter(cell.verdict for cell in cells)
        body.append((escape(name), *(str(counted[verdict] or "") for verdict in VERDICTS)))
    total = sum(len(rows(report.stacks, cells)) for cells in by_capability(report).values())
    left = (
        f"**Left out: the tables ({total} rows, {len(report.cells)} cells, counted above) and "
        f"{len(found)} contradictions.**{_see(link)}\n"
    )
    return "\n".join((lead, _lines(head, body), left))


def _table(report: Report, folded: Sequence[Row]) -> str:
    shown = columns(report, folded)
    present = {environment for row in folded for _, environment in row.faces}
    order = [environment for environment in ENVIRONMENTS if environment in present]
    head = ("stack", *(_heading(column) for column in shown))
    return _lines(head, list(_body(folded, shown, order)))


def _body(
    folded: Sequence[Row], shown: Sequence[Column], order: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    first = order[0]
    for row in folded:
        yield (escape(row.title), *(_cell(column.face(row, first)) for column in shown))
        for other in order[1:]:
            if differs(row, shown, first, other):
                yield (
                    f"↳ {other}",
                    *(
                        ""
                        if (seen := column.face(row, other)) == column.face(row, first)
                        else _cell(seen)
                        for column in shown
                    ),
                )


def _heading(column: Column) -> str:
    return (
        escape(column.target)
        if column.alone
        else (f"{escape(column.target)} {escape(column.machines[0])}")
    )


def _cell(seen: Face | None) -> str:
    return "" if seen is None else f"{GLYPHS[seen.verdict]} {seen.verdict} {span(code(seen))}"


def _lines(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines.extend("| " + " | ".join(row) + " |" for row in body)
    return "\n".join(lines) + "\n"


def _contradictions(found: Sequence[Folded]) -> str:
    if not found:
        return ""
    lines = ["### Contradictions\n"]
    for one in found:
        where = span(f"{one.label} on {one.where}")
        lines.append(
            f"- **{escape(one.kind)}**, {escape(one.capability)}, {where}: {escape(one.newest.text)}"
        )
        lines.extend(f"  - {span(source)}" for source in one.newest.read)
    return "\n".join(lines) + "\n"


def _legend() -> str:
    lit = ", ".join(f"`{letter}` {name}" for name, letter, _ in LAMPS)
    signs = ", ".join(f"`{sign}` {meaning}" for sign, meaning in SIGNS)
    return (
        f"Lamps, in this order: {lit}. In a lamp's place: {signs}. "
        "Rows are slim (what pip installs); ↳ devel (plus nvcc and ninja) is shown where it differs.\n"
    )
