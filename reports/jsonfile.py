"""The report as JSON, by matrix/schema/show.schema.json."""

from __future__ import annotations

import msgspec

from matrix.cell import Report


def render(report: Report, *, pretty: bool = False) -> bytes:
    """`report` as UTF-8 JSON with a final newline; indented by two spaces if `pretty`."""
    encoded = msgspec.json.encode(report)
    return (msgspec.json.format(encoded, indent=2) if pretty else encoded) + b"\n"
